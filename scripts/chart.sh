#!/usr/bin/env bash
# Tests the Helm chart with a real Helm, and packages it into target/dist. Skips tests that need a
# missing program, and names them in the last lines: Helm, an API server of Kubernetes 1.30 or newer
# (`make assets`), promtool, docker-registry. With SALLYPORT_REQUIRE_CLUSTER=1, a machine without
# any API server fails.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly CHART=deploy/chart/sallyport

main() {
    local lacking=() skip=() sentence
    if ! { SALLYPORT_HELM=$(scripts/helm.sh) && SALLYPORT_KUBECTL=$(scripts/kubectl.sh); }; then
        left_out "the chart is not tested: no Helm or no kubectl (why stands above)"
        return
    fi
    export SALLYPORT_HELM SALLYPORT_KUBECTL
    if SALLYPORT_PROMTOOL=$(scripts/prometheus.sh promtool); then
        export SALLYPORT_PROMTOOL
    else
        skip+=(--skip promtool_)
        lacking+=("alerts and the dashboard's expressions: no promtool")
    fi
    if [[ ${SALLYPORT_REQUIRE_CLUSTER:-} != 1 ]] && ! has_api_server; then
        skip+=(--skip cluster::)
        lacking+=("releases on a real API server: none is here, see \`make assets\`")
    fi
    if SALLYPORT_DOCKER_REGISTRY=$(scripts/registry.sh); then
        export SALLYPORT_DOCKER_REGISTRY
    else
        skip+=(--skip cluster::registries::)
        lacking+=("policies that a release pulls: no docker-registry")
    fi
    # shellcheck disable=SC2046
    cargo test $(locked) --workspace --test chart -- --include-ignored ${skip[@]+"${skip[@]}"}
    mkdir -p target/dist
    "$SALLYPORT_HELM" package --destination target/dist "$CHART"
    for sentence in ${lacking[@]+"${lacking[@]}"}; do
        left_out "$sentence"
    done
}

has_api_server() {
    local found
    [[ -n ${KUBEBUILDER_ASSETS:-} ]] && return
    for found in "${SALLYPORT_ASSETS:-${XDG_CACHE_HOME:-$HOME/.cache}/sallyport/kubebuilder-assets}"/*/kube-apiserver; do
        [[ -x $found ]] && return
    done
    return 1
}

main "$@"
