"""What can be chosen of the peers and the works, and whether programs and works fit together."""

import inspect
from pathlib import Path

import pytest

import benchmarks.peers.programs
from benchmarks.peers.programs.measures import MEASURES
from benchmarks.peers.systems import BASE, SYSTEMS, chosen_systems
from benchmarks.peers.works import WORKS, Work, chosen_works


def test_all_by_default() -> None:
    """Without names everything is measured, afield first."""
    assert chosen_works([]) == WORKS
    assert chosen_systems([])[0].name == BASE


def test_the_chosen_ones_keep_their_order() -> None:
    """The order of the table is not that of the command line."""
    assert [work.name for work in chosen_works(["map", "warm"])] == ["warm", "map"]
    assert [system.name for system in chosen_systems(["bare", "afield"])] == ["afield", "bare"]


def test_unknown_names_are_told_with_the_known_ones() -> None:
    """A typing error does not measure the wrong thing for an hour."""
    with pytest.raises(ValueError, match="there is no work wram; there are nothing, warm"):
        chosen_works(["wram"])
    with pytest.raises(ValueError, match="there is no peer rya; there are afield"):
        chosen_systems(["rya"])


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_a_program_takes_the_sizes_of_every_work(work: Work) -> None:
    """Each work has a measure, and its sizes, full and quick, are what that takes; idling is watched from outside."""
    takes = set(inspect.signature(MEASURES[work.name]).parameters) - {"peer"}

    assert set(work.full) == set(work.quick)
    assert takes == (set() if work.name == "idle" else set(work.full))


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_every_system_has_a_program(system: object) -> None:
    """The module that a system names is there."""
    folder = Path(benchmarks.peers.programs.__path__[0])

    assert (folder / f"{system.module}.py").is_file()  # type: ignore[attr-defined]
