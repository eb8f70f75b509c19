"""What is found wrong in the evidence of a round."""

import pytest

from chaos.checks import Findings, examine
from chaos.evidence import Applied, Evidence, Execution, Stored, Yielded, parse_executions, parse_yielded
from chaos.plan import Strike, Target
from chaos.recipes import Recipe, expected

RECIPES = [Recipe(0, "quick", 0.0, 0), Recipe(1, "flaky", 0.0, 2), Recipe(2, "hopeless", 0.0, -1)]
RUNS = [(0, 1.0), (1, 1.1), (1, 2.0), (1, 3.0), (2, 1.2), (2, 2.1), (2, 3.1), (2, 4.1)]


def round_of(
    *,
    runs: list[tuple[int, float]] | None = None,
    more: tuple[Execution, ...] = (),
    yielded: list[Yielded] | None = None,
    stored: list[Stored] | None = None,
    applied: tuple[Applied, ...] = (),
) -> Findings:
    """Examine a round in which all went well, save for what is said."""
    well = [Yielded(r.number, expected(r), 5.0 + r.number) for r in RECIPES]
    executions = [Execution(index, 7, "wk-1", at) for index, at in runs or RUNS] + list(more)
    return examine(
        Evidence(
            RECIPES,
            sorted(executions, key=lambda each: each.at),
            well if yielded is None else yielded,
            [Stored(r.number, "", 5.0) for r in RECIPES] if stored is None else stored,
            list(applied),
        )
    )


def fault(target: Target, at: float, pid: int = 0, until: float = 0.0) -> Applied:
    """A kill, or a pause `until`."""
    strike = Strike(at, target, "pause" if until else "kill", until - at if until else 0.0, 0.0)
    return Applied(strike, frozenset({pid}), at, until or at)


def test_a_round_without_faults() -> None:
    """Nothing is wrong, and no stall is blamed on a fault."""
    assert round_of() == Findings((), (), (), (), 0.0, 0)


def test_lost_duplicated_wrong() -> None:
    """Each is told apart."""
    values = [expected(recipe) for recipe in RECIPES]
    found = round_of(yielded=[Yielded(0, values[0], 5.0), Yielded(1, "17", 5.0), Yielded(1, values[1], 5.0)])
    assert found.lost == (2,)
    assert found.duplicated == (1,)
    assert found.wrong == (f"input 1: expected {values[1]}, got 17", "result 2 came as number 1")
    assert not found.clean


@pytest.mark.parametrize(
    ("target", "explained"), [("nats-server", True), ("meta-leader", True), ("worker", False)]
)
def test_what_runs_while_a_server_is_away_may_be_delivered_again(target: Target, explained: bool) -> None:
    """It knows of no delivery shortly before; the loss of anything else is over at once."""
    found = round_of(
        runs=[*RUNS, (0, 1.5)],
        stored=[Stored(0, "", 1.2), Stored(1, "", 5.0), Stored(2, "", 5.0)],
        applied=(fault(target, -4.0),),
    )
    assert found.repeats == 1
    assert found.excess == () if explained else "0 of them explained" in found.excess[0]


def test_two_results_in_the_stream_are_a_duplicate() -> None:
    """Also when the caller saw one of them only."""
    assert round_of(stored=[Stored(0, "a", 1.0), Stored(0, "b", 2.0)]).duplicated == (0,)


def test_a_result_that_comes_after_the_end_is_none() -> None:
    """The caller has them all and has had them removed: nobody will ever see it."""
    late = [Stored(r.number, "", 5.0) for r in RECIPES] + [Stored(0, "late", 7.5)]
    assert round_of(stored=late).clean
    assert not round_of(stored=late, yielded=[]).clean


def test_results_out_of_order_are_wrong() -> None:
    """A map yields in the order of its inputs."""
    swapped = [Yielded(i, expected(RECIPES[i]), 5.0) for i in (1, 0, 2)]
    assert len(round_of(yielded=swapped).wrong) == 2


def test_an_execution_too_many_or_too_few() -> None:
    """Without a fault nothing explains it."""
    assert len(round_of(more=(Execution(0, 7, "wk-1", 2.0),)).excess) == 1
    assert len(round_of(runs=[run for run in RUNS if run != (2, 4.1)]).excess) == 1


@pytest.mark.parametrize(
    ("what", "explained"),
    [
        (fault("container", 1.5, pid=7), True),
        (fault("container", 1.5, pid=8), False),  # another container's
        (fault("worker", 1.5, pid=9), True),
        (fault("worker", 2.5, pid=9), False),  # after it
        (fault("nats-server", 0.9), True),  # it was on its way when the server was killed
        (fault("worker", 0.2, until=1.5), True),
    ],
)
def test_a_fault_explains_a_second_execution(what: Applied, explained: bool) -> None:
    """If it lies between the two, and hits the container that ran the first."""
    found = round_of(more=(Execution(0, 7, "wk-1", 2.0),), applied=(what,))
    assert found.clean == explained
    assert found.repeats == 1


def test_no_fault_explains_a_second_execution_after_the_result() -> None:
    """What was stored long before the fault must not run again."""
    late = Execution(0, 7, "wk-1", 30.0)
    assert not round_of(more=(late,), applied=(fault("worker", 29.0),)).clean
    assert round_of(more=(late,), applied=(fault("worker", 7.0),)).clean


def test_the_stall_is_the_longest_gap_around_a_fault() -> None:
    """Counted from the fault on; gaps elsewhere are the map's own."""
    times = (1.0, 9.0, 12.0)
    values = [Yielded(r.number, expected(r), at) for r, at in zip(RECIPES, times, strict=True)]

    def stall(*applied: Applied) -> float:
        return round_of(yielded=values, stored=[], applied=applied).stall

    assert stall() == 0.0
    assert stall(fault("worker", 2.0)) == 7.0
    assert stall(fault("worker", 10.0)) == 2.0
    assert stall(fault("worker", 0.5, until=8.0)) == 8.0
    assert stall(fault("worker", 13.0)) == 0.0


def test_records_are_read_back() -> None:
    """As the programs write them."""
    assert parse_executions(["3 12 wk-1 5.25", "1 12 wk-1 4.5"]) == [
        Execution(1, 12, "wk-1", 4.5),
        Execution(3, 12, "wk-1", 5.25),
    ]
    assert parse_yielded(["0\t1.5\t!ValueError: a b\n"]) == [Yielded(0, "!ValueError: a b", 1.5)]
    with pytest.raises(ValueError, match="not enough values"):
        parse_executions(["3 12"])
