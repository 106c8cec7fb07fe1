#!/usr/bin/env bash
# Tests the languages of `sallyport new`: makes a project in each, and runs its build and suite by
# its own Makefile; then builds the twins of service-type and owner-label (tests/twins) in such
# projects and runs their suites.
#
#   scripts/twins.sh [--if-possible] [--projects] LANGUAGE…
#   target/twins/<language>/<policy>.wasm, .yaml    what comes of it; bench and tests read it
#
# With --if-possible, a language whose toolchain is missing gets a message and the tests go on; with SALLYPORT_REQUIRE_TWINS=1, as
# in CI, it fails in any case. With --projects, the twins are left out. What a language has beyond clang, Node and Python is installed
# by the projects themselves, and wit-bindgen below target/twins.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly OUT=target/twins
readonly PROGRAM=$PWD/target/debug/sallyport-tested
readonly TEMPLATE=required-labels
readonly TEMPLATES=webhook-host/src/cli/new
readonly POLICIES=(service-type owner-label)
# As the template of the Makefile for C names it.
WIT_BINDGEN=$(sed -n 's/^const WIT_BINDGEN: &str = "\(.*\)";/\1/p' webhook-host/src/cli/new/language.rs)
readonly WIT_BINDGEN

main() {
    local if_possible='' projects='' language missing built=()
    while [[ ${1:-} == --* ]]; do
        case $1 in
            --if-possible) if_possible=1 ;;
            --projects) projects=1 ;;
            *) die "scripts/twins.sh knows --if-possible and --projects, not $1." ;;
        esac
        shift
    done
    collect_rust
    [[ -x $PROGRAM ]] || die "$PROGRAM is missing; build it with \`cargo build --workspace --bin sallyport-tested\`."
    for language; do
        missing=$(missing_tools "$language")
        if [[ -z $missing ]]; then
            try "$language"
            if [[ -z $projects && $language != rust && $language != cel ]]; then
                twins "$language"
                built+=("$language")
            fi
        elif [[ -n $if_possible && ${SALLYPORT_REQUIRE_TWINS:-} != 1 ]]; then
            rm -rf "${OUT:?}/$language"
            printf '\n*** SKIPPED: policies in %s ***\n    %s Everything else is tested.\n\n' "$language" "$missing" >&2
        else
            die "policies in $language cannot be built: $missing"
        fi
    done
    ((${#built[@]} == 0)) || compare "${built[@]}"
}

# compare LANGUAGE…: the twins' answers are Rust's, byte for byte.
compare() {
    # shellcheck disable=SC2046
    SALLYPORT_TWINS="$*" cargo test $(locked) --workspace --test twins -- --ignored
}

# The Rust twins are members of the workspace.
collect_rust() {
    local policy
    mkdir -p "$OUT/rust"
    for policy in "${POLICIES[@]}"; do
        place "$(component_of_workspace "${policy//-/_}")" "$OUT/rust/${policy//-/_}.wasm"
        manifest rust "$policy"
    done
}

# manifest LANGUAGE POLICY: a manifest with limits that every language keeps.
manifest() {
    sed "s/owner-label/$2/; s/owner_label/${2//-/_}/" tests/guests/owner-label/policy.yaml >"$OUT/$1/$2.yaml"
}

# Prints what to install; nothing where all is there.
missing_tools() {
    case $1 in
        rust | cel) ;;
        c)
            have clang || apt_install clang >/dev/null 2>&1 ||
                echo 'clang is not installed. On Debian: apt install clang.'
            ;;
        javascript | typescript) missing_node ;;
        python)
            have python3 && python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
                apt_install python3-venv >/dev/null 2>&1 ||
                echo 'Python 3.10 or later with venv is not installed. On Debian: apt install python3-venv.'
            ;;
        *) die "$1 is no language of \`sallyport new\`: rust, typescript, javascript, python, c, cel." ;;
    esac
}

missing_node() {
    local fix='Install Node 20 or later, with npm.' version
    have node || { echo "node is not installed. $fix" && return; }
    have npm || { echo "npm is not installed. $fix" && return; }
    version=$(node --version)
    at_least 20.0 "${version#v}" || echo "node is $version. $fix"
}

