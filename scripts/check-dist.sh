#!/usr/bin/env bash
# Tests the archives of target/dist as their users meet them: unpacked somewhere else, without a
# clone. Linux programs of another processor run under qemu; archives for other systems are only
# inspected.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/release-lib.sh
source scripts/release-lib.sh
# shellcheck source=scripts/emulation.sh
source scripts/emulation.sh

# In MB (10^6 bytes).
readonly MAX_PROGRAM=30

# A directory of this test alone.
PLACE=$(mktemp -d)
trap 'stop_emulation; chmod -R u+w "$PLACE"; rm -rf "$PLACE"' EXIT

main() {
    local archive checked=0
    release_environment
    PATH=$(scripts/release-tools.sh rust-audit-info):$PATH
    (cd "$DIST" && sha256 -c SHA256SUMS >/dev/null) || die "the files of $DIST are not those of its SHA256SUMS"
    for archive in "$DIST/sallyport-$VERSION"-*.tar.gz "$DIST/sallyport-$VERSION"-*.zip; do
        [[ -f $archive ]] || continue
        check "$archive"
        checked=$((checked + 1))
    done
    ((checked > 0)) || die "there is no archive of version $VERSION in $DIST; run make dist"
    plugin_manifest
    say "$checked archives are as they should be"
}

# expect WORDS COMMAND…: runs a command that must succeed.
expect() {
    local words=$1
    shift
    "$@" >"$PLACE/log" 2>&1 || {
        cat "$PLACE/log" >&2
        die "$words: this failed: $*"
    }
}

# check ARCHIVE: unpacks it, and looks at each part.
check() {
    local name target tree size
    name=$(basename "$1")
    name=${name%.zip}
    name=${name%.tar.gz}
    target=${name#sallyport-"$VERSION"-}
    tree=$PLACE/$name
    case $1 in
        *.zip) python3 -m zipfile -e "$1" "$PLACE" ;;
        *) tar -xzf "$1" -C "$PLACE" ;;
    esac
    expect "$name: the same files give the same archive" python3 scripts/archive.py "$TREES/$name" "$PLACE/again-$(basename "$1")"
    cmp -s "$1" "$PLACE/again-$(basename "$1")" || die "$name: packing it once more gives other bytes"
    files "$tree"
    size=$(wc -c <"$tree/$(basename "$(program_of "$target")")")
    ((size < MAX_PROGRAM * 1000000)) || die "$name: the program has $size bytes; $MAX_PROGRAM MB are allowed"
    audit "$tree/$(basename "$(program_of "$target")")" "$name"
    sbom "$tree/sallyport.cdx.json" "$name"
    case $target in
        *-linux-*) linux "$tree" "$target" ;;
        *) say "$name: not run here, since it is for another system" ;;
    esac
}

