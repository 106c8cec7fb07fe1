#!/usr/bin/env bash
# Tests the image of target/image: that assembling it again gives the same digests, that it is a layout which others read
# (skopeo), that deploy/Dockerfile makes the same (buildah), and that it serves as a kubelet runs it: as user 65532, with a
# read-only root file system, without any capability, its certificate and a volume for compiled policies mounted.
#
# Running needs root, and runc or crun (Debian's packages are installed if they may be). SALLYPORT_REQUIRE_CONTAINER=1
# makes it a failure where it can't run.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/release-lib.sh
source scripts/release-lib.sh
# shellcheck source=scripts/emulation.sh
source scripts/emulation.sh

readonly IMAGE=target/image
# In MB (10^6 bytes), of the compressed layers.
readonly MAX_IMAGE=40
readonly CONTAINER=sallyport-check-$$
# A component is compiled in some tenths of a second, and under qemu in some ten seconds.
readonly READY_SECONDS=300

PLACE=$(mktemp -d)
RUNTIME=()
trap finish EXIT

finish() {
    ((${#RUNTIME[@]} == 0)) || "${RUNTIME[@]}" delete --force "$CONTAINER" >/dev/null 2>&1 || true
    stop_emulation
    rm -rf "$PLACE"
}

main() {
    local architecture
    release_environment
    same_again
    for architecture in $(architectures); do
        unpack "$architecture"
    done
    read_by_others
    dockerfile
    if can_contain; then
        for architecture in $(architectures); do
            serve "$architecture"
        done
    elif [[ ${SALLYPORT_REQUIRE_CONTAINER:-} == 1 ]]; then
        die "the image can't be run here: that needs root, and runc or crun, curl, openssl, nsenter and ip"
    else
        say "SKIPPED: the image is not run: that needs root, and runc or crun, curl, openssl, nsenter and ip"
    fi
}

architectures() {
    python3 - "$IMAGE" <<'PYTHON'
import json, sys
blob = lambda digest: json.load(open(f"{sys.argv[1]}/blobs/{digest.replace(':', '/')}"))
index = json.load(open(f"{sys.argv[1]}/index.json"))
print(*(manifest["platform"]["architecture"] for manifest in blob(index["manifests"][0]["digest"])["manifests"]))
PYTHON
}

same_again() {
    local roots=() architecture
    for architecture in $(architectures); do roots+=("$architecture=target/image-roots/$architecture"); done
    python3 scripts/image.py "$PLACE/again" "$VERSION" "$SALLYPORT_COMMIT" target/image-roots/shared "${roots[@]}" >"$PLACE/digest"
    cmp -s "$PLACE/digest" "$IMAGE.digest" || die "assembled again, the image has another digest: $(cat "$PLACE/digest" "$IMAGE.digest")"
    diff -r "$PLACE/again" "$IMAGE" >/dev/null || die "assembled again, the image has other files"
    rm -rf "$PLACE/again"
}

# unpack ARCHITECTURE: checks each digest on the way, and writes the root file system and the image's settings.
unpack() {
    mkdir -p "$PLACE/$1/rootfs"
    python3 - "$IMAGE" "$1" "$PLACE/$1" "$MAX_IMAGE" <<'PYTHON' || die "the layout $IMAGE is damaged, or too large"
import gzip, hashlib, io, json, sys, tarfile
layout, architecture, place, most = sys.argv[1:]

def blob(descriptor):
    content = open(f"{layout}/blobs/{descriptor['digest'].replace(':', '/')}", "rb").read()
    assert descriptor["digest"] == "sha256:" + hashlib.sha256(content).hexdigest(), descriptor
    assert descriptor["size"] == len(content), descriptor
    return content

index = json.loads(blob(json.load(open(f"{layout}/index.json"))["manifests"][0]))
manifest = next(one for one in index["manifests"] if one["platform"]["architecture"] == architecture)
manifest = json.loads(blob(manifest))
config = json.loads(blob(manifest["config"]))
assert config["architecture"] == architecture
size = sum(layer["size"] for layer in manifest["layers"])
assert size < int(most) * 10**6, f"{size} bytes"
for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
    content = gzip.decompress(blob(layer))
    assert diff_id == "sha256:" + hashlib.sha256(content).hexdigest(), layer
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert all(entry.uid == entry.gid == 0 and not entry.mode & 0o022 for entry in tar), "somebody else could write"
        tar.extractall(f"{place}/rootfs")
json.dump(config["config"], open(f"{place}/settings.json", "w"))
print(f"sallyport: {architecture}: {size / 10**6:.1f} MB compressed", file=sys.stderr)
PYTHON
}

# read_by_others: skopeo copies every architecture, and finds the same digest.
read_by_others() {
    have skopeo || { say "not read by skopeo, which is not installed" && return; }
    skopeo copy --quiet --all --preserve-digests "oci:$IMAGE:$VERSION" "dir:$PLACE/copied" || die "skopeo can't read $IMAGE"
    [[ sha256:$(sha256 "$PLACE/copied/manifest.json" | cut -d ' ' -f 1) == "$(cat "$IMAGE.digest")" ]] ||
        die "skopeo finds another digest than $(cat "$IMAGE.digest")"
    rm -rf "$PLACE/copied"
}

# dockerfile: its last stage makes the same image, of the same files.
dockerfile() {
    local context=$PLACE/context architecture
    have buildah || { say "not compared with deploy/Dockerfile, because buildah is not installed" && return; }
    for architecture in $(architectures); do
        rm -rf "$context" "$PLACE/built"
        mkdir -p "$context"
        cp -R target/image-roots/shared target/image-roots/"$architecture" "$context/"
        {
            printf 'FROM scratch AS build\nCOPY shared/ %s/ /out/\n\n' "$architecture"
            sed -n '/^FROM scratch$/,$p' deploy/Dockerfile
        } >"$context/Dockerfile"
        buildah --root "$PLACE/storage" --runroot "$PLACE/storage-run" --storage-driver vfs bud --isolation chroot --quiet --timestamp \
            "$SOURCE_DATE_EPOCH" --platform "linux/$architecture" --tag "dir:$PLACE/built" "$context" >"$PLACE/log" 2>&1 ||
            die "deploy/Dockerfile: $(cat "$PLACE/log")"
        python3 - "$PLACE/built" "$PLACE/$architecture" <<'PYTHON' || die "deploy/Dockerfile makes another image for $architecture"
import gzip, io, json, os, sys, tarfile
built, ours = sys.argv[1:]
blob = lambda descriptor: open(f"{built}/{descriptor['digest'].split(':')[1]}", "rb").read()
manifest = json.load(open(f"{built}/manifest.json"))
theirs = json.loads(blob(manifest["config"]))["config"]
settings = json.load(open(f"{ours}/settings.json"))
different = [name for name in ("User", "ExposedPorts", "Entrypoint", "Cmd", "WorkingDir") if theirs.get(name) != settings[name]]
files = {}
for layer in manifest["layers"]:
    content = blob(layer)
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        files |= {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}
root = f"{ours}/rootfs"
paths = {os.path.relpath(os.path.join(place, name), root) for place, _, names in os.walk(root) for name in names}
different += sorted(files.keys() ^ paths)
different += [path for path in paths & files.keys() if open(f"{root}/{path}", "rb").read() != files[path]]
sys.exit(", ".join(different) or 0)
PYTHON
    done
    rm -rf "$context" "$PLACE/built" "$PLACE/storage" "$PLACE/storage-run"
}

can_contain() {
    [[ $(id -u) == 0 && $(uname -s) == Linux ]] || return 1
    { have runc || have crun || apt_install runc; } && have curl && have openssl && have nsenter && have ip || return 1
    # crun wants control groups as not every machine has them.
    RUNTIME=(runc)
    have runc || RUNTIME=(crun)
    RUNTIME+=(--root "$PLACE/run")
}

# serve ARCHITECTURE: starts the image's own command, and asks it about a Service that is denied.
serve() {
    local target=x86_64-unknown-linux-musl began pid address=https://127.0.0.1:8443 answer
    [[ $1 == amd64 ]] || target=aarch64-unknown-linux-musl
    if ! can_run "$target"; then
        say "SKIPPED: $1 is not run: $(why_not)"
        return
    fi
    certificate "$PLACE/$1/tls"
    mkdir -p "$PLACE/$1/cache"
    chown 65532:65532 "$PLACE/$1/cache"
    bundle "$1" "$(is_native "$target" && echo native || echo emulated)"
    began=$(date +%s%N)
    "${RUNTIME[@]}" run --detach --bundle "$PLACE/$1" --pid-file "$PLACE/pid" "$CONTAINER" >"$PLACE/log" 2>&1 ||
        die "$1: ${RUNTIME[0]} can't start the container: $(cat "$PLACE/log")"
    pid=$(cat "$PLACE/pid")
    inside "$pid" ip link set lo up
    until inside "$pid" curl --silent --fail http://127.0.0.1:8081/readyz >/dev/null 2>&1; do
        kill -0 "$pid" 2>/dev/null || die "$1: the program ended: $(tail -n 5 "$PLACE/log")"
        (($(date +%s%N) - began < READY_SECONDS * 1000000000)) || die "$1: not ready after $READY_SECONDS s: $(tail -n 5 "$PLACE/log")"
        sleep 0.05
    done
    say "$1: ready after $((($(date +%s%N) - began) / 1000000)) ms with nothing cached, $(awk '/VmRSS/ { print $2 }' "/proc/$pid/status") KiB resident"
    grep -q '^Uid:[[:blank:]]65532' "/proc/$pid/status" || die "$1: it does not run as 65532"
    grep -q '^CapEff:[[:blank:]]0*$' "/proc/$pid/status" || die "$1: it has capabilities"
    ! is_native "$target" || ! grep -q 'fewer restrictions' "$PLACE/log" || die "$1: $(cat "$PLACE/log")"
    answer=$(inside "$pid" curl --silent --show-error --cacert "$PLACE/$1/tls/tls.crt" -H 'Content-Type: application/json' \
        --data @docs/examples/out-of-range.json "$address/validate")
    grep -q '"allowed":false.*29999 is outside 30000-32767' <<<"$answer" || die "$1: it answered $answer"
    kill -TERM "$pid"
    while kill -0 "$pid" 2>/dev/null; do
        (($(date +%s%N) - began < READY_SECONDS * 1000000000)) || die "$1: it does not end at SIGTERM"
        sleep 0.05
    done
    "${RUNTIME[@]}" delete --force "$CONTAINER"
}

inside() {
    nsenter --net="/proc/$1/ns/net" -- "${@:2}"
}

# certificate DIRECTORY: as a mounted Secret has it.
certificate() {
    mkdir -p "$1"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=127.0.0.1 \
        -addext subjectAltName=IP:127.0.0.1 -keyout "$1/tls.key" -out "$1/tls.crt" 2>/dev/null
    chmod 644 "$1/tls.key"
}

# bundle ARCHITECTURE native|emulated: writes the runtime's configuration from the image's settings. The limit on memory
# is that of deploy/base; an emulator takes more.
bundle() {
    python3 - "$PLACE/$1" "$2" <<'PYTHON'
import json, sys
place, kind = sys.argv[1:]
image = json.load(open(f"{place}/settings.json"))
user, group = map(int, image["User"].split(":"))

def mount(source, target, *options):
    return {"source": source, "destination": target, "type": "bind", "options": ["bind", "nosuid", "nodev", *options]}

json.dump({
    "ociVersion": "1.0.2",
    "process": {
        "user": {"uid": user, "gid": group},
        "args": image["Entrypoint"] + image["Cmd"] + ["--cache-dir", "/var/cache/sallyport/compiled", "--strict"],
        "cwd": image["WorkingDir"],
        "env": image.get("Env", []),
        "capabilities": {},
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": True},
    "mounts": [
        {"source": "proc", "destination": "/proc", "type": "proc"},
        mount(f"{place}/tls", "/etc/sallyport/tls", "ro"),
        mount(f"{place}/cache", "/var/cache/sallyport", "rw"),
    ],
    "linux": {
        "namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount")],
        "resources": {"memory": {"limit": 256 << 20}} if kind == "native" else {},
    },
}, open(f"{place}/config.json", "w"))
PYTHON
}

main