# try LANGUAGE: makes a project as a user would, and passes its suite.
try() {
    local language=$1 began=$SECONDS arguments=()
    mkdir -p "$OUT/$language"
    project "$language" "$TEMPLATE"
    [[ $language != cel ]] || arguments=(POLICIES="$PWD/target/policies")
    run_make "$language" "$TEMPLATE" test ${arguments[@]+"${arguments[@]}"}
    say "a new policy in $language: passed, $((SECONDS - began)) s"
}

# twins LANGUAGE: builds the twins, and passes their suites.
twins() {
    local language=$1 policy began=$SECONDS
    for policy in "${POLICIES[@]}"; do twin "$language" "$policy"; done
    case $language in
        python) is_current python types ;;
        c) PATH=$(wit_bindgen):$PATH is_current c bindings ;;
    esac
    "$PROGRAM" test --modules "$OUT/$language" tests/twins tests/fixtures/service-type
    say "the twins in $language: passed, $((SECONDS - began)) s"
}

# is_current LANGUAGE FOLDER: a generated folder among the templates equals what the toolchain makes of the contract now. With
# WRITE_TYPES=1 it is written. A test of the workspace compares the digest, so that it notices a change without the toolchain.
is_current() {
    local made
    made=$(mktemp -d)
    "$PROGRAM" new "$TEMPLATE" --lang "$1" --path "$made/new" >/dev/null
    cp -r "$made/new/$2" "$made/template"
    # The tools of the project that was tried, newer than the requirements that the new one comes with.
    local tools=$PWD/$OUT/projects/$1/$TEMPLATE/.venv
    [[ ! -d $tools ]] || { ln -s "$tools" "$made/new/.venv" && touch "$tools/bin/componentize-py"; }
    make --no-print-directory --directory "$made/new" "$2" >&2
    if [[ -n ${WRITE_TYPES:-} ]]; then
        write_template "$made/new/$2" "$1" "$2"
    else
        diff -r "$made/template" "$made/new/$2" >&2 ||
            die "$TEMPLATES/$1/$2 is not what \`make $2\` writes in a new project; the difference stands above." \
                "\`WRITE_TYPES=1 scripts/twins.sh $1\` writes it."
        [[ $(digest "$1" "$2") == "$(cat "tests/twins/$1/generated.sha256")" ]] ||
            die "tests/twins/$1/generated.sha256 is not current; \`WRITE_TYPES=1 scripts/twins.sh $1\` writes it."
    fi
    rm -rf "$made"
}

# write_template MADE LANGUAGE FOLDER: puts a generated folder among the templates.
write_template() {
    local to=$TEMPLATES/$2/$3 file
    rm -rf "$to"
    cp -r "$1" "$to"
    while IFS= read -r file; do
        sed "s/$TEMPLATE/{{name}}/g" "$file" >"$file.new"
        mv "$file.new" "$file"
    done < <(find "$to" -type f)
    # The copy by which a project knows that its world has changed.
    [[ ! -f $to/policy.wit ]] || { rm "$to/policy.wit" && cp "$TEMPLATES/wit/policy.wit.txt" "$to"; }
    digest "$2" "$3" >"tests/twins/$2/generated.sha256"
}

# digest LANGUAGE FOLDER: of a generated folder, and of all that it is made of: path and content of each file.
digest() {
    local file
    {
        find policy-wasm/wit "$TEMPLATES/wit" "$TEMPLATES/$1/$2" -type f
        case $1 in
            python) echo "$TEMPLATES/python/requirements.txt.txt" ;;
            c) echo "$TEMPLATES/language.rs" ;;
        esac
    } | LC_ALL=C sort | while IFS= read -r file; do
        echo "$file"
        # language.rs counts by its release of wit-bindgen alone.
        if [[ $file == *.rs ]]; then echo "$WIT_BINDGEN"; else cat "$file"; fi
    done | { if have sha256sum; then sha256sum; else shasum -a 256; fi; } | cut -d" " -f1
}

