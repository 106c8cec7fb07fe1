#!/usr/bin/env bash
# Builds what is released into target/dist:
#
#   sallyport-VERSION-TARGET.tar.gz   program, policies, presets, docs, completions, manual, licences, list of dependencies
#                                     (.zip for Windows)
#   sallyport-VERSION-TARGET.cdx.json that list alone (CycloneDX)
#   sallyport.yaml                    the manifest for krew, once all archives are there
#   SHA256SUMS                        of all of these
#
#   dist.sh [TARGET…]   default: the static programs for Linux on x86_64 and aarch64. Those are compiled with zig on any
#                       machine; each other target needs a machine of its kind.
#
# One commit gives the same bytes wherever it is built with the same toolchain: times come from SOURCE_DATE_EPOCH
# (default: the commit's), paths are mapped, and archives have one order.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/release-lib.sh
source scripts/release-lib.sh

readonly PROFILE=shipped
# For mimalloc's C code: without huge pages, which double the memory of a host, and without the time of the build.
readonly ALLOCATOR_FLAGS='-DMI_DEFAULT_ALLOW_THP=0 -Wno-builtin-macro-redefined -D__DATE__="" -D__TIME__=""'

main() {
    local target targets=("$@")
    ((${#targets[@]} > 0)) || targets=(x86_64-unknown-linux-musl aarch64-unknown-linux-musl)
    release_environment
    PATH=$(scripts/release-tools.sh zig cargo-auditable cargo-cyclonedx | paste -sd : -):$PATH
    # A release has the same components in all archives: only one machine builds them. The playground, which is made of them,
    # is part of the programs that serve: those for Linux.
    if [[ ${SALLYPORT_POLICIES_BUILT:-} != 1 ]]; then
        scripts/build-policies.sh
        scripts/console.sh
    fi
    for target in "${targets[@]}"; do
        build "$target"
    done
    generated "${targets[@]}"
    mkdir -p "$DIST"
    for target in "${targets[@]}"; do
        sbom "$target"
        archive "$target"
    done
    scripts/dist-index.sh
    say "$DIST holds"
    (cd "$DIST" && wc -c ./* | sed 's|^|  |; s|\./||') >&2
}

# build TARGET: compiles the program, with the list of its dependencies in the section .dep-v0 (cargo auditable).
build() {
    local subcommand=build began=$SECONDS
    [[ $1 != *-musl ]] || subcommand=zigbuild
    add_target "$1"
    # The package alone: the tests' crates would add features.
    CARGO_ENCODED_RUSTFLAGS=$(mapped_paths) CFLAGS=$ALLOCATOR_FLAGS cargo auditable "$subcommand" --locked \
        --profile "$PROFILE" --target "$1" --package sallyport --bin sallyport ||
        die "the program for $1 could not be built; cargo's words stand above."
    say "built the program for $1 in $((SECONDS - began)) s"
}

add_target() {
    local directory
    directory=$(rustc --print target-libdir --target "$1") || die "rustc knows no target $1"
    compgen -G "$directory/libstd-*.rlib" >/dev/null && return
    rustup target add "$1" >&2 || die "the standard library for $1 can't be had: rustup target add $1"
}

# generated TARGET…: writes completions and manual, which only a program that runs here can print.
generated() {
    local target program=()
    for target; do
        program=("$(program_of "$target")")
        "${program[@]}" --version >/dev/null 2>&1 && break
        # A program that prints starts no second one, so that the emulator need not be registered.
        program=(qemu-aarch64-static "${program[@]}")
        [[ $target == aarch64-*-linux-* ]] && "${program[@]}" --version >/dev/null 2>&1 && break
        program=()
    done
    ((${#program[@]} > 0)) || die "none of the programs for $* runs here, and one must print the completions; add this machine's target"
    rm -rf "$GENERATED"
    mkdir -p "$GENERATED/completions"
    "${program[@]}" completions bash >"$GENERATED/completions/sallyport.bash"
    "${program[@]}" completions zsh >"$GENERATED/completions/_sallyport"
    "${program[@]}" completions fish >"$GENERATED/completions/sallyport.fish"
    "${program[@]}" completions powershell >"$GENERATED/completions/sallyport.ps1"
    "${program[@]}" man "$GENERATED/man"
}

# sbom TARGET: writes the list of dependencies. cargo cyclonedx puts one beside each Cargo.toml of the workspace.
sbom() {
    local name=sallyport.release
    cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --target "$1" --override-filename "$name" \
        --manifest-path webhook-host/Cargo.toml
    python3 scripts/sbom.py "$name" "$DIST/sallyport-$VERSION-$1.cdx.json"
    find . -name "$name.json" -not -path './target/*' -exec rm {} +
}

# archive TARGET: collects the files of an archive, and packs them.
archive() {
    local name=sallyport-$VERSION-$1 suffix=tar.gz tree
    tree=$TREES/$name
    [[ $1 != *windows* ]] || suffix=zip
    rm -rf "$tree"
    mkdir -p "$tree"
    cp "$(program_of "$1")" "$tree/"
    cp -R "$GENERATED/completions" "$GENERATED/man" "$tree/"
    shared_files "$tree" "$tree"
    # The README's commands and links to pages work here, too.
    cp -R docs "$tree/"
    cp README.md CHANGELOG.md "$tree/"
    cp "$DIST/$name.cdx.json" "$tree/sallyport.cdx.json"
    python3 scripts/third-party.py "$1" >"$tree/THIRD-PARTY-LICENSES.txt"
    python3 scripts/archive.py "$tree" "$DIST/$name.$suffix"
}

main "$@"
