#!/usr/bin/env bash
# Gets promtool, which tests alerts and the dashboard's expressions, and prints its path. Tried in this
# order: $SALLYPORT_PROMTOOL, an earlier run's, the PATH, Debian's package prometheus, which is
# unpacked into target/prometheus and not installed. Fails where it can't be had.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly PROMTOOL=target/prometheus/usr/bin/promtool

main() {
    found "${SALLYPORT_PROMTOOL:-}" || found "$PROMTOOL" || found "$(command -v promtool)" || by_apt ||
        die "no promtool: install Prometheus, or work on Debian, whose package has it."
}

# found PROGRAM: prints it if it runs.
found() {
    [[ -n $1 && -x $1 ]] && "$1" --version >/dev/null 2>&1 || return 1
    echo "$1"
}

by_apt() {
    have apt-get && have dpkg-deb || return 1
    local aside
    mkdir -p target/prometheus
    aside=$(mktemp -d target/.prometheus-XXXXXX)
    # shellcheck disable=SC2064
    trap "rm -rf '$aside'" EXIT
    say "getting promtool from Debian's package prometheus (19 MB)"
    (cd "$aside" && apt-get download --quiet=2 prometheus >/dev/null 2>&1) || return 1
    dpkg-deb -x "$aside"/prometheus_*.deb "$aside/unpacked" || return 1
    mkdir -p "$(dirname "$PROMTOOL")"
    mv "$aside/unpacked/usr/bin/promtool" "$PROMTOOL"
    found "$PROMTOOL"
}

main "$@"
