"""What a batched function's guest makes of the frames that it gets."""

from typing import Any

import pytest

from afield._guest.batches import Batch, BatchInbox
from afield._wire.functions import Batching
from afield._wire.guest import Began, Cancel, Results, Run, Stop
from afield._wire.messages import InputResult
from support.turns import FakeTurn


def run(token: int, size: int = 1, first: int = 0) -> Run:
    return Run(token=token, call_id=f"fc-a-0-{token}", kind="map", first=first, args=(b"x",) * size)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of the inbox."""
    return Clock()


@pytest.fixture
def sent() -> list[Any]:
    """The frames sent."""
    return []


@pytest.fixture
def inbox(clock: Clock, sent: list[Any]) -> BatchInbox:
    """Batches of three after one second, two at the same time, for ten seconds at most."""
    return BatchInbox(
        Batching(max_batch_size=3, wait_ms=1000), timeout=10.0, room=2, send=sent.append, clock=clock
    )


def names(batch: Batch | None) -> list[tuple[int, int]]:
    assert batch is not None
    return [(item.pack.run.token, item.number) for item in batch.items]


def begun(inbox: BatchInbox, ran: float = 0.0) -> tuple[Batch, FakeTurn]:
    batch = inbox.next()
    assert batch is not None
    turn = FakeTurn(ran=ran)
    batch.turn = turn
    return batch, turn


def test_inputs_of_all_packs_share_batches(inbox: BatchInbox) -> None:
    """In order of arrival; the frame that says so names each pack once."""
    inbox.accept(run(1, size=2, first=10))
    inbox.accept(run(2, size=3))

    batch = inbox.next()

    assert names(batch) == [(1, 10), (1, 11), (2, 0)]
    assert batch is not None
    assert batch.began() == Began(tokens=(1, 2))
    assert inbox.next() is None
    assert inbox.due() == 101.0


def test_no_more_batches_run_than_there_is_room_for(inbox: BatchInbox) -> None:
    """Nobody is to ask again before one has ended."""
    inbox.accept(run(1, size=9))
    first, second = inbox.next(), inbox.next()

    assert (first is None, second is None, inbox.next(), inbox.due()) == (False, False, None, None)

    assert first is not None
    inbox.over(first)
    assert names(inbox.next()) == [(1, 6), (1, 7), (1, 8)]


def test_nothing_is_begun_after_stop(inbox: BatchInbox, clock: Clock) -> None:
    """However long it waits."""
    inbox.accept(run(1, size=4))
    inbox.accept(Stop(grace_s=5.0))
    clock.now += 10.0

    assert (inbox.next(), inbox.due(), inbox.stop_by) == (None, None, 105.0)


def test_what_waits_and_is_cancelled_ends_at_once(inbox: BatchInbox, sent: list[Any]) -> None:
    """It is in no batch then, and its end is told once."""
    inbox.accept(run(1, size=2))
    inbox.accept(Cancel(token=1, indices=(0,)))
    inbox.accept(Cancel(token=1, indices=(0,)))
    inbox.accept(run(2, size=2))

    assert sent == [Results(token=1, results=(InputResult(index=0, status="cancelled"),))]
    assert names(inbox.next()) == [(1, 1), (2, 0), (2, 1)]


def test_a_batch_is_interrupted_when_nobody_wants_it(inbox: BatchInbox, sent: list[Any]) -> None:
    """Before that its cancelled inputs have their end, and the others go on."""
    inbox.accept(run(1, size=3))
    batch, turn = begun(inbox)

    inbox.accept(Cancel(token=1, indices=(0, 1)))
    before = (turn.interrupted, batch.wanted)
    inbox.accept(Cancel(token=1))

    assert (before, turn.interrupted) == ((None, True), "cancelled")
    ended = [result.index for frame in sent for result in frame.results]
    assert ended == [0, 1, 2]
    assert not any(item.pack.claim(item.number) for item in batch.items)


def test_a_cancel_reaches_no_other_pack(inbox: BatchInbox) -> None:
    """Indices are those of the pack."""
    inbox.accept(run(1))
    inbox.accept(run(2, size=2))
    batch, turn = begun(inbox)

    inbox.accept(Cancel(token=3))
    inbox.accept(Cancel(token=1))

    assert turn.interrupted is None
    assert [item.pack.is_open(item.number) for item in batch.items] == [False, True, True]


def test_a_batch_is_late_as_a_whole(inbox: BatchInbox, sent: list[Any]) -> None:
    """One of its packs is enough to say so; another batch is not meant."""
    inbox.accept(run(1, size=3))
    inbox.accept(run(2, size=3))
    (_, late), (_, other) = begun(inbox, ran=9.9), begun(inbox, ran=9.9)

    inbox.accept(Cancel(token=1, indices=(2,), why="timeout"))

    assert (late.interrupted, other.interrupted, sent) == ("timeout", None, [])


def test_a_young_batch_of_the_same_pack_is_not_the_late_one(inbox: BatchInbox) -> None:
    """That one ended while the worker's word was on its way."""
    inbox.accept(run(1, size=3))
    _, young = begun(inbox, ran=1.0)

    inbox.accept(Cancel(token=1, why="timeout"))

    assert young.interrupted is None


def test_a_preemption_interrupts_every_batch(inbox: BatchInbox) -> None:
    """And begins none."""
    inbox.accept(run(1, size=9))
    (_, first), (batch, second) = begun(inbox), begun(inbox)

    inbox.preempt(30.0)
    inbox.over(batch)

    assert (first.interrupted, second.interrupted, inbox.next()) == ("preempted", "preempted", None)
