#!/usr/bin/env python3
"""Writes an OCI image layout: image.py OUTPUT VERSION COMMIT SHARED ARCHITECTURE=ROOT…

SHARED is a directory whose files are the same on every architecture; they become the first layer. ROOT is a directory
with the program of one architecture, the second. The layout holds one manifest for each architecture and an index of
them, which `index.json` names by VERSION. The same files give the same digests: sorted names, one time
(SOURCE_DATE_EPOCH), owner 0, fixed modes. (zlib's versions may compress differently; the digests of the uncompressed
layers, `diff_ids`, are the same in any case.) User, ports and command line are those of deploy/Dockerfile.

https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
"""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tarfile
import time
from pathlib import Path

DOCKERFILE = Path(__file__).parent.parent / "deploy/Dockerfile"
SOURCE = "https://github.com/sallyport-dev/sallyport"

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Layout:
    """A layout that is being written."""

    def __init__(self, directory, version, commit, epoch):
        self.directory, self.version, self.epoch = directory, version, epoch
        self.created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
        self.annotations = {
            "org.opencontainers.image.title": "sallyport",
            "org.opencontainers.image.description": "Decides how Kubernetes Services may be exposed: a webhook and its policies",
            "org.opencontainers.image.version": version,
            "org.opencontainers.image.revision": commit,
            "org.opencontainers.image.created": self.created,
            "org.opencontainers.image.source": SOURCE,
            "org.opencontainers.image.licenses": "Apache-2.0",
        }
        (directory / "blobs/sha256").mkdir(parents=True)

    def blob(self, media_type, content):
        digest = hashlib.sha256(content).hexdigest()
        (self.directory / "blobs/sha256" / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def document(self, media_type, value):
        return self.blob(media_type, encode(value))

    def layer(self, root):
        """Packs a directory. Returns its descriptor and the digest of what is inside."""
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path in sorted(root.rglob("*")):
                self.add(tar, root, path)
        content = plain.getvalue()
        diff_id = "sha256:" + hashlib.sha256(content).hexdigest()
        return self.blob(LAYER, gzip.compress(content, 9, mtime=0)), diff_id

    def add(self, tar, root, path):
        entry = tarfile.TarInfo(path.relative_to(root).as_posix())
        entry.mtime, entry.mode = self.epoch, 0o755
        if path.is_dir():
            entry.type = tarfile.DIRTYPE
            tar.addfile(entry)
            return
        if path.name != "sallyport":
            entry.mode = 0o644
        entry.size = path.stat().st_size
        with open(path, "rb") as content:
            tar.addfile(entry, content)

    def manifest(self, architecture, layers):
        """Writes the image of one architecture, and returns its descriptor for the index."""
        history = ["policies, presets and licences", "the program"]
        config = {
            "created": self.created,
            "architecture": architecture,
            "os": "linux",
            "config": {**settings(), "Labels": self.annotations},
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
            "history": [{"created": self.created, "created_by": f"make image: {text}"} for text in history],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.document(CONFIG, config),
            "layers": [descriptor for descriptor, _ in layers],
            "annotations": self.annotations,
        }
        platform = {"architecture": architecture, "os": "linux"}
        return {**self.document(MANIFEST, manifest), "platform": platform}

    def finish(self, manifests):
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": self.annotations}
        named = {**self.document(INDEX, index), "annotations": {"org.opencontainers.image.ref.name": self.version}}
        (self.directory / "index.json").write_bytes(encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}))
        (self.directory / "oci-layout").write_bytes(encode({"imageLayoutVersion": "1.0.0"}))
        return named["digest"]


def settings():
    """Returns the image's settings as the last stage of the Dockerfile has them."""
    text = DOCKERFILE.read_text().replace("\\\n", "")
    last = dict(re.findall(r"^(USER|WORKDIR|EXPOSE|ENTRYPOINT|CMD) (.*)$", text.split("\nFROM ")[-1], re.MULTILINE))
    return {
        "User": last["USER"],
        "ExposedPorts": {f"{port}/tcp": {} for port in last["EXPOSE"].split()},
        "Entrypoint": json.loads(last["ENTRYPOINT"]),
        "Cmd": json.loads(last["CMD"]),
        "WorkingDir": last["WORKDIR"],
    }


def encode(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def main(output, version, commit, shared, *roots):
    output = Path(output)
    new = output.with_name(output.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    layout = Layout(new, version, commit, int(os.environ["SOURCE_DATE_EPOCH"]))
    first = layout.layer(Path(shared))
    manifests = []
    for root in sorted(roots):
        architecture, directory = root.split("=", 1)
        manifests.append(layout.manifest(architecture, [first, layout.layer(Path(directory))]))
    digest = layout.finish(manifests)
    shutil.rmtree(output, ignore_errors=True)
    new.rename(output)
    print(digest)


if __name__ == "__main__":
    main(*sys.argv[1:])
