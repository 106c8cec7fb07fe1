#!/usr/bin/env bash
# Assembles the container image into target/image, an OCI layout with an index of one manifest for each architecture:
# the static programs of `make dist`, the policies and presets, from scratch. Needs no daemon, no root and no network.
# The digest of the index is in target/image.digest.
#
#   image.sh [ARCHITECTURE…]               default: amd64 arm64
#   image.sh --build ARCHITECTURE OUTPUT   builds, and lays the files of the image out in OUTPUT (for deploy/Dockerfile)

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/release-lib.sh
source scripts/release-lib.sh

readonly IMAGE=target/image
readonly ROOTS=target/image-roots

main() {
    local architecture roots=() architectures=("$@")
    if [[ ${1:-} == --build ]]; then
        build "$2" "$3"
        return
    fi
    ((${#architectures[@]} > 0)) || architectures=(amd64 arm64)
    release_environment
    rm -rf "$ROOTS"
    mkdir -p "$ROOTS"
    shared "$ROOTS/shared"
    for architecture in "${architectures[@]}"; do
        own "$architecture" "$ROOTS/$architecture"
        roots+=("$architecture=$ROOTS/$architecture")
    done
    python3 scripts/image.py "$IMAGE" "$VERSION" "$SALLYPORT_COMMIT" "$ROOTS/shared" "${roots[@]}" >"$IMAGE.digest"
    say "oci:$IMAGE:$VERSION for ${architectures[*]}: $(cat "$IMAGE.digest")"
}

# build ARCHITECTURE OUTPUT
build() {
    # Completions and manual come from a program that runs here, so this machine's is built, too.
    local native=amd64
    [[ $(uname -m) == x86_64 ]] || native=arm64
    if [[ $1 == "$native" ]]; then
        scripts/dist.sh "$(musl_target "$1")"
    else
        scripts/dist.sh "$(musl_target "$native")" "$(musl_target "$1")"
    fi
    shared "$2"
    own "$1" "$2"
}

# shared ROOT: lays out what all architectures share.
shared() { shared_files "$1/etc/sallyport" "$1/usr/share/doc/sallyport"; }

# own ARCHITECTURE ROOT: lays out the program, its licences and its list of dependencies.
own() {
    local tree documents=$2/usr/share/doc/sallyport
    tree=$TREES/sallyport-$VERSION-$(musl_target "$1")
    [[ -d $tree ]] || die "$tree is missing; run make dist first"
    mkdir -p "$2/usr/local/bin" "$documents"
    cp "$tree/sallyport" "$2/usr/local/bin/"
    cp "$tree/THIRD-PARTY-LICENSES.txt" "$tree/sallyport.cdx.json" "$documents/"
}

# musl_target ARCHITECTURE: prints Rust's name for Go's, which images use.
musl_target() {
    case $1 in
        amd64) echo x86_64-unknown-linux-musl ;;
        arm64) echo aarch64-unknown-linux-musl ;;
        *) die "no image is made for $1; use amd64 or arm64" ;;
    esac
}

main "$@"
