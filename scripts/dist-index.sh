#!/usr/bin/env bash
# Writes what depends on all archives of target/dist: krew's manifest, the checksums, and the notes of the release (the
# version's part of CHANGELOG.md).

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/release-lib.sh
source scripts/release-lib.sh

python3 scripts/krew.py "$VERSION" "$DIST"
awk -v version="$VERSION" '/^## / { found = index($0, version) > 0; next } found' CHANGELOG.md >"$DIST/NOTES.md"
(cd "$DIST" && rm -f SHA256SUMS && sha256 sallyport* >SHA256SUMS)
