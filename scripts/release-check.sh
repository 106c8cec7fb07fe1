#!/usr/bin/env bash
# The rest of `make release-check`, after the other targets: licences, sources and advisories of all dependencies;
# the offline commands on other systems; and the tests on the released program instead of the one that tests build.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/release-lib.sh
source scripts/release-lib.sh

# Built and run by the release workflow on such machines. Here it is checked that they compile.
readonly OTHER_SYSTEMS=(aarch64-apple-darwin x86_64-apple-darwin x86_64-pc-windows-gnu)

main() {
    local target program
    PATH=$(scripts/release-tools.sh cargo-deny zig | paste -sd : -):$PATH
    dependencies
    for target in "${OTHER_SYSTEMS[@]}"; do
        rustup target add "$target" >&2 || die "the standard library for $target can't be had: rustup target add $target"
        cargo-zigbuild check --locked --quiet --package sallyport --target "$target" || die "sallyport does not compile for $target"
        say "sallyport compiles for $target"
    done
    program=$(program_of "$(uname -m)-unknown-linux-musl")
    say "the tests on $program"
    [[ $program == /* ]] || program=$PWD/$program
    SALLYPORT_PROGRAM=$program KUBECTL_WHOLE_CORPUS=1 KUBECTL_GENERATED=400 SALLYPORT_EVERY_SNAPSHOT=1 \
        cargo test --workspace --test all
    local seed=$RANDOM
    say "the properties, with PROPTEST_RNG_SEED=$seed"
    PROPTEST_CASES=2000 PROPTEST_RNG_SEED=$seed cargo test --workspace --test properties
}

dependencies() {
    cargo deny --log-level error check licenses bans sources || die "a dependency is not acceptable by deny.toml"
    if git ls-remote --exit-code https://github.com/RustSec/advisory-db HEAD >/dev/null 2>&1; then
        cargo deny --log-level error check advisories || die "a dependency has an advisory"
    else
        say "SKIPPED: advisories, because their database (github.com/RustSec/advisory-db) can't be reached"
    fi
}

main
