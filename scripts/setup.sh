#!/usr/bin/env bash
# Installs the prerequisites of the first build. Idempotent; takes a second when nothing is missing.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

# Reports all missing programs at once, instead of one for each attempt.
check_tools() {
    local missing=()
    have make || missing+=("make (Debian: apt-get install make)")
    have "${CC:-cc}" || missing+=("a C compiler, for the TLS library (Debian: apt-get install gcc libc6-dev; or set CC)")
    { have cargo && have rustc; } || missing+=("Rust $(rust_version) or later, cargo included (install rustup: see rustup.rs)")
    ((${#missing[@]} == 0)) && return

    printf '\nsallyport: error: this machine lacks\n' >&2
    printf '  - %s\n' "${missing[@]}" >&2
    printf 'Install that and run the same command again.\n\n' >&2
    exit 1
}

check_rust() {
    local release
    release=$(release_of rustc)
    [[ -n $release ]] || die "rustc does not run: $(rustc -vV 2>&1 | tail -n 1)." \
        "If rustup says that the toolchain is not installed: rustup toolchain install stable."
    at_least "$(rust_version)" "$release" || die "this Rust is $release; the workspace needs $(rust_version) or later." \
        "Run: rustup update stable."
}

# A separate step before the build, so that a missing network is reported as such and not as a
# failed build.
fetch_dependencies() {
    local log
    log=$(mktemp)
    # shellcheck disable=SC2046 # nothing or one flag
    if cargo fetch $(locked) --target "$(rustc -vV | sed -n 's/^host: //p')" >"$log" 2>&1; then
        rm -f "$log"
        return
    fi
    tail -n 12 "$log" >&2
    rm -f "$log"
    die "cargo could not get the crates that Cargo.lock names (its words stand above). They come from crates.io, or from" \
        "the mirror that a [source] table of your cargo configuration names; the cache is ${CARGO_HOME:-$HOME/.cargo}," \
        "which must be writable. Without any network, copy that cache from a machine that has built this workspace and" \
        "set CARGO_NET_OFFLINE=true."
}

check_tools
check_rust
fetch_dependencies
way=$(scripts/wasm-target.sh)
say "ready: $(rustc --version), components by way of $way"
