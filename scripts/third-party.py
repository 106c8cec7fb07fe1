#!/usr/bin/env python3
"""Prints the licences of all crates that are linked into the program for a target, and into the policies:
third-party.py TARGET

Each text stands once, with the crates that come under it. A crate that ships no text is listed with its SPDX
expression (deny.toml says which expressions are accepted).
"""

import json
import re
import subprocess
import sys
from pathlib import Path

WASM = "wasm32-unknown-unknown"
# The names under which crates ship their terms.
TEXTS = re.compile(r"(?i)^(licen[sc]e|copying|notice|copyright|unlicense)([-._].*)?$")
LINE = "=" * 80


def main(target):
    packages = metadata()
    used = crates("sallyport", target)
    for policy in sorted(Path("policies").glob("*/Cargo.toml")):
        used |= crates(policy.parent.name, WASM)
    by_text, without = {}, []
    for name in sorted(used & packages.keys()):
        package = packages[name]
        texts = [path.read_text(errors="replace").strip() for path in license_files(package)]
        for text in texts:
            by_text.setdefault(text, []).append(name)
        if not texts:
            without.append(f"{name}: {package['license'] or 'see ' + str(package['repository'])}")
    print("Sallyport contains the crates that are named here, under these terms. Its own licence is in the file LICENSE.\n")
    for name in sorted(used & packages.keys()):
        print(f"{name}: {packages[name]['license'] or 'see its text below'}")
    for text, names in sorted(by_text.items(), key=lambda item: item[1]):
        print(f"\n{LINE}\n{', '.join(names)}\n{LINE}\n\n{text}")
    if without:
        print(f"\n{LINE}\nNo text comes with these crates; the terms are those of their SPDX expression\n{LINE}\n")
        print("\n".join(without))


def metadata():
    """Returns the packages from registries by `name version`."""
    text = run("cargo", "metadata", "--locked", "--format-version", "1")
    packages = json.loads(text)["packages"]
    return {f"{package['name']} {package['version']}": package for package in packages if package["source"]}


def crates(package, target):
    """Returns what is linked: build scripts and procedural macros' own dependencies are not."""
    tree = run("cargo", "tree", "--locked", "--package", package, "--target", target, "--edges", "normal,no-proc-macro", "--prefix",
               "none", "--no-dedupe", "--format", "{p}")
    return {line.split(" (")[0].replace(" v", " ", 1) for line in tree.splitlines()}


def license_files(package):
    directory = Path(package["manifest_path"]).parent
    return sorted(path for path in directory.iterdir() if path.is_file() and TEXTS.match(path.name))


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(sys.argv[1])
