"""Growth: ratios and what is stored."""

import json
from pathlib import Path

import pytest

from benchmarks.figures import open_console
from benchmarks.scaling import AXES, TITLES, Point, store, table

SLOW_DAY = Point(size=100, call_ms=2.0, rate=10_000.0, platform_mb=90.0, bare_ms=1.0)
FAST_DAY = Point(size=1, call_ms=1.0, rate=20_000.0, platform_mb=80.0, bare_ms=0.5)


def test_points_are_compared_beside_the_bare_path(capsys: pytest.CaptureFixture[str]) -> None:
    """All that took twice as long on a machine that is half as fast has not grown."""
    open_console().print(table("queued", [FAST_DAY, SLOW_DAY]))

    lines = capsys.readouterr().out.splitlines()
    last = next(line for line in lines if line.strip().startswith("100"))
    assert last.split() == ["100", "2.00", "ms", "1.00", "10,000/s", "1.00", "90", "MB", "1.00", "ms"]


def test_every_axis_is_explained() -> None:
    """And its sizes grow."""
    assert TITLES.keys() == AXES.keys()
    assert all(list(sizes) == sorted(sizes) for sizes in AXES.values())


def test_what_was_measured_is_stored(tmp_path: Path) -> None:
    """After each axis, so that an end in the middle loses little."""
    store({"queued": [FAST_DAY]}, tmp_path / "deep" / "scaling.json")

    document = json.loads((tmp_path / "deep" / "scaling.json").read_text())
    assert document["axes"]["queued"] == [FAST_DAY._asdict()]
