#!/usr/bin/env bash
# Gets a real kube-apiserver, etcd and kubectl for the tests against a cluster, and prints their
# directory on stdout. Tried in this order:
#
#   $KUBEBUILDER_ASSETS   the directory of existing programs
#   the cache             ${SALLYPORT_ASSETS:-~/.cache/sallyport/kubebuilder-assets}/VERSION,
#                         filled by an earlier run
#   envtest               downloaded by setup-envtest, in seconds
#   debian                compiled from Debian 12's source package: about 10 minutes of one
#                         processor, and 3 GB meanwhile
#
# SALLYPORT_ASSETS_WAY=envtest|debian allows only that way. Nothing is installed, apt's lists and
# sources are not changed, and no way needs root. A cached directory is always complete: it is
# filled under another name and renamed. Everything but the result goes to stderr.

# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

readonly PROGRAMS=(kube-apiserver etcd kubectl)
readonly CACHE=${SALLYPORT_ASSETS:-${XDG_CACHE_HOME:-$HOME/.cache}/sallyport/kubebuilder-assets}

# The Kubernetes version of the host's types (k8s-openapi's v1_36).
readonly ENVTEST_KUBERNETES=1.36.x
readonly ENVTEST=sigs.k8s.io/controller-runtime/tools/setup-envtest@latest
# For a download of 80 MB. A slower network is treated as unreachable.
readonly ENVTEST_SECONDS=180

readonly DEBIAN_MIRROR=${SALLYPORT_DEBIAN_MIRROR:-http://deb.debian.org/debian}
readonly DEBIAN_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
# The last release whose source package contains all sources of an API server; later ones have
# kubectl alone.
readonly DEBIAN_SUITE=bookworm
readonly DEBIAN_KUBERNETES=1.20.2
readonly DEBIAN_GO=1.19
# Kubernetes' own makefile needs rsync and jq, with libraries that a small machine lacks.
readonly DEBIAN_PACKAGES=(
    "golang-$DEBIAN_GO-go" "golang-$DEBIAN_GO-src" golang-github-modern-go-reflect2-dev etcd-server kubernetes-client
    jq libjq1 libonig5 rsync libpopt0 libxxhash0 liblz4-1
)
# For 150 MB from a slow mirror, and for a compilation that took at most 25 minutes on two busy
# processors.
readonly DEBIAN_DOWNLOAD_SECONDS=600
readonly DEBIAN_BUILD_SECONDS=3600

main() {
    local way=${SALLYPORT_ASSETS_WAY:-}
    case $way in '' | envtest | debian) ;; *)
        die "SALLYPORT_ASSETS_WAY is '$way'; use envtest, debian, or leave it unset to try both."
        ;;
    esac
    given || cached || { [[ $way != debian ]] && by_envtest; } || { [[ $way != envtest ]] && by_debian; } || die \
        "no kube-apiserver could be had (what was tried stands above). Put kube-apiserver, etcd and kubectl into a folder and" \
        "set KUBEBUILDER_ASSETS to it; or, with a network: go install $ENVTEST && setup-envtest use; or, on Debian 12 with" \
        "its archive in reach ($DEBIAN_MIRROR; SALLYPORT_DEBIAN_MIRROR names another), run this again."
}

# whole DIRECTORY: succeeds when all programs are there.
whole() {
    local program
    for program in "${PROGRAMS[@]}"; do [[ -x $1/$program ]] || return 1; done
}

# chosen DIRECTORY: prints it. The tests' build script, which looks for an API server, runs again only if a source
# file of it is newer than its last run.
chosen() {
    [[ tests/src/cluster/assets.rs -nt $1/kube-apiserver ]] || touch tests/src/cluster/assets.rs
    echo "$1"
}

given() {
    [[ -n ${KUBEBUILDER_ASSETS:-} ]] || return 1
    whole "$KUBEBUILDER_ASSETS" || die "KUBEBUILDER_ASSETS is $KUBEBUILDER_ASSETS, which does not hold all of" \
        "${PROGRAMS[*]}; unset it to have them made."
    echo "$KUBEBUILDER_ASSETS"
}

# Prints the newest version in the cache. Old systems lack sort -V, so each number is a key.
cached() {
    local version
    [[ -d $CACHE ]] || return 1
    while read -r version; do
        if whole "$CACHE/$version"; then
            chosen "$CACHE/$version"
            return
        fi
    done < <(find "$CACHE" -mindepth 1 -maxdepth 1 -name '[0-9]*' | sed 's|.*/||' | sort -t . -k 1,1nr -k 2,2nr -k 3,3nr)
    return 1
}

# keep DIRECTORY VERSION: moves a complete directory into the cache. An existing one is kept, since
# both are equal.
keep() {
    whole "$1" && "$1/kube-apiserver" --version >&2 || return 1
    whole "$CACHE/$2" || { rm -rf "${CACHE:?}/$2" && mv "$1" "$CACHE/$2"; } || return 1
    chosen "$CACHE/$2"
}

# Creates a directory beside the cache's own, on the same file system. It is removed at the end in
# any case.
build_aside() {
    [[ -z ${ASIDE:-} ]] || return 0
    mkdir -p "$CACHE"
    ASIDE=$(mktemp -d "$CACHE/.making-XXXXXX")
    # Go's files are read-only.
    trap 'chmod -R u+w "$ASIDE" && rm -rf "$ASIDE"' EXIT
}

