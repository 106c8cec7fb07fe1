#!/usr/bin/env bash
# Prints the path of wasm-component-ld, which turns the compiler's output into a component. Rust's
# own toolchains contain it; elsewhere it is built from its crate.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

# The version in Rust 1.95.
readonly VERSION=0.5.21
readonly TOOLS=target/tools
readonly NAME=wasm-component-ld

in_toolchain() {
    local sysroot host
    sysroot=$(rustc --print sysroot) || return 1
    host=$(rustc -vV | sed -n 's/^host: //p')
    local linker=$sysroot/lib/rustlib/$host/bin/$NAME
    [[ -x $linker ]] && echo "$linker"
}

built_here() { [[ -x $TOOLS/bin/$NAME ]] && echo "$PWD/$TOOLS/bin/$NAME"; }

build() {
    say "building $NAME $VERSION, which this Rust toolchain does not carry"
    cargo install "$NAME" --version "$VERSION" --locked --root "$TOOLS" >&2 ||
        die "$NAME is missing and could not be built. It is the linker that makes a component of a policy. It comes with" \
            "rustup's toolchains, or by: cargo install $NAME (which needs crates.io)."
    built_here
}

in_toolchain || command -v "$NAME" || built_here || build
