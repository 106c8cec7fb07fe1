#!/usr/bin/env bash
# Gets Debian's docker-registry for the tests with a real registry, and prints its path. Tried in
# this order: $SALLYPORT_DOCKER_REGISTRY, an earlier run's in target/docker-registry, the PATH,
# Debian's package (5 MB), which is unpacked there and not installed.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly PACKAGE=docker-registry
readonly UNPACKED=target/docker-registry
readonly PROGRAM=$UNPACKED/usr/bin/docker-registry
# For a download of 5 MB from a slow mirror.
readonly DOWNLOAD_SECONDS=120

main() {
    found "${SALLYPORT_DOCKER_REGISTRY:-}" || found "$PROGRAM" || found "$(command -v docker-registry)" || by_apt || die \
        "no docker-registry. Install Debian's package $PACKAGE, or set SALLYPORT_DOCKER_REGISTRY to the program."
}

# found PROGRAM: prints its whole path if it runs.
found() {
    [[ -n $1 && -x $1 ]] && "$1" --version >/dev/null 2>&1 || return 1
    case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac
}

by_apt() {
    { have apt-get && have dpkg-deb; } || return 1
    local aside
    mkdir -p target
    aside=$(mktemp -d target/.docker-registry-XXXXXX)
    # shellcheck disable=SC2064
    trap "rm -rf '$aside'" EXIT
    say "getting Debian's $PACKAGE"
    download "$aside" || { run_as_root apt-get update --quiet=2 >&2 && download "$aside"; } || return 1
    dpkg-deb --extract "$aside"/*.deb "$aside/unpacked" || return 1
    rm -rf "$UNPACKED"
    mv "$aside/unpacked" "$UNPACKED"
    found "$PROGRAM"
}

# A new machine may have no lists of packages yet.
download() {
    (cd "$1" && with_limit "$DOWNLOAD_SECONDS" apt-get download --quiet=2 -o APT::Sandbox::User= "$PACKAGE" >&2)
}

main "$@"
