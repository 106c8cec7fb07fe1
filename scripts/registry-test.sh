#!/usr/bin/env bash
# Runs the tests with a real registry, Debian's docker-registry. If it can't be installed, the tests
# are skipped, and the last line says so.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

if SALLYPORT_DOCKER_REGISTRY=$(scripts/registry.sh); then
    export SALLYPORT_DOCKER_REGISTRY
    # shellcheck disable=SC2046
    cargo test $(locked) --workspace --test registry -- --ignored
else
    left_out "policies in a real registry: no docker-registry (why stands above)"
fi
