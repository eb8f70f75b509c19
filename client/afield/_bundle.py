"""Source files in one piece: a gzipped tar with the same bytes for the same files, and out of it again."""

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from afield.exception import DataLossError, InvalidError

MOST_FILES: Final = 2_000
MOST_BYTES: Final = 64 * 2**20
"""Limits of one bundle, before compression."""


def pack_files(files: Mapping[str, Path]) -> tuple[str, bytes]:
    """Return the SHA-256 (hex) and the bytes of a gzipped tar of `files` (path inside to file here).

    Only contents, paths and the executable bit count, not times or owners. Raises InvalidError for a file that cannot
    be read.
    """
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=6, mtime=0) as stream,
        tarfile.open(
            fileobj=stream, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
        ) as tar,
    ):
        for name in sorted(files):
            _add(tar, name, files[name])
    data = packed.getvalue()
    return hashlib.sha256(data).hexdigest(), data


def _add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    try:
        contents = path.read_bytes()
        executable = os.access(path, os.X_OK)
    except OSError as error:
        raise InvalidError(f"cannot ship {str(path)!r}: {error.strerror or error}") from error
    entry = tarfile.TarInfo(name)
    entry.size = len(contents)
    entry.mode = 0o755 if executable else 0o644
    tar.addfile(entry, io.BytesIO(contents))


def unpack(data: bytes, folder: str | os.PathLike[str]) -> None:
    """Write the files of a bundle below `folder`, which is made if need be. No file is overwritten.

    Raises DataLossError for bytes that are no bundle: damaged, over the limits, or with entries that are not plain
    files below `folder`. FileExistsError if one of the files is there already.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(
            fileobj=io.BytesIO(data), mode="r:gz", encoding="utf-8", errors="surrogateescape"
        ) as tar:
            _extract(tar, target)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataLossError(
            f"expected a source bundle, got {len(data)} bytes that are none: {error}"
        ) from error


def _extract(tar: tarfile.TarFile, target: Path) -> None:
    size = 0
    for number, entry in enumerate(tar):
        size += entry.size
        if number >= MOST_FILES or size > MOST_BYTES:
            raise DataLossError(
                f"expected at most {MOST_FILES} files and {MOST_BYTES} bytes in a source bundle"
            )
        path = PurePosixPath(entry.name)
        if not entry.isreg() or path.is_absolute() or ".." in path.parts or not path.parts:
            raise DataLossError(
                f"expected plain files with relative paths in a source bundle, got {entry.name!r}"
            )
        contents = tar.extractfile(entry)
        assert contents is not None  # as it is a regular file
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, entry.mode & 0o755)
        with open(descriptor, "wb") as out:
            out.write(contents.read())
