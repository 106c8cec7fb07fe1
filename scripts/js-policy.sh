#!/usr/bin/env bash
# Builds the JavaScript twin of the policy service-type into target/js.
#
# Only this step needs Node. With --if-possible, a machine without Node gets a message and the tests
# go on; with SALLYPORT_REQUIRE_JS=1, as in CI, it fails in any case.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly SOURCES=tests/js-twin
readonly COMPONENT=target/js/service_type.wasm
# The version that package.json requires.
readonly NODE_MAJOR=20

main() {
    local missing
    missing=$(missing_tools)
    if [[ -n $missing ]]; then
        leave_out "$missing" "$@"
    elif [[ -n $(newer_sources) ]]; then
        install_packages
        node "$SOURCES/build.mjs"
    else
        say "$COMPONENT is up to date"
    fi
}

missing_tools() {
    have node || { echo "node is not installed" && return; }
    have npm || { echo "npm is not installed" && return; }
    local version
    version=$(node --version)
    at_least "$NODE_MAJOR.0" "${version#v}" || echo "node is $version and $NODE_MAJOR or later is needed"
}

leave_out() {
    local missing=$1
    rm -f "$COMPONENT"
    if [[ ${2:-} == --if-possible && ${SALLYPORT_REQUIRE_JS:-} != 1 ]]; then
        printf '\n%s\n' '*** SKIPPED: the JavaScript twin of service-type ***' >&2
        printf '%s\n\n' "    $missing. Everything else is tested. To include it, install Node $NODE_MAJOR and npm." >&2
    else
        die "the JavaScript twin cannot be built: $missing. Install Node $NODE_MAJOR or later, with npm, and try again."
    fi
}

# Prints nothing when the component is newer than all of its sources.
newer_sources() {
    [[ -f $COMPONENT ]] || { echo all && return; }
    find "$SOURCES"/*.* "$SOURCES/.npmrc" policy-wasm/wit policies/service-type/policy.wit -newer "$COMPONENT" -type f
}

install_packages() {
    # npm writes this file at the end of a complete install.
    [[ $SOURCES/package-lock.json -nt $SOURCES/node_modules/.package-lock.json ]] || return 0
    say "installing the packages of $SOURCES (30 MB)"
    npm --prefix "$SOURCES" ci --loglevel=error >&2 </dev/null ||
        die "npm could not install the packages that $SOURCES/package-lock.json names (its words stand above). They come" \
            "from the npm registry, or from the one that your npm configuration names."
}

main "$@"
