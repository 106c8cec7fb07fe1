#!/bin/sh
# Runs a command of the release that this script belongs to, on the files that pre-commit names. $SALLYPORT names
# another program.

set -eu

program=${SALLYPORT:-$(sh "$(dirname "$0")/install.sh" --to "${XDG_CACHE_HOME:-$HOME/.cache}/sallyport/releases")}
exec "$program" "$@"