# project LANGUAGE POLICY: makes a project with `sallyport new`, and puts a twin's source and world into it. Files that
# have not changed, and installed packages, stay.
project() {
    local language=$1 policy=$2 directory=$OUT/projects/$1/$2 made extension
    made=$(mktemp -d)
    "$PROGRAM" new "$policy" --lang "$language" --path "$made/new" >/dev/null
    if [[ $policy != "$TEMPLATE" ]]; then
        extension=$(extension "$language")
        cp "$(world "$policy")" "$made/new/wit/policy.wit"
        cp "tests/twins/$language/${policy//-/_}.$extension" "$made/new/policy.$extension"
        # Bindings that were made of this world before.
        ! cmp -s "$made/new/wit/policy.wit" "$directory/bindings/policy.wit" || rm -r "$made/new/bindings"
    fi
    mkdir -p "$directory"
    place_all "$made/new" "$directory"
    rm -rf "$made"
}

extension() {
    case $1 in
        javascript) echo js ;;
        typescript) echo ts ;;
        python) echo py ;;
        *) echo "$1" ;;
    esac
}

# place_all FROM TO: copies changed files alone, so that make builds what has changed.
place_all() {
    local file
    while IFS= read -r file; do
        cmp -s "$1/$file" "$2/$file" && continue
        mkdir -p "$(dirname "$2/$file")"
        cp "$1/$file" "$2/$file"
    done < <(cd "$1" && find . -type f)
}

# twin LANGUAGE POLICY: builds the policy's twin in a project of its own, and collects component and manifest.
twin() {
    local language=$1 policy=$2 directory=$OUT/projects/$1/$2 file=${2//-/_} packages
    project "$language" "$policy"
    if [[ $language == c ]] && ! cmp -s "$directory/wit/policy.wit" "$directory/bindings/policy.wit"; then
        PATH=$(wit_bindgen):$PATH run_make c "$policy" bindings
    fi
    # The packages of the first project serve all.
    for packages in node_modules .venv; do
        [[ ! -d $OUT/projects/$language/$TEMPLATE/$packages || -e $directory/$packages ]] ||
            ln -s "../$TEMPLATE/$packages" "$directory/$packages"
    done
    # By their times the Makefile knows that they are installed.
    installed "$directory/package-lock.json" "$directory/node_modules/.package-lock.json"
    installed "$directory/requirements.txt" "$directory/.venv/bin/componentize-py"
    run_make "$language" "$policy" all
    place "$directory/$file.wasm" "$OUT/$language/$file.wasm"
    manifest "$language" "$policy"
}

# installed LIST MARK: gives the mark of what is installed a time that is not before the list's.
installed() {
    [[ ! $1 -nt $2 ]] || touch -c "$2"
}

place() { cmp -s "$1" "$2" || cp "$1" "$2"; }

world() { ls "policies/$1/policy.wit" 2>/dev/null || echo "tests/guests/$1/policy.wit"; }

component_of_workspace() { ls "target/policies/$1.wasm" 2>/dev/null || echo "target/guests/$1.wasm"; }

# run_make LANGUAGE POLICY ARGUMENTS…
run_make() {
    local directory=$OUT/projects/$1/$2
    shift 2
    make --no-print-directory --directory "$directory" SALLYPORT="$PROGRAM" "$@" >&2
}

# Prints the directory of wit-bindgen, which is installed once: four to six minutes of one processor.
wit_bindgen() {
    local tools=$PWD/$OUT/tools/wit-bindgen-$WIT_BINDGEN
    if [[ ! -x $tools/bin/wit-bindgen ]]; then
        say "installing wit-bindgen-cli $WIT_BINDGEN (four to six minutes of one processor)"
        cargo install wit-bindgen-cli --version "$WIT_BINDGEN" --locked --no-default-features --features c --root "$tools" >&2 ||
            die "cargo could not install wit-bindgen-cli $WIT_BINDGEN; its words stand above."
    fi
    echo "$tools/bin"
}

main "$@"
