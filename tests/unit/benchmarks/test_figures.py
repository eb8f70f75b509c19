"""Figures: percentiles, verdicts, what is stored."""

import json
from pathlib import Path

import pytest

from benchmarks.figures import Figure, percentile, show, store


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 5), (90, 9), (99, 10), (100, 10)])
def test_percentiles_are_nearest_ranks(percent: float, expected: int) -> None:
    """The value that so many percent of the values do not exceed."""
    assert percentile([3, 1, 2, 10, 9, 8, 7, 6, 5, 4], percent) == expected


def test_a_percentile_of_nothing_is_an_error() -> None:
    """A benchmark that measured nothing must not print a figure."""
    with pytest.raises(ValueError, match="at least one value"):
        percentile([], 50)


@pytest.mark.parametrize(
    ("value", "better", "verdict"),
    [
        (0.5, "lower", "aim"),
        (1.5, "lower", "least"),
        (3, "lower", "MISSED"),
        (3, "higher", "aim"),
        (0.1, "higher", "MISSED"),
    ],
)
def test_verdicts(value: float, better: str, verdict: str) -> None:
    """A figure reaches its aim, or what it must reach, or neither; more is better for some."""
    least, aim = (2.0, 1.0) if better == "lower" else (1.0, 2.0)

    figure = Figure(name="x", value=value, unit="s", least=least, aim=aim, better=better)  # type: ignore[arg-type]

    assert figure.verdict == verdict


def test_figures_are_printed_and_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table names the figure; the JSON holds its value, its verdict and the machine."""
    figures = [Figure(name="warm call", value=0.7, unit="ms", least=2, aim=0.8)]

    show(figures)
    store(figures, tmp_path / "deep/bench.json", took=1.0)

    stored = json.loads((tmp_path / "deep/bench.json").read_text())
    assert "warm call" in capsys.readouterr().out
    assert stored["figures"][0]["verdict"] == "aim"
    assert stored["machine"]["cores"] >= 1