by_envtest() {
    local found version log
    setup_envtest || { say "no setup-envtest, nor a go to run it with" && return 1; }
    build_aside
    log=$ASIDE/log
    say "downloading Kubernetes $ENVTEST_KUBERNETES by setup-envtest"
    found=$(with_limit "$ENVTEST_SECONDS" "${SETUP_ENVTEST[@]}" use --bin-dir "$ASIDE" -p path "$ENVTEST_KUBERNETES" 2>"$log") || {
        tail -n 3 "$log" >&2
        say "setup-envtest could not download it"
        return 1
    }
    version=$("$found/kube-apiserver" --version | sed 's/.* v//')
    chmod u+w "$found"
    keep "$found" "$version"
}

setup_envtest() {
    if have setup-envtest; then
        SETUP_ENVTEST=(setup-envtest)
    elif have go; then
        SETUP_ENVTEST=(go run "$ENVTEST")
    else
        return 1
    fi
}

by_debian() {
    local began=$SECONDS log
    { have apt-get && have dpkg-deb && have patch && have make; } || {
        say "Debian's source package needs apt-get, dpkg-deb, patch and make"
        return 1
    }
    [[ -f $DEBIAN_KEYRING ]] || { say "$DEBIAN_KEYRING is missing (package debian-archive-keyring)" && return 1; }
    build_aside
    log=$ASIDE/log
    say "compiling Debian's kube-apiserver $DEBIAN_KUBERNETES: about 10 minutes of one processor, once; log: $log"
    (debian_download && debian_unpack && debian_compile && debian_collect) >"$log" 2>&1 || {
        grep -v 'type checker' "$log" | tail -n 20 >&2
        say "that failed after $((SECONDS - began)) s"
        return 1
    }
    say "compiled in $((SECONDS - began)) s"
    keep "$ASIDE/assets" "$DEBIAN_KUBERNETES"
}

# bash disables errexit in a function whose result is tested, so every step below is chained.

# Sets up a private apt: its own lists, cache and state, with only the wanted release, signed by
# Debian.
debian_download() {
    local apt="$ASIDE/apt" source
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/empty" "$ASIDE/packages" &&
        touch "$apt/status" &&
        printf "%s [signed-by=$DEBIAN_KEYRING] $DEBIAN_MIRROR $DEBIAN_SUITE main\n" deb deb-src >"$apt/sources.list" &&
        private_apt apt-get update &&
        source=$(private_apt apt-cache showsrc kubernetes | sed -n "/^Version: .*$DEBIAN_KUBERNETES/s/^Version: //p" | head -n 1) &&
        cd "$ASIDE/packages" &&
        private_apt apt-get source --download-only "kubernetes=$source" &&
        private_apt apt-get download "${DEBIAN_PACKAGES[@]}"
}

private_apt() {
    local command=$1 apt="$ASIDE/apt"
    shift
    with_limit "$DEBIAN_DOWNLOAD_SECONDS" "$command" --quiet -o "Dir::Etc=$apt/empty" -o "Dir::Etc::sourcelist=$apt/sources.list" \
        -o "Dir::State=$apt/state" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User= "$@"
}

debian_unpack() {
    local package tree="$ASIDE/tree" root="$ASIDE/root" name
    mkdir -p "$tree" "$root" || return 1
    for package in "$ASIDE"/packages/*.deb; do dpkg-deb --extract "$package" "$root" || return 1; done
    tar -xzf "$ASIDE"/packages/kubernetes_*.orig.tar.gz -C "$tree" --strip-components=1 &&
        tar -xJf "$ASIDE"/packages/kubernetes_*.debian.tar.xz -C "$tree" || return 1
    while read -r name; do
        patch --directory="$tree" --strip=1 --input="$tree/debian/patches/$name" || return 1
    done < <(grep -v '^#' "$tree/debian/patches/series")
    # Version 1.0.1, which Kubernetes vendors, crashes at the first custom resource with Go 1.18 or
    # newer.
    rm -rf "$tree"/vendor/github.com/modern-go/reflect2/* &&
        cp -r "$root"/usr/share/gocode/src/github.com/modern-go/reflect2/. "$tree/vendor/github.com/modern-go/reflect2/"
}

# Compiles with Kubernetes' own makefile, which needs a GOPATH; `go build -mod=vendor` fails on this
# tree.
debian_compile() {
    local tree="$ASIDE/tree" root="$ASIDE/root" workspace="$ASIDE/tree/.go/src/k8s.io"
    local go="$root/usr/lib/go-$DEBIAN_GO"
    mkdir -p "$workspace" "$ASIDE/home" && ln -s ../../.. "$workspace/kubernetes" &&
        printf '%s\n' "KUBE_GIT_VERSION='v$DEBIAN_KUBERNETES'" KUBE_GIT_MAJOR=1 KUBE_GIT_MINOR=20 KUBE_GIT_TREE_STATE=clean \
            KUBE_GIT_COMMIT=debian >"$ASIDE/version" && cd "$workspace/kubernetes" || return 1
    # The caller may be make itself, whose variables must not reach this make. The machine's own jq,
    # rsync and libraries come first.
    with_limit "$DEBIAN_BUILD_SECONDS" nice env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u KUBE_BUILD_PLATFORMS \
        HOME="$ASIDE/home" GOROOT="$go" GOPATH="$tree/.go" GO111MODULE=off GOFLAGS= CGO_ENABLED=0 \
        KUBE_GIT_VERSION_FILE="$ASIDE/version" PATH="$go/bin:$PATH:$root/usr/bin" \
        LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$root/usr/lib/$(uname -m)-linux-gnu" make WHAT=cmd/kube-apiserver
}

debian_collect() {
    local compiled
    compiled=$(find "$ASIDE/tree/_output/local/bin" -name kube-apiserver -type f | head -n 1)
    mkdir "$ASIDE/assets" && cp "$compiled" "$ASIDE/root/usr/bin/etcd" "$ASIDE/root/usr/bin/kubectl" "$ASIDE/assets/"
}

main