files() {
    local file
    for file in LICENSE THIRD-PARTY-LICENSES.txt README.md CHANGELOG.md sallyport.cdx.json docs/examples/database.yaml policies/nodeport_range.wasm \
        policies/nodeport-range.yaml presets/baseline/kustomization.yaml completions/_sallyport completions/sallyport.bash \
        completions/sallyport.fish completions/sallyport.ps1 man/sallyport.1 man/sallyport-check.1; do
        [[ -s $1/$file ]] || die "$1 lacks $file"
    done
    for file in $(grep -o '](docs/[^)#]*' "$1/README.md" | cut -c 3- | sort -u); do
        [[ -e $1/$file ]] || die "$1 lacks $file, to which its README leads"
    done
    expect "completions" bash -n "$1/completions/sallyport.bash"
    ! have zsh || expect "completions" zsh -n "$1/completions/_sallyport"
    ! have fish || expect "completions" fish -n "$1/completions/sallyport.fish"
    if have groff; then
        for file in "$1"/man/*.1; do
            expect "manual" groff -man -Tutf8 -ww -z "$file"
            [[ ! -s $PLACE/log ]] || die "$file: $(cat "$PLACE/log")"
        done
    fi
    grep -q '^wasmtime ' "$1/THIRD-PARTY-LICENSES.txt" || die "$1: the licences lack wasmtime's"
}

# audit PROGRAM NAME: the list of dependencies inside of the program (cargo audit bin reads it).
audit() {
    expect "$2: data of cargo auditable" rust-audit-info "$1"
    python3 - "$PLACE/log" <<'PYTHON' || die "$2: the program's list of dependencies lacks wasmtime"
import json, sys
packages = {package["name"] for package in json.load(open(sys.argv[1]))["packages"]}
sys.exit(not {"sallyport", "wasmtime", "rustls"} <= packages)
PYTHON
}

# sbom FILE NAME
sbom() {
    python3 - "$1" "$PWD" <<'PYTHON' || die "$2: the list of dependencies is not as it should be"
import json, sys
text = open(sys.argv[1]).read()
sbom = json.loads(text)
components = {component["name"]: component for component in sbom["components"]}
wrong = [
    sbom["bomFormat"] != "CycloneDX" and "it is no CycloneDX",
    sbom["metadata"]["component"]["name"] != "sallyport" and "it describes another program",
    not {"wasmtime", "rustls", "sallyport-core"} <= components.keys() and "components are missing",
    not components["wasmtime"].get("licenses") and "licences are missing",
    any(path in text for path in sys.argv[2:]) and "it names directories of this machine",
]
print(*filter(None, wrong), file=sys.stderr)
sys.exit(any(wrong))
PYTHON
}

# linux TREE TARGET: the program is static, and judges without any flag, network, home or clone.
linux() {
    local elsewhere=$PLACE/elsewhere program=$1/sallyport code=0
    ! have readelf || ! readelf --program-headers --wide "$program" | grep -q INTERP || die "$program needs a dynamic linker"
    if ! can_run "$2"; then
        say "SKIPPED: $2 is not run: $(why_not "$2")"
        return
    fi
    rm -rf "$elsewhere"
    mkdir "$elsewhere"
    cp docs/examples/*.yaml "$elsewhere/"
    # Through a link, as package managers and krew install it.
    ln -s "$program" "$elsewhere/kubectl-sallyport"
    (cd "$elsewhere" && env -i ./kubectl-sallyport --version) >"$PLACE/log" 2>&1 || die "$2: --version: $(cat "$PLACE/log")"
    for words in "sallyport $VERSION (commit $SALLYPORT_COMMIT)" "contract " "wasmtime "; do
        grep -qF "$words" "$PLACE/log" || die "$2: --version lacks '$words': $(cat "$PLACE/log")"
    done
    (cd "$elsewhere" && env -i ./kubectl-sallyport check --no-cache .) >"$PLACE/log" 2>"$PLACE/errors" || code=$?
    if [[ $code != 1 ]] || ! grep -q '5 Services, .* 3 denied' "$PLACE/log"; then
        die "$2: check gave exit code $code and: $(cat "$PLACE/log" "$PLACE/errors")"
    fi
    # The child that compiles is confined; qemu has no seccomp for its programs.
    if is_native "$2" && grep -q 'fewer restrictions' "$PLACE/errors"; then
        die "$2: $(cat "$PLACE/errors")"
    fi
    (cd "$elsewhere" && env -i ./kubectl-sallyport test "$OLDPWD/tests/fixtures/nodeport-range") >"$PLACE/log" 2>&1 ||
        die "$2: the suites of nodeport-range: $(tail -n 5 "$PLACE/log")"
    say "$2: runs; $(tail -n 1 "$PLACE/log")"
    ! is_native "$2" || starts "$1" "$2"
    ! is_native "$2" || playground "$1" "$2"
}

# playground TREE TARGET: the program serves each file of the playground's first load as `make console` built it.
playground() {
    python3 - "$1" "$PLACE/playground" <<'PYTHON' >"$PLACE/log" 2>&1 || die "$2: the playground: $(tail -n 5 "$PLACE/log")"
import pathlib, subprocess, sys, urllib.request
tree, place = map(pathlib.Path, sys.argv[1:])
place.mkdir()
embedded, built = pathlib.Path("webhook-host/console/embedded"), pathlib.Path("target/console")
names = [str(file.relative_to(embedded))[:-3] for file in embedded.rglob("*.br")]
assert "index.html" in names and "engine.wasm" in names, f"{embedded} has only {names}"
program = subprocess.Popen(
    [tree / "sallyport", "serve", "--self-signed", "--ca-out", place / "ca.crt", "--policies", tree / "presets/baseline"]
    + ["--modules", tree / "policies", "--cache-dir", place / "cache", "--console", "127.0.0.1:0"]
    + ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
    stderr=subprocess.PIPE, text=True,
)
try:
    log = []
    for line in program.stderr:
        log.append(line)
        if "console on http://" in line:
            break
    else:
        sys.exit("".join(log))
    url = "http://" + line.split("console on http://")[1].strip() + "/playground/"
    for name in names:
        served = urllib.request.urlopen(url + name, timeout=30).read()
        assert served == (built / name).read_bytes(), f"{name} is not as it was built"
finally:
    program.kill()
    program.wait()
print(f"serves {len(names)} files of the playground as they were built")
PYTHON
    say "$2: $(cat "$PLACE/log")"
}

# starts TREE TARGET: prints how long the program takes until it serves the preset baseline, and its memory.
starts() {
    python3 - "$1" "$PLACE/started" <<'PYTHON' >"$PLACE/log" 2>&1 || die "$2: it does not serve: $(tail -n 5 "$PLACE/log")"
import pathlib, re, subprocess, sys, time
tree, place = map(pathlib.Path, sys.argv[1:])
place.mkdir()
preset = tree / "presets/baseline"
policies = (preset / "policies.yaml").read_text().count("\nkind: ServicePolicy\n")


def start():
    began = time.monotonic()
    program = subprocess.Popen(
        [tree / "sallyport", "serve", "--strict", "--self-signed", "--ca-out", place / "ca.crt", "--policies", preset]
        + ["--modules", tree / "policies", "--cache-dir", place / "cache"]
        + ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
        stderr=subprocess.PIPE, text=True,
    )
    try:
        said = []
        for line in program.stderr:
            said.append(line)
            if "serving on https://" in line:
                took = time.monotonic() - began
                status = pathlib.Path(f"/proc/{program.pid}/status").read_text()
                return took * 1000, int(re.search(r"VmRSS:\s*(\d+)", status)[1])
        sys.exit("".join(said))
    finally:
        program.kill()
        program.wait()


cold, _ = start()
warm, resident = min(start() for _ in range(3))
size = (tree / "sallyport").stat().st_size / 1e6
print(f"{size:.1f} MB; {policies} policies serve after {cold:.0f} ms cold, {warm:.0f} ms with a cache, {resident} KiB resident")
PYTHON
    say "$2: $(cat "$PLACE/log")"
}

# plugin_manifest: krew's manifest names the archives' digests.
plugin_manifest() {
    local archive digest
    for archive in "$DIST/sallyport-$VERSION"-*.tar.gz "$DIST/sallyport-$VERSION"-*.zip; do
        [[ -f $archive ]] || continue
        digest=$(sha256 "$archive" | cut -d ' ' -f 1)
        grep -A 1 "/$(basename "$archive")" "$DIST/sallyport.yaml" | grep -q "$digest" ||
            die "krew's manifest lacks $(basename "$archive") with its SHA-256"
    done
}

main
