#!/usr/bin/env python3
"""Writes the list of dependencies of an archive: sbom.py NAME OUTPUT

Joins what cargo cyclonedx wrote as NAME.json beside the Cargo.toml of the program and of each policy, adds the digests
of the components, and takes this machine's directory out of the names.
"""

import hashlib
import json
import sys
from pathlib import Path


def main(name, output):
    sbom = read(Path("webhook-host"), name)
    components = {component["bom-ref"]: component for component in sbom["components"]}
    dependencies = {entry["ref"]: entry for entry in sbom["dependencies"]}
    for manifest in sorted(Path("policies").glob("*/Cargo.toml")):
        policy = read(manifest.parent, name)
        main_component = policy["metadata"]["component"]
        main_component.pop("components", None)
        main_component |= {"type": "application", "hashes": [digest(manifest.parent.name)]}
        components[main_component["bom-ref"]] = main_component
        for component in policy["components"]:
            components.setdefault(component["bom-ref"], component)
        for entry in policy["dependencies"]:
            dependencies.setdefault(entry["ref"], entry)
    sbom["components"] = [components[reference] for reference in sorted(components)]
    sbom["dependencies"] = [dependencies[reference] for reference in sorted(dependencies)]
    Path(output).write_text(json.dumps(sbom, indent=1) + "\n")


def read(directory, name):
    """Reads one, with paths below a directory that every machine has."""
    text = (directory / f"{name}.json").read_text()
    return json.loads(text.replace(f"path+file://{Path.cwd()}", "path+file:///sallyport"))


def digest(policy):
    component = Path("target/policies") / f"{policy.replace('-', '_')}.wasm"
    return {"alg": "SHA-256", "content": hashlib.sha256(component.read_bytes()).hexdigest()}


if __name__ == "__main__":
    main(*sys.argv[1:])
