#!/usr/bin/env bash
# Checks that sallyport-core compiles for wasm32-unknown-unknown, and depends on neither tokio nor
# kube nor wasmtime, which do not work in a browser.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly TARGET=wasm32-unknown-unknown
# Crates that need an operating system, or that are large.
readonly FOREIGN=(kube kube-client kube-core ring rustls tokio wasmtime)
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET

flags=(--package sallyport-core --target "$TARGET")
[[ -z $(locked) ]] || flags+=(--locked)

tree=$(cargo tree "${flags[@]}" --edges normal --prefix none --format '{p}')
for name in "${FOREIGN[@]}"; do
    ! grep -q "^$name v" <<<"$tree" || die "sallyport-core depends on $name; keep that in the host, webhook-host/src"
done

way=$(scripts/wasm-target.sh)
if [[ $way == debian ]]; then
    # As build-policies.sh does: this compiler has the source of the standard library only.
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    flags+=("-Zbuild-std=std,panic_abort" --target-dir target/debian)
fi
cargo check --quiet "${flags[@]}" || die "sallyport-core does not compile for $TARGET; cargo's words stand above."
say "sallyport-core compiles for $TARGET by way of $way"
