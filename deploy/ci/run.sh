#!/bin/sh
# Runs sallyport in a CI system, from the variables that action.yml and gitlab.yml set:
#
#   run.sh github|gitlab
#
#   PROGRAM    the path of sallyport          COMMAND    check, lint or test
#   PATHS      files and directories, ARGUMENTS  more flags: one on each line
#   FROM       a command whose output is judged in place of PATHS
#
# github: annotations on standard output. gitlab: the report sallyport.json (Code Quality) or sallyport.xml (JUnit), and
# the same for people on standard output. Exit code as sallyport's: 0 clean, 1 findings, 2 something could not be judged.

set -eu

system=$1
case ${COMMAND:=check} in
    check | lint | test) ;;
    *) echo "sallyport: error: the command is '$COMMAND'; use check, lint or test" >&2 && exit 2 ;;
esac

# Words are what stands on a line, blanks included.
set -f
newline='
'
IFS=$newline
if [ -n "${FROM:-}" ]; then
    manifests=$(mktemp)
    trap 'rm -f "$manifests"' EXIT
    sh -c "$FROM" >"$manifests" || { echo "sallyport: error: this failed: $FROM" >&2 && exit 2; }
    # shellcheck disable=SC2086 # one word for each line
    set -- - ${ARGUMENTS:-}
else
    manifests=/dev/null
    # shellcheck disable=SC2086
    set -- ${PATHS:-.} ${ARGUMENTS:-}
fi
unset IFS

judge() { "$PROGRAM" "$COMMAND" "$@" <"$manifests"; }

if [ "$system" = github ]; then
    judge "$@" --output github
    exit
fi

# The report for the system, then the one for people: what the first compiled, the second finds in the cache.
if [ "$COMMAND" = test ]; then
    judge "$@" --output junit >sallyport.xml || true
else
    judge "$@" --output gitlab >sallyport.json || true
fi
judge "$@"
