#!/usr/bin/env bash
# Prepares this machine for building WebAssembly components, and prints on stdout how they are
# built:
#
#   rustup  the active toolchain has the standard library for wasm32-unknown-unknown
#   debian  Debian's compiler builds the standard library from its source, where rustup's can't be
#           downloaded
#
# SALLYPORT_WASM=rustup|debian allows only that way. Everything else goes to stderr.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly TARGET=wasm32-unknown-unknown
readonly DEBIAN_PACKAGES=(rustc-web rust-web-src lld-22)
readonly DEBIAN_RUSTC=/usr/bin/rustc
# For a download of 20 MB. A slower network is treated as unreachable.
readonly RUSTUP_SECONDS=180
readonly NO_DOWNLOAD=target/no-wasm-download

main() {
    case ${SALLYPORT_WASM:-} in
        rustup) rustup_way || die "$(rustup_advice)" ;;
        debian) debian_way || die "$(debian_advice)" ;;
        '') either_way || die "$(rustup_advice) Or: $(debian_advice)" ;;
        *) die "SALLYPORT_WASM is '$SALLYPORT_WASM'; use rustup, debian, or leave it unset to try both." ;;
    esac
}

# A failed download is not tried again before each build; `make clean` resets that.
either_way() {
    if [[ -f $NO_DOWNLOAD ]] && ! has_library && has_debian_compiler; then
        debian_way
    elif rustup_way; then
        return
    else
        debian_way || return 1
        mkdir -p "$(dirname "$NO_DOWNLOAD")"
        touch "$NO_DOWNLOAD"
    fi
}

rustup_way() {
    if ! has_library; then
        have rustup || return 1
        say "adding the Rust target $TARGET"
        RUST_BACKTRACE=0 with_limit "$RUSTUP_SECONDS" rustup target add "$TARGET" >&2 || return 1
        has_library || return 1
    fi
    scripts/component-linker.sh >/dev/null || return 1
    echo rustup
}

# Finds the standard library of the toolchain that cargo uses, however it was installed.
has_library() {
    local directory
    directory=$(rustc --print target-libdir --target "$TARGET" 2>/dev/null) || return 1
    compgen -G "$directory/libstd-*.rlib" >/dev/null
}

debian_way() {
    if ! has_debian_compiler; then
        apt_install "${DEBIAN_PACKAGES[@]}" || return 1
        has_debian_compiler || return 1
    fi
    scripts/component-linker.sh >/dev/null || return 1
    echo debian
}

has_debian_compiler() {
    local release
    release=$(release_of "$DEBIAN_RUSTC") && [[ -n $release ]] || return 1
    at_least "$(rust_version)" "$release" || return 1
    [[ -f $("$DEBIAN_RUSTC" --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock ]] || return 1
    have wasm-ld-22
}

rustup_advice() {
    echo "policies are compiled for $TARGET, and the active Rust toolchain has no standard library for it." \
        "With a network: rustup target add $TARGET."
}

debian_advice() {
    echo "on Debian 12 or later, where that download is not possible (as root, with bookworm-security enabled):" \
        "apt-get update && apt-get install ${DEBIAN_PACKAGES[*]}; then run this again." \
        "It needs a /usr/bin/rustc of $(rust_version) or later, so an older rustc package has to make room for rustc-web."
}

main
