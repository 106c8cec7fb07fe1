#!/usr/bin/env bash
# Builds every policy and every guest of the tests as a component, and collects
#
#   target/policies/<name>.wasm, <name>.yaml   input of `sallyport serve --policies target/policies`
#   target/guests/<name>.wasm                  guests that the tests load
#
# Every folder with a Cargo.toml under policies/ or tests/guests/ is built; nothing is listed by
# hand. Names of .wasm files keep cargo's underscores; a manifest has its folder's name.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly TARGET=wasm32-unknown-unknown
# RUSTFLAGS would replace the flags of .cargo/config.toml, such as the small stack.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET

way=$(scripts/wasm-target.sh)
# .cargo/config.toml names the linker without a path. A toolchain that has one ignores this.
linker=$(scripts/component-linker.sh)
PATH=$PATH:$(dirname "$linker")
# The compilers have separate target directories, since they can't share artifacts.
target_directory=target
flags=(--target "$TARGET" --profile policy)
if [[ $way == debian ]]; then
    target_directory=target/debian
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    # The standard library is built here anyway, so it is built for size, without panic messages,
    # which nobody could read: a component has no standard error. A panic still traps.
    flags+=("-Zbuild-std=std,panic_abort" "-Zbuild-std-features=optimize_for_size")
    flags+=("-Zpanic-immediate-abort" --config 'profile.policy.panic="immediate-abort"')
    # Debian's compiler has no wasm-ld of its own.
    flags+=(--config "target.$TARGET.rustflags=['-Clink-arg=--wasm-ld-path=$(command -v wasm-ld-22)']")
fi
flags+=(--target-dir "$target_directory")
[[ -z $(locked) ]] || flags+=(--locked)
readonly BUILT=$target_directory/$TARGET/policy

# build FOLDER…: builds members of this workspace together, and each other workspace by itself.
build() {
    local folder members=()
    for folder; do
        if grep -q '^\[workspace\]' "$folder/Cargo.toml"; then
            cargo build "${flags[@]}" --manifest-path "$folder/Cargo.toml" || failed
        else
            members+=(--package "path+file://$PWD/$folder")
        fi
    done
    ((${#members[@]} == 0)) || cargo build "${flags[@]}" "${members[@]}" || failed
}

failed() {
    local hint="cargo's words stand above."
    [[ $way == rustup ]] || hint+=" If it could not download: in this way the crates that the standard library itself is\
 made of come from crates.io, too; SALLYPORT_WASM=rustup does without them."
    die "the components could not be built; $hint"
}

# collect INTO FOLDER…: copies changed files, and removes files without a source.
collect() {
    local into=$1 folder name kept=' ' file
    shift
    mkdir -p "$into"
    for folder; do
        name=$(basename "$folder")
        [[ -f $BUILT/${name//-/_}.wasm ]] ||
            die "$folder gave no ${name//-/_}.wasm. Its package must be called $name, like its folder, and its [lib] needs" \
                'crate-type = ["cdylib", "rlib"].'
        place "$BUILT/${name//-/_}.wasm" "$into/${name//-/_}.wasm"
        kept+="${name//-/_}.wasm "
        [[ -f $folder/policy.yaml ]] || continue
        place "$folder/policy.yaml" "$into/$name.yaml"
        kept+="$name.yaml "
    done
    for file in "$into"/*; do
        [[ $kept == *" $(basename "$file") "* ]] || rm -f "$file"
    done
}

# Copies under another name and renames, so that a running host never reads half a file.
place() {
    cmp -s "$1" "$2" && return
    cp "$1" "$2.new"
    mv "$2.new" "$2"
}

# folders PARENT: prints each folder in it that holds a package.
folders() {
    local manifest
    for manifest in "$1"/*/Cargo.toml; do
        [[ ! -f $manifest ]] || dirname "$manifest"
    done
}

# Package names contain no blanks.
# shellcheck disable=SC2207
policies=($(folders policies))
# shellcheck disable=SC2207
guests=($(folders tests/guests))

build "${policies[@]}" ${guests[@]+"${guests[@]}"}
collect target/policies "${policies[@]}"
collect target/guests ${guests[@]+"${guests[@]}"}
say "components by way of $way:"
wc -c target/policies/*.wasm | sed 's/^/  /' >&2
