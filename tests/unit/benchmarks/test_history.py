"""What has moved since the last run."""

from pathlib import Path

import pytest

from benchmarks import history
from benchmarks.figures import Figure
from benchmarks.history import Past

AT = "2026-11-21T10:00:00Z"


def figure(value: float, unit: str = "ms", name: str = "warm call") -> Figure:
    """A figure; rates are better when they are higher."""
    return Figure(name=name, value=value, unit=unit, better="higher" if unit.endswith("/s") else "lower")


@pytest.mark.parametrize(
    ("before", "after", "bare", "said"),
    [
        (figure(1.0), figure(1.1), 0.5, ""),
        (figure(1.0), figure(2.0), 1.0, ""),  # all is half as fast today
        (figure(1.0), figure(1.2), 0.5, "WORSE"),
        (figure(1.0), figure(0.8), 0.5, "better"),
        (figure(1.0), figure(1.0), 1.0, "perhaps better"),
        (figure(1.0), figure(0.8), 0.3, "perhaps worse"),
        (figure(1.0), figure(1.1), 0.4, "perhaps worse"),
        (figure(1000, "/s"), figure(500, "/s"), 1.0, ""),
        (figure(1000, "/s"), figure(500, "/s"), 0.5, "WORSE"),
        (figure(1000, "/s"), figure(2000, "/s"), 0.5, "better"),
        (figure(1000, "/s"), figure(1000, "/s"), 0.3, "perhaps worse"),
        (figure(100, "MB"), figure(110, "MB"), 5.0, ""),
        (figure(100, "MB"), figure(120, "MB"), 5.0, "WORSE"),
        (figure(100, "MB"), figure(100, "ms"), 5.0, ""),  # another figure by now
        (figure(0, "MB"), figure(1, "MB"), 0.5, ""),
    ],
)
def test_figures_are_compared_beside_the_bare_path(
    before: Figure, after: Figure, bare: float, said: str
) -> None:
    """Times and rates; sizes by themselves."""
    lines = history.moved({before.name: Past(before.value, before.unit, 0.5, AT)}, [after], bare)

    assert [line.partition(":")[0] for line in lines] == ([said] if said else [])


def test_what_was_not_measured_is_kept(tmp_path: Path) -> None:
    """A run of one part does not forget the others."""
    path = tmp_path / "deep" / "history.json"
    history.write(path, {}, [figure(1.0, name="a"), figure(2.0, name="b")], 0.5, AT)
    history.write(path, history.read(path), [figure(3.0, name="b")], 0.6, "later")

    assert history.read(path) == {"a": Past(1.0, "ms", 0.5, AT), "b": Past(3.0, "ms", 0.6, "later")}


def test_figures_of_another_machine_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is there anything to compare the first run with."""
    path = tmp_path / "history.json"
    assert history.read(path) == {}
    history.write(path, {}, [figure(1.0)], 0.5, AT)
    monkeypatch.setattr(history, "this_machine", lambda: {"cores": 64})
    assert history.read(path) == {}
