#!/usr/bin/env bash
# Assembles the container image into target/image, an OCI layout with an index of one manifest for each architecture:
# the static programs of `make dist`, the policies and presets, from scratch. Needs no daemon, no root and no network.
# Prints the digest of the index.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/release-lib.sh
source scripts/release-lib.sh

readonly IMAGE=target/image
readonly ROOTS=target/image-roots

# architecture TARGET: prints its name in Go's words, which images use.
architecture() {
    case $1 in
        x86_64-*) echo amd64 ;;
        aarch64-*) echo arm64 ;;
        *) die "no image is made for $1" ;;
    esac
}

main() {
    local target root roots=() targets=("$@")
    ((${#targets[@]} > 0)) || targets=(x86_64-unknown-linux-musl aarch64-unknown-linux-musl)
    release_environment
    image_roots "${targets[@]}"
    for target in "${targets[@]}"; do
        root=$ROOTS/$target
        roots+=("$(architecture "$target")=$root")
    done
    python3 scripts/image.py "$IMAGE" "$VERSION" "$SALLYPORT_COMMIT" "$ROOTS/shared" "${roots[@]}"
    say "$IMAGE:$VERSION for $(printf '%s ' "${targets[@]}"); copy it with: skopeo copy --all oci:$IMAGE:$VERSION docker://REGISTRY/sallyport:$VERSION"
}

# image_roots TARGET…: lays out the files of the image, from the archives' trees.
image_roots() {
    local target tree documents=usr/share/doc/sallyport
    rm -rf "$ROOTS"
    shared_files "$ROOTS/shared/etc/sallyport" "$ROOTS/shared/$documents"
    for target in "$@"; do
        tree=$TREES/sallyport-$VERSION-$target
        [[ -d $tree ]] || die "$tree is missing; run make dist first"
        mkdir -p "$ROOTS/$target/usr/local/bin" "$ROOTS/$target/$documents"
        cp "$tree/sallyport" "$ROOTS/$target/usr/local/bin/"
        cp "$tree/THIRD-PARTY-LICENSES.txt" "$tree/sallyport.cdx.json" "$ROOTS/$target/$documents/"
    done
}

main "$@"
