"""How works are timed: what a peer must return, and what one cannot do."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from benchmarks.peers.programs import measures
from benchmarks.peers.programs.peer import Fly, NotApplicableError, Peer, cut, joined


class Here(Peer):
    """A peer that calls its functions right here."""

    def __init__(self) -> None:
        self.colds = 0

    def call(self, value: int) -> int:
        return value

    def map(self, values: Sequence[int]) -> list[int]:
        return list(values)

    def naps(self, count: int, seconds: float) -> list[float]:
        return [seconds] * count

    @contextmanager
    def flights(self) -> Iterator[Fly]:
        yield self.map

    def nested(self, count: int) -> int:
        return sum(range(count))

    def echo(self, data: bytes) -> bytes:
        return bytes(data)

    def before_cold(self) -> None:
        self.colds += 1

    def cold(self, number: int) -> int:
        return number


class Lossy(Here):
    """A peer that loses the last result, and a byte."""

    def map(self, values: Sequence[int]) -> list[int]:
        return list(values)[:-1]

    def echo(self, data: bytes) -> bytes:
        return data[1:]


def test_every_work_of_a_peer_that_can_do_it_gives_its_figure() -> None:
    """Times and rates are positive, whatever they are."""
    peer = Here()

    figures = [
        measures.warm(peer, calls=20),
        measures.map_(peer, inputs=20),
        measures.flights(peer, calls=20, times=2),
        measures.nested(peer, calls=20, times=2),
        measures.large(peer, megabytes=1, times=1),
        measures.naps(peer, inputs=20, seconds=0.01, slots=2),
    ]

    assert [set(each) for each in figures] == [
        {"p50", "p99"},
        {"rate"},
        {"rate"},
        {"ms"},
        {"ms"},
        {"efficiency"},
    ]
    assert all(value > 0 for each in figures for value in each.values())


def test_each_cold_call_is_prepared_and_the_first_does_not_count() -> None:
    """One more than asked for are made."""
    peer = Here()

    measures.cold(peer, times=3)

    assert peer.colds == 4


def test_lost_results_are_no_figure() -> None:
    """A fast map that gives other results than its inputs has failed."""
    with pytest.raises(AssertionError, match="expected"):
        measures.map_(Lossy(), inputs=20)


def test_other_bytes_are_no_figure() -> None:
    """What comes back must be what was sent."""
    with pytest.raises(AssertionError, match="other bytes came back"):
        measures.large(Lossy(), megabytes=1, times=1)


def test_what_a_peer_cannot_do_has_a_reason() -> None:
    """A peer that does not say otherwise has no batches."""
    with pytest.raises(NotApplicableError, match="no calls with several inputs"):
        measures.batches(Here(), inputs=20, size=5)


def test_batches_join_to_what_they_were_cut_from() -> None:
    """Nothing is lost at the end of the last, smaller one."""
    assert [len(part) for part in cut(range(10), 4)] == [4, 4, 2]
    assert joined(cut(range(10), 4)) == list(range(10))
