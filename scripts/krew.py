#!/usr/bin/env python3
"""Writes the manifest by which krew installs Sallyport as `kubectl sallyport`: krew.py VERSION DIRECTORY

It names the archives of the directory with their digests; a platform without an archive is left out. RELEASING.md says
where the manifest goes.
"""

import hashlib
import sys
from pathlib import Path

RELEASES = "https://github.com/sallyport-dev/sallyport/releases/download"
# Operating system and architecture as krew calls them.
TARGETS = {
    "x86_64-unknown-linux-musl": ("linux", "amd64"),
    "aarch64-unknown-linux-musl": ("linux", "arm64"),
    "x86_64-apple-darwin": ("darwin", "amd64"),
    "aarch64-apple-darwin": ("darwin", "arm64"),
    "x86_64-pc-windows-msvc": ("windows", "amd64"),
}

HEAD = """\
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: sallyport
spec:
  version: v{version}
  homepage: https://github.com/sallyport-dev/sallyport
  shortDescription: Check how Services are exposed
  description: |
    Judges the Services in manifests, charts and live clusters by WebAssembly
    policies: node ports only within a range, LoadBalancer only where a
    controller serves it, no external IPs, and more. The same policies run in
    the cluster as an admission webhook.

      kubectl sallyport check deploy/
      kubectl get services -A -o yaml --show-managed-fields | kubectl sallyport check -
  platforms:
"""

PLATFORM = """\
    - selector:
        matchLabels:
          os: {os}
          arch: {arch}
      uri: {releases}/v{version}/{archive}
      sha256: {digest}
      bin: {program}
      files:
        - from: {folder}/*
          to: .
"""


def main(version, directory):
    platforms = [platform for target in TARGETS if (platform := describe(version, directory, target))]
    (directory / "sallyport.yaml").write_text(HEAD.format(version=version) + "".join(platforms))


def describe(version, directory, target):
    folder = f"sallyport-{version}-{target}"
    system, architecture = TARGETS[target]
    archive = directory / (folder + (".zip" if system == "windows" else ".tar.gz"))
    if not archive.exists():
        return None
    return PLATFORM.format(
        os=system,
        arch=architecture,
        releases=RELEASES,
        version=version,
        archive=archive.name,
        digest=hashlib.sha256(archive.read_bytes()).hexdigest(),
        program="sallyport.exe" if system == "windows" else "sallyport",
        folder=folder,
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
