"""The stored run of the peers, and the page that shows it."""

from pathlib import Path

import pytest

from benchmarks.peers import document
from benchmarks.peers.table import Table
from benchmarks.peers.works import WORKS


def stored(tmp_path: Path) -> Path:
    """Store a run of two rounds, and return where."""
    table = Table.of(WORKS[:1], {"afield": "afield"}, "afield")
    table.add(WORKS[0], "afield", {"figures": {"s": 0.7}})
    about = {
        "command": "make bench-peers",
        "measured_at": document.now(),
        "machine": document.machine(),
        "versions": {"afield": "0.1.0"},
    }
    path = tmp_path / "deep/peers.json"
    document.store(path, table, about, rounds=2, took_s=3.0)
    return path


def test_a_run_says_what_it_was_measured_with(tmp_path: Path) -> None:
    """The section of a page names machine, versions, command and rounds, and has the figures."""
    section = document.section(document.load(stored(tmp_path)))

    for part in ("`make bench-peers`", " cores", "afield 0.1.0", "median of 2 rounds", "**0.70**"):
        assert part in section


def test_a_run_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    """Showing what is stored needs a run before."""
    with pytest.raises(FileNotFoundError, match="run `make bench-peers` first"):
        document.load(tmp_path / "peers.json")


def test_a_page_keeps_what_stands_around_the_table(tmp_path: Path) -> None:
    """Only the part between the marks is replaced, as often as one likes."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{document.BEGIN}\nold\n{document.END}\nafter\n")

    for text in ("first", "second"):
        document.put_into(page, text)

    assert page.read_text() == f"before\n{document.BEGIN}\n\nsecond\n\n{document.END}\nafter\n"


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    """A table is not put just anywhere."""
    page = tmp_path / "page.md"
    page.write_text("nothing here\n")

    with pytest.raises(ValueError, match="expected the lines"):
        document.put_into(page, "a table")
    assert page.read_text() == "nothing here\n"
