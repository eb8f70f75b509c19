"""Diagrams are drawn from the transition tables."""

from enum import Enum
from pathlib import Path

import pytest

from scripts import diagrams

TABLE = {
    ("new", "start"): "busy",
    ("new", "stop"): "gone",
    ("busy", "fail"): "gone",
    ("busy", "stop"): "gone",
}


def test_a_table_becomes_a_diagram() -> None:
    """Beginnings, arrows and ends are drawn; events that lead the same way share an arrow."""
    assert diagrams.draw(TABLE, ("new",)).splitlines() == [
        "stateDiagram-v2",
        "    [*] --> new",
        "    new --> busy : start",
        "    new --> gone : stop",
        "    busy --> gone : fail, stop",
        "    gone --> [*]",
    ]


def test_names_are_made_fit_for_mermaid() -> None:
    """Enum members show their value; what mermaid cannot read becomes an underscore."""
    colour = Enum("colour", {"RED": "dark-red"})

    assert [diagrams.label(x) for x in (colour.RED, "a.b", int)] == ["dark_red", "a_b", "int"]


@pytest.mark.parametrize("value", [{}, {"a": {"b": "c"}}, ("a", "b"), {("a",): "b"}])
def test_other_values_are_no_tables(value: object) -> None:
    """Only `{(state, event): state}` is taken for a table."""
    assert not diagrams.is_table(value)


def test_only_what_is_between_the_markers_changes() -> None:
    """The page around the diagrams stays, and drawing twice changes nothing."""
    page = f"head\n{diagrams.BEGIN}\nold\n{diagrams.END}\ntail\n"

    once = diagrams.replace(page, "new")

    assert once == f"head\n{diagrams.BEGIN}\n\nnew\n\n{diagrams.END}\ntail\n"
    assert diagrams.replace(once, "new") == once


def test_a_page_without_markers_is_refused() -> None:
    """There is no place to draw into, and the error says what is missing."""
    with pytest.raises(SystemExit, match="lacks the lines"):
        diagrams.replace("page", "new")


def test_the_tables_of_the_project_are_found() -> None:
    """The worker's and the registry's lifecycles are among them, each with a state to begin in."""
    found = diagrams.find_diagrams(diagrams.ROOT)

    assert {"Container", "Pack"} <= {each.title for each in found}
    assert all(each.initial and Path(each.source).name == "states.py" for each in found)
