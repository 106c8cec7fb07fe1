# shellcheck shell=bash disable=SC2034
# Functions that dist.sh, image.sh and their checks share. Sourced after lib.sh.

readonly DIST=target/dist
readonly GENERATED=target/generated TREES=target/dist-trees
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
readonly VERSION

# release_environment: names the commit and its time for everything that is built from here on.
release_environment() {
    have python3 || die "archives and images are packed by python3, and there is none"
    if [[ -z ${SALLYPORT_COMMIT:-} ]]; then
        SALLYPORT_COMMIT=$(git rev-parse --short=12 HEAD) || die "this is no clone; set SALLYPORT_COMMIT"
        git diff --quiet HEAD || SALLYPORT_COMMIT+=-modified
    fi
    : "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null)}"
    [[ -n $SOURCE_DATE_EPOCH ]] || die "this is no clone; set SOURCE_DATE_EPOCH to the commit's time, in seconds since 1970"
    export SALLYPORT_COMMIT SOURCE_DATE_EPOCH
}

# mapped_paths: prints rustc's flags, as CARGO_ENCODED_RUSTFLAGS has them, that keep this machine's directories out of
# what is built.
mapped_paths() {
    local sysroot commit
    sysroot=$(rustc --print sysroot)
    commit=$(rustc -vV | sed -n 's/^commit-hash: //p')
    printf -- '--remap-path-prefix=%s=/cargo\x1f--remap-path-prefix=%s=/sallyport\x1f--remap-path-prefix=%s=/rustc/%s' \
        "${CARGO_HOME:-$HOME/.cargo}" "$PWD" "$sysroot/lib/rustlib/src/rust" "$commit"
}

# program_of TARGET: prints the path of a built program.
program_of() {
    local suffix=
    [[ $1 != *windows* ]] || suffix=.exe
    echo "${CARGO_TARGET_DIR:-target}/$1/shipped/sallyport$suffix"
}

# shared_files DATA DOCUMENTS: copies what is the same on every system: policies and presets, and the licence.
shared_files() {
    mkdir -p "$1" "$2"
    cp -R target/policies policies/presets "$1/"
    cp LICENSE "$2/"
}

sha256() { if have sha256sum; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }
