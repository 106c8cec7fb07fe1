#!/bin/sh
# Installs a released Sallyport, and prints the path of the program:
#
#   install.sh [VERSION] [--to DIRECTORY]
#
# Without VERSION, the version that this script was released with. The archive is compared with the release's
# SHA256SUMS before it is unpacked. Without --to, it goes below ~/.local/share/sallyport, and ~/.local/bin/sallyport
# becomes a link to the program. What is there already is not downloaded again.
#
# SALLYPORT_DOWNLOAD names another place that holds vVERSION/ARCHIVE and vVERSION/SHA256SUMS, such as a mirror; or, for
# machines without a network, a directory that holds either these or the two files themselves. Needs tar, sha256sum or shasum, and curl or wget; for Windows also unzip.

set -eu

version=0.1.0
from=${SALLYPORT_DOWNLOAD:-https://github.com/sallyport-dev/sallyport/releases/download}
to=

fail() {
    echo "sallyport: error: $*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --to) [ $# -ge 2 ] || fail "--to needs a directory" && to=$2 && shift ;;
        -*) fail "unknown flag $1; usage: install.sh [VERSION] [--to DIRECTORY]" ;;
        *) version=${1#v} ;;
    esac
    shift
done

case $version in
    '' | *[!0-9A-Za-z.+-]*) fail "'$version' is no version; give one like 0.1.0" ;;
esac

suffix=tar.gz
program=sallyport
case $(uname -s)/$(uname -m) in
    Linux/x86_64) target=x86_64-unknown-linux-musl ;;
    Linux/aarch64 | Linux/arm64) target=aarch64-unknown-linux-musl ;;
    Darwin/x86_64) target=x86_64-apple-darwin ;;
    Darwin/arm64) target=aarch64-apple-darwin ;;
    MINGW*/x86_64 | MSYS*/x86_64 | CYGWIN*/x86_64) target=x86_64-pc-windows-msvc suffix=zip program=sallyport.exe ;;
    *) fail "nothing is released for $(uname -s) on $(uname -m); build from source: git clone, then make policies and cargo build --release" ;;
esac

folder=sallyport-$version-$target
archive=$folder.$suffix
directory=${to:-${XDG_DATA_HOME:-$HOME/.local/share}/sallyport}
aside=

# get NAME: puts a file of the release into the directory aside.
get() {
    case $from in
        http://* | https://*)
            if command -v curl >/dev/null; then
                curl --fail --silent --show-error --location --retry 3 --output "$aside/$1" "$from/v$version/$1"
            elif command -v wget >/dev/null; then
                wget --quiet --output-document "$aside/$1" "$from/v$version/$1"
            else
                fail "neither curl nor wget is installed"
            fi
            ;;
        *)
            place=${from#file://}
            [ ! -d "$place/v$version" ] || place=$place/v$version
            cp "$place/$1" "$aside/$1"
            ;;
    esac || fail "can't get $1 from $from/v$version; is $version a released version?"
}

check() {
    sums=$(awk -v name="$archive" '$2 == name' "$aside/SHA256SUMS")
    [ -n "$sums" ] || fail "SHA256SUMS of $version does not list $archive"
    (
        cd "$aside"
        if command -v sha256sum >/dev/null; then
            echo "$sums" | sha256sum -c - >/dev/null 2>&1
        else
            echo "$sums" | shasum -a 256 -c - >/dev/null 2>&1
        fi
    ) || fail "$archive is not the released file: its SHA-256 differs from the one in SHA256SUMS"
}

if [ ! -x "$directory/$folder/$program" ]; then
    mkdir -p "$directory"
    aside=$(mktemp -d "$directory/.installing-XXXXXX")
    trap 'rm -rf "$aside"' EXIT
    get SHA256SUMS
    get "$archive"
    check
    if [ "$suffix" = zip ]; then
        (cd "$aside" && unzip -q "$archive")
    else
        (cd "$aside" && tar -xzf "$archive")
    fi
    rm -rf "${directory:?}/$folder"
    mv "$aside/$folder" "$directory/$folder"
fi

if [ -z "$to" ]; then
    mkdir -p "$HOME/.local/bin"
    ln -sf "$directory/$folder/$program" "$HOME/.local/bin/$program"
    case :$PATH: in
        *:"$HOME/.local/bin":*) ;;
        *) echo "sallyport: add $HOME/.local/bin to your PATH" >&2 ;;
    esac
fi
echo "$directory/$folder/$program"
