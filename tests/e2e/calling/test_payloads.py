"""Arguments and results of any size."""

import os
from pathlib import Path
from types import ModuleType

import pytest


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
    fleet.swap_case_bytes.remote(bytes(3_000_000))
    left = [
        p
        for p in platform_home.rglob("*")
        if p.is_file() and "blobs" in p.parts and p.stat().st_size > 1_000_000
    ]

    assert left == []
