"""Arguments and results of any size."""

import os
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest

from afield._launch import shared_folder
from support.launching import wait_for


@pytest.mark.parametrize("size", [0, 1, 200_000, 256 * 1024, 300_000, 5_000_000])
def test_bytes_there_and_back(fleet: ModuleType, size: int) -> None:
    """Bytes of any size come back reversed, whichever way they travelled."""
    data = os.urandom(size)

    assert fleet.swap_case_bytes.remote(data) == data[::-1]


def test_map_of_big_inputs(fleet: ModuleType) -> None:
    """Big inputs of a map travel as blobs too."""
    assert list(fleet.size_of.map(bytes(n) for n in (300_000, 10, 2_000_000))) == [300_000, 10, 2_000_000]


def test_blobs_are_removed(fleet: ModuleType, platform_home: Path) -> None:
    """When a call is over, nothing of its payloads is left on disk."""
    record = shared_folder().record()
    assert record is not None
    blobs = Path(record["blob_dir"])
    assert blobs.is_relative_to(platform_home)

    fleet.swap_case_bytes.remote(bytes(3_000_000))

    wait_for(lambda: not big_files(blobs), "the blobs to be removed")


def big_files(folder: Path) -> list[Path]:
    """Those of more than a megabyte, wherever below it."""
    found = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # another call's
            if path.is_file() and path.stat().st_size > 1_000_000:
                found.append(path)
    return found
