#!/usr/bin/env bash
# Builds the playground into target/console, a folder for any static server, and compressed into webhook-host/console/embedded, from
# where the next build of the program takes it; and tests it.
#
#   scripts/console.sh          the engine (Rust, wasm32), jco's JavaScript for it and the policies, the page
#   scripts/console.sh test     also: every suite case in Node, with answers equal to the host's; the page in Chromium, and the live
#                               console's against a running host
#
# Packages of npm go to target/console-npm by the lock file. Without Chromium, which comes from Debian's package where it is missing, the
# page is not tested, and this says so; with SALLYPORT_REQUIRE_CONSOLE=1, as in CI, it fails.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/release-lib.sh
source scripts/release-lib.sh

readonly SOURCE=webhook-host/console
readonly TARGET=wasm32-unknown-unknown
readonly NPM=target/console-npm
# For downloads of 40 MB from a slow mirror.
readonly PACKAGES_SECONDS=300
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET

main() {
    local engine
    [[ -f target/policies/service_type.wasm ]] || die "target/policies has no policies; run \`make policies\` first."
    missing_node
    packages
    engine=$(engine)
    page "$engine"
    [[ ${1:-} != test ]] || check
}

missing_node() {
    local version
    { have node && have npm; } || die "the playground is built with Node 20 and npm. On Debian: apt install nodejs npm."
    version=$(node --version)
    at_least 20.19 "${version#v}" || die "node is $version, and the playground is built with 20.19 or later."
}

# Installs the packages of the lock file, once for each of its versions. binaryen (93 MB) only serves options of jco that are not used.
packages() {
    ln -sfn "../../$NPM/node_modules" "$SOURCE/node_modules"
    if ! cmp -s "$SOURCE/package-lock.json" "$NPM/done"; then
        mkdir -p "$NPM"
        cp "$SOURCE/package.json" "$SOURCE/package-lock.json" "$NPM/"
        say "getting the packages of $SOURCE/package-lock.json"
        with_limit "$PACKAGES_SECONDS" npm ci --prefix "$NPM" --no-audit --no-fund --loglevel=error >&2 ||
            die "npm could not get the packages of $SOURCE/package-lock.json; its words stand above."
        rm -rf "$NPM/node_modules/binaryen"
        cp "$SOURCE/package-lock.json" "$NPM/done"
    fi
}

# Builds the engine as a component, and prints its path. Debian's compiler has no standard library for the target (build-policies.sh).
engine() {
    local way linker directory=target flags=(--package console-engine --target "$TARGET" --profile playground)
    way=$(scripts/wasm-target.sh)
    linker=$(scripts/component-linker.sh)
    PATH=$PATH:$(dirname "$linker")
    # The engine is part of the released program, which has the same bytes wherever it is built. Cargo adds these flags to those of
    # .cargo/config.toml.
    flags+=(--config "target.$TARGET.rustflags=['$(mapped_paths | sed "s/\x1f/','/g")']")
    if [[ $way == debian ]]; then
        directory=target/debian
        export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
        flags+=("-Zbuild-std=std,panic_abort" "-Zbuild-std-features=optimize_for_size")
        flags+=(--config "target.$TARGET.rustflags=['-Clink-arg=--wasm-ld-path=$(command -v wasm-ld-22)']")
    fi
    [[ -z $(locked) ]] || flags+=(--locked)
    cargo build "${flags[@]}" --target-dir "$directory" >&2 || die "the engine could not be built; cargo's words stand above."
    echo "$PWD/$directory/$TARGET/playground/console_engine.wasm"
}

# page ENGINE: transpiles the engine and the policies, and builds the page.
page() (
    cd "$SOURCE" || exit
    node build/components.mjs "$1"
    node_modules/.bin/tsc --noEmit
    node_modules/.bin/tsc --noEmit --project live
    node_modules/.bin/vite build --config vite.worker.config.ts --emptyOutDir >&2
    # The warnings are about jco's own module.
    node_modules/.bin/vite build --logLevel error >&2
    node build/finish.mjs
    say "the playground is in target/console; try it: python3 -m http.server --directory target/console --bind 127.0.0.1"
    say "the next build of the program has it, too: sallyport serve --console … serves it at http://localhost:8082/playground/"
)

check() {
    local chromium
    # It builds target/debug/sallyport-tested, too.
    # shellcheck disable=SC2046
    cargo test $(locked) --workspace --test console -- --ignored
    (cd "$SOURCE" && node test/identity.mjs)
    if chromium=$(find_chromium); then
        (cd "$SOURCE" && SALLYPORT_CHROMIUM=$chromium node test/browser.mjs && SALLYPORT_CHROMIUM=$chromium node test/live.mjs)
    elif [[ ${SALLYPORT_REQUIRE_CONSOLE:-} == 1 ]]; then
        die "no Chromium to test the page with. Install Debian's package chromium, or set SALLYPORT_CHROMIUM to the program."
    else
        printf '\n*** SKIPPED: the page in a browser ***\n    Chromium is missing. On Debian: apt install chromium.\n\n' >&2
    fi
}

# Prints the path of a Chromium.
find_chromium() {
    local program
    for program in "${SALLYPORT_CHROMIUM:-}" chromium chromium-browser google-chrome; do
        [[ -n $program ]] && have "$program" && command -v "$program" && return
    done
    apt_install chromium >/dev/null 2>&1 && command -v chromium
}

main "$@"
