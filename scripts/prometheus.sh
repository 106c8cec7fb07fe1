#!/usr/bin/env bash
# Gets a program of Prometheus and prints its path: `promtool`, which tests alerts and the dashboard's
# expressions, or `prometheus`. Tried in this order: $SALLYPORT_PROMTOOL or $SALLYPORT_PROMETHEUS, an
# earlier run's, the PATH, Debian's package prometheus (19 MB), which is unpacked into
# target/prometheus and not installed. Fails where it can't be had.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly UNPACKED=target/prometheus/usr/bin

main() {
    local program=$1 given
    case $program in
        promtool) given=${SALLYPORT_PROMTOOL:-} ;;
        prometheus) given=${SALLYPORT_PROMETHEUS:-} ;;
        *) die "expected promtool or prometheus, found \"$program\"" ;;
    esac
    found "$given" || found "$UNPACKED/$program" || found "$(command -v "$program")" || by_apt "$program" ||
        die "no $program: install Prometheus, or work on Debian, whose package has it."
}

# found PROGRAM: prints its whole path if it runs.
found() {
    [[ -n $1 && -x $1 ]] && "$1" --version >/dev/null 2>&1 || return 1
    case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac
}

by_apt() {
    { have apt-get && have dpkg-deb; } || return 1
    local aside
    mkdir -p "$UNPACKED"
    aside=$(mktemp -d target/.prometheus-XXXXXX)
    # shellcheck disable=SC2064
    trap "rm -rf '$aside'" EXIT
    say "getting Prometheus from Debian's package prometheus (19 MB)"
    download "$aside" || { run_as_root apt-get update --quiet=2 >&2 && download "$aside"; } || return 1
    dpkg-deb -x "$aside"/prometheus_*.deb "$aside/unpacked" || return 1
    mv "$aside/unpacked/usr/bin/"* "$UNPACKED"
    found "$UNPACKED/$1"
}

# A new machine may have no lists of packages yet.
download() {
    (cd "$1" && apt-get download --quiet=2 -o APT::Sandbox::User= prometheus >/dev/null 2>&1)
}

main "$@"
