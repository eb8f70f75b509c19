"""Folded stacks: read, and ranked by function."""

import pytest

from benchmarks.folded import LOOP, WAITS, Share, aside, parse, rank


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
        ("EpollSelector.select (selectors.py)", LOOP),
        ("Condition.wait (threading.py)", WAITS),
        ("Waiter.wait (afield/_single.py)", WAITS),
        ("Link._read (afield/_guest/link.py)", WAITS),
    ],
)
def test_loops_and_waits_stand_aside(leaf: str, name: str) -> None:
    """Where they are what runs, that is; what they call counts as ever."""
    stacks = parse([f"main (a.py);{leaf} 3", f"main (a.py);{leaf};work (a.py) 1"])

    assert aside(stacks) == {**dict.fromkeys((LOOP, WAITS), 0.0), name: 0.75}
    assert rank(stacks)[0] == Share("work (a.py)", 1.0, 1.0)


def test_a_method_of_that_name_is_no_loop() -> None:
    """It is known by its file."""
    stacks = parse(["main (a.py);MapRun.run (afield/_map_run.py) 3"])

    assert aside(stacks) == {LOOP: 0.0, WAITS: 0.0}
    assert rank(stacks)[0].function == "MapRun.run (afield/_map_run.py)"


def test_nothing_has_no_rank() -> None:
    """A process that never ran while it was looked at."""
    assert rank(parse([])) == []
    assert aside(parse([])) == {LOOP: 0.0, WAITS: 0.0}
