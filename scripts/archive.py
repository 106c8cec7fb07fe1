#!/usr/bin/env python3
"""Packs a directory as .tar.gz or .zip: archive.py DIRECTORY OUTPUT

Equal files give equal bytes: sorted names, one time (SOURCE_DATE_EPOCH), no owners. Only a program can be executed.
"""

import gzip
import os
import sys
import tarfile
import time
import zipfile
from pathlib import Path


def main(directory, output):
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    pack = pack_zip if output.suffix == ".zip" else pack_tar
    new = output.with_suffix(".new")
    pack(directory, paths, new, epoch)
    new.replace(output)


def mode(path):
    return 0o755 if path.stem == "sallyport" and path.suffix in ("", ".exe") else 0o644


def pack_tar(directory, paths, output, epoch):
    with open(output, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path in paths:
                entry = tarfile.TarInfo(str(path.relative_to(directory.parent).as_posix()))
                entry.size, entry.mode, entry.mtime = path.stat().st_size, mode(path), epoch
                with open(path, "rb") as content:
                    tar.addfile(entry, content)


def pack_zip(directory, paths, output, epoch):
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in paths:
            name = path.relative_to(directory.parent).as_posix()
            entry = zipfile.ZipInfo(name, time.gmtime(epoch)[:6])
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, mode(path) << 16
            # Unix: whoever packs, the same bytes come out.
            entry.create_system = 3
            archive.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
