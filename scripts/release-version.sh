#!/usr/bin/env bash
# Checks that all files name the same version: release-version.sh [TAG]. The version is that of
# Cargo.toml.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/release-lib.sh
source scripts/release-lib.sh

wrong=()
# names FILE TEXT: notes a file that lacks a text.
names() { grep -qF -- "$2" "$1" || wrong+=("$1 has no '$2'"); }

tag=${1:-v$VERSION}
[[ $tag == "v$VERSION" ]] || wrong+=("the tag is $tag, and Cargo.toml says $VERSION")
names deploy/ci/install.sh "version=$VERSION"
names deploy/ci/gitlab.yml "SALLYPORT_VERSION: $VERSION"
names deploy/ci/gitlab.yml "/v$VERSION/deploy/ci/gitlab.yml"
names action.yml "sallyport@v$VERSION"
names .pre-commit-hooks.yaml "rev: v$VERSION"
names deploy/base/kustomization.yaml "newTag: $VERSION"
names deploy/chart/sallyport/Chart.yaml "version: $VERSION"
names deploy/chart/sallyport/Chart.yaml "appVersion: $VERSION"
names deploy/README.md "sallyport:$VERSION"
names README.md "sallyport-$VERSION-x86_64-unknown-linux-musl.tar.gz"
names README.md "sallyport@v$VERSION"
names docs/install.md "/v$VERSION/deploy/ci/install.sh"
names docs/install.md "sallyport@v$VERSION"
names docs/install-helm.md "sallyport-$VERSION.tgz"
[[ $# == 0 ]] || names CHANGELOG.md "## [$VERSION]"
((${#wrong[@]} == 0)) || die "the version is not the same everywhere: $(printf '%s; ' "${wrong[@]}")"
