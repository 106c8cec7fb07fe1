#!/usr/bin/env bash
# Builds the documentation as a site into target/docs-site with mdBook, and checks its links. Fails on
# a warning, and on a link that leads nowhere.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

version=0.5.4
tools=target/tools
if ! "$tools/bin/mdbook" --version 2>/dev/null | grep -q "v$version"; then
    cargo install mdbook --version "$version" --locked --no-default-features --root "$tools"
fi

book=target/docs-book
rm -rf "$book" target/docs-site
mkdir -p "$book/src"
cp docs/site/book.toml "$book/"
# Every page, and the files that pages link to; no sources of programs but those of the contract.
git ls-files -z --cached --others --exclude-standard -- \
    '*.md' 'docs/**' 'deploy/**' 'policies/**/*.yaml' 'policies/**/*.wit' 'policy-wasm/wit/*' \
    'tests/fixtures/migration/*' | xargs -0 cp --parents -t "$book/src"
cp docs/site/SUMMARY.md "$book/src/"
"$tools/bin/mdbook" build --dest-dir "$PWD/target/docs-site" "$book" 2>&1 | tee "$book/log"
if grep -qE 'WARN|ERROR' "$book/log"; then
    echo "mdbook has warnings (above)" >&2
    exit 1
fi
python3 scripts/docs-links.py target/docs-site
rm -rf "$book"
echo "target/docs-site: $(find target/docs-site -name '*.html' | wc -l) pages"
