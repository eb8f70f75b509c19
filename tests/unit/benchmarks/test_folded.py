"""Folded stacks: read, and ranked by function."""

import pytest

from benchmarks.folded import LOOP, WAITS, Share, parse, rank


def test_functions_are_ranked_by_what_they_run_themselves() -> None:
    """What a function calls counts for it, too, in a figure of its own; recursion counts once."""
    stacks = parse(["main (a.py);work (a.py);work (a.py) 6", "main (a.py);rest (b.py) 3", "main (a.py) 1"])

    assert rank(stacks) == [
        Share("work (a.py)", 0.6, 0.6),
        Share("rest (b.py)", 0.3, 0.3),
        Share("main (a.py)", 0.1, 1.0),
    ]


def test_names_may_have_spaces_and_lines_may_come_twice() -> None:
    """The count is what stands behind the last space."""
    stacks = parse(
        [
            "<module> (my file.py);decode (<decoder of Run>) 2",
            "",
            "<module> (my file.py);decode (<decoder of Run>) 3",
        ]
    )

    assert stacks == {("<module> (my file.py)", "decode (<decoder of Run>)"): 5}


def test_samples_without_a_stack_are_left_out() -> None:
    """The stack had changed while it was read."""
    assert rank(parse([" 7", "main (a.py) 1"])) == [Share("main (a.py)", 1.0, 1.0)]


@pytest.mark.parametrize("line", ["main (a.py)", "main (a.py) many", "main (a.py) -1"])
def test_what_is_no_stack_is_refused(line: str) -> None:
    """A sampler that writes something else must not look like a process that does nothing."""
    with pytest.raises(ValueError, match="expected `function;function COUNT`"):
        parse([line])


@pytest.mark.parametrize(
    ("leaf", "name"),
    [
        ("Runner.run (asyncio/runners.py)", LOOP),
        ("run_until_complete (asyncio/base_events.py)", LOOP),
        ("Condition.wait (threading.py)", WAITS),
        ("EpollSelector.select (selectors.py)", WAITS),
        ("Waiter.wait (afield/_single.py)", WAITS),
        ("MapRun.run (afield/_map_run.py)", "MapRun.run (afield/_map_run.py)"),
    ],
)
def test_loops_and_waits_are_called_so(leaf: str, name: str) -> None:
    """Where they are what runs, that is; a loop that calls something keeps its name."""
    ranked = rank(parse([f"main (a.py);{leaf} 3", f"main (a.py);{leaf};work (a.py) 1"]))

    assert ranked[0].function == name
    assert leaf in [share.function for share in ranked]


def test_nothing_has_no_rank() -> None:
    """A process that never ran while it was looked at."""
    assert rank(parse([])) == []
