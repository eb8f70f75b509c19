"""The table of the peers: medians, spreads, ratios, gaps, and what it looks like."""

import json

import pytest
from rich.console import Console

from benchmarks.peers.table import Cell, Table, markdown, number, show
from benchmarks.peers.works import Figure, Work

CALLS = Work(
    name="calls",
    figures=(
        Figure(key="ms", title="a call", unit="ms"),
        Figure(key="rate", title="calls", unit="/s", better="higher"),
    ),
)


def filled() -> Table:
    """Return a table of three rounds: `slow` is twice as bad, `odd` has no such thing."""
    table = Table.of([CALLS], {"afield": "afield", "slow": "Slow", "odd": "Odd"}, "afield")
    for ms, rate in ((1.0, 90.0), (3.0, 110.0), (2.0, 100.0)):
        table.add(CALLS, "afield", {"figures": {"ms": ms, "rate": rate}})
        table.add(CALLS, "slow", {"figures": {"ms": 2 * ms, "rate": rate / 2}})
        table.add(CALLS, "odd", {"na": "it makes no calls"})
    return table


def test_a_cell_has_the_median_and_the_extremes_of_its_rounds() -> None:
    """One outlier moves the extremes and not the median."""
    cell = Cell(values=[2.0, 1.0, 90.0])

    assert (cell.median, cell.spread) == (2.0, "1.00-90.0")


@pytest.mark.parametrize("row", [0, 1])
def test_a_ratio_says_how_many_times_better_the_base_is(row: int) -> None:
    """Twice the time and half the rate are both a ratio of two."""
    assert filled().rows[row].ratio("slow", "afield") == 2.0


def test_there_is_no_ratio_without_both_values() -> None:
    """A peer that has no such thing is compared with nothing."""
    assert filled().rows[0].ratio("odd", "afield") is None


def test_a_failed_round_leaves_the_others() -> None:
    """The median is that of the rounds that went well, and the reason says how many did not."""
    table = filled()

    table.add(CALLS, "slow", {"failed": "no answer\nwithin 120 s"})

    assert str(table.rows[0].cells["slow"]) == "4.00"
    assert "calls, Slow: failed in 1 of 4 rounds: no answer within 120 s" in table.reasons()


def test_a_reason_stands_once_for_a_work() -> None:
    """Both figures of a work have the same reason, in every round."""
    assert filled().reasons() == ["calls, Odd: n/a: it makes no calls"]


def test_an_answer_without_a_figure_is_refused() -> None:
    """A program and the list of works must agree about what there is."""
    table = filled()

    with pytest.raises(ValueError, match="expected the figure 'rate' of calls"):
        table.add(CALLS, "slow", {"figures": {"ms": 1.0}})


def test_what_is_stored_is_read_back() -> None:
    """The JSON holds medians, extremes and ratios for readers, and the table comes back from it."""
    table = filled()

    stored = json.loads(json.dumps(table.store()))

    assert Table.load(stored) == table
    slow = stored["rows"][0]["cells"]["slow"]
    assert (slow["median"], slow["min"], slow["max"], slow["ratio"]) == (4.0, 2.0, 6.0, 2.0)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.5, "0.50"), (12.34, "12.3"), (123.4, "123"), (56_470.0, "56,470")]
)
def test_numbers_have_three_digits_that_count(value: float, expected: str) -> None:
    """Small values show what sets them apart, large ones no noise."""
    assert number(value) == expected


def test_the_table_in_markdown() -> None:
    """Each cell has the median, the ratio to afield and the spread; the reasons stand below."""
    lines = markdown(filled()).splitlines()

    assert lines[0] == "| work | unit | afield | Slow | Odd |"
    assert lines[2] == "| a call | ms | **2.00**<br>1.00-3.00 | **4.00** x2.00<br>2.00-6.00 | **n/a** |"
    assert lines[-1] == "- calls, Odd: n/a: it makes no calls"


def test_the_table_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """The printed table names the peers and has the medians and ratios."""
    Console(width=120).print(show(filled(), "compared"))

    printed = capsys.readouterr().out
    assert "Slow" in printed
    assert "4.00 x2.00" in printed
