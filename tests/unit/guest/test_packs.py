"""What a guest makes of the frames that it gets."""

from typing import Any

import pytest

from afield._guest.outcomes import Interruption
from afield._guest.packs import Inbox, Pack
from afield._guest.reports import Reports
from afield._guest.turns import Turn
from afield._wire.guest import Cancel, Credit, Recall, Recalled, Results, Run, Stop
from afield._wire.messages import InputResult
from support.turns import FakeTurn


def run(token: int, size: int = 1, first: int = 0, credit: int = 0) -> Run:
    return Run(token=token, call_id="fc-a-0-1", kind="map", first=first, args=(b"",) * size, credit=credit)


@pytest.fixture
def answers() -> list[Any]:
    """What the inbox tells the worker."""
    return []


@pytest.fixture
def inbox(answers: list[Any]) -> Inbox:
    """An inbox whose running pack has three inputs, 10 to 12, with another pack behind it; they may take 10 s."""
    inbox = Inbox(timeout=10.0, send=answers.append, clock=lambda: 100.0)
    inbox.accept(run(1, size=3, first=10))
    inbox.accept(run(2))
    inbox.next()
    return inbox


def running(inbox: Inbox) -> Pack:
    (pack,) = inbox.running.values()
    return pack


def begin(inbox: Inbox, ran: float = 0.0) -> FakeTurn:
    """Begin the next input of the running pack, `ran` seconds ago."""
    pack = running(inbox)
    turn = pack.turn = FakeTurn(pack.index, ran)
    return turn


def test_packs_run_in_order_of_arrival(inbox: Inbox) -> None:
    """As there is room; and then there is none."""
    assert inbox.next() is None
    inbox.over(running(inbox))

    second = inbox.next()

    assert second is not None
    assert second.run.token == 2
    inbox.over(second)
    assert inbox.next() is None


def test_as_many_packs_run_as_there_is_room_for() -> None:
    """And not one more."""
    inbox = Inbox(timeout=10.0, send=print, room=3)
    for token in range(5):
        inbox.accept(run(token))

    while inbox.next():
        pass

    assert list(inbox.running) == [0, 1, 2]
    inbox.over(inbox.running[1])
    assert [pack and pack.run.token for pack in (inbox.next(), inbox.next())] == [3, None]


def test_nothing_is_begun_after_stop(inbox: Inbox) -> None:
    """What waits is left; the worker gives it to others. The first Stop says by when."""
    inbox.accept(Stop(grace_s=7.0))
    inbox.accept(Stop(grace_s=70.0))
    inbox.over(running(inbox))

    assert inbox.next() is None
    assert inbox.stop_by == 107.0


@pytest.mark.parametrize(
    ("indices", "expected"), [((), [True, True, True]), ((11,), [False, True, False]), ((99,), [False] * 3)]
)
def test_a_cancel_names_inputs_or_means_all(
    inbox: Inbox, indices: tuple[int, ...], expected: list[bool]
) -> None:
    """Indices are those of the call."""
    inbox.accept(Cancel(token=1, indices=indices))

    seen = []
    while not running(inbox).over:
        seen.append(running(inbox).cancelled)
        running(inbox).done += 1

    assert seen == expected


def test_a_cancel_reaches_a_pack_that_waits(inbox: Inbox) -> None:
    """It is known when its turn comes."""
    inbox.accept(Cancel(token=2))

    assert not running(inbox).cancelled
    inbox.over(running(inbox))
    inbox.next()
    assert running(inbox).cancelled


@pytest.mark.parametrize(("indices", "expected"), [((), "cancelled"), ((10,), "cancelled"), ((11,), None)])
def test_a_cancel_interrupts_the_input_that_runs(
    inbox: Inbox, indices: tuple[int, ...], expected: Interruption | None
) -> None:
    """If it is meant."""
    turn = begin(inbox)

    inbox.accept(Cancel(token=1, indices=indices))

    assert turn.interrupted == expected


def test_a_cancel_of_an_input_that_has_ended_does_not_hit_the_next(inbox: Inbox) -> None:
    """Its turn may still be there, and is not the next one's."""
    first = begin(inbox)
    running(inbox).done = 1

    inbox.accept(Cancel(token=1, indices=(10,)))

    assert first.interrupted == "cancelled"
    assert not running(inbox).cancelled


@pytest.mark.parametrize(
    ("indices", "ran", "expected"),
    [
        ((10,), 0.1, "timeout"),
        ((9,), 6.0, "timeout"),
        ((), 6.0, "timeout"),
        ((9,), 4.9, None),
        ((), 4.9, None),
    ],
)
def test_a_timeout_in_a_frame_is_for_the_input_named_or_an_old_one(
    inbox: Inbox, indices: tuple[int, ...], ran: float, expected: Interruption | None
) -> None:
    """The worker may not know yet that the one it means has ended."""
    turn = begin(inbox, ran)

    inbox.accept(Cancel(token=1, indices=indices, why="timeout"))

    assert turn.interrupted == expected
    assert not running(inbox).cancelled


def test_a_timeout_for_another_input_tells_what_has_ended(inbox: Inbox) -> None:
    """So the worker learns which one runs."""
    sent: list[Results] = []
    result = InputResult(index=10, status="ok")
    pack = running(inbox)
    pack.reports = Reports(sent.append)
    pack.reports.begin(1)
    pack.reports.add(result)
    pack.done = 1
    begin(inbox)

    inbox.accept(Cancel(token=1, indices=(10,), why="timeout"))

    assert sent == [Results(token=1, results=(result,))]


def test_frames_for_a_pack_that_is_over_mean_nothing(inbox: Inbox) -> None:
    """They crossed its result on the way."""
    turn = begin(inbox)

    inbox.accept(Cancel(token=77))
    inbox.accept(Credit(token=77, total=5))

    assert turn.interrupted is None


def test_credit_never_shrinks(inbox: Inbox) -> None:
    """Totals may come late and out of order; who waits for credit hears of more, and not of less."""
    turn = begin(inbox)

    inbox.accept(Credit(token=1, total=7))
    inbox.accept(Credit(token=1, total=4))

    assert running(inbox).credit == 7
    assert turn.credits == 1
    assert running(inbox).allows(6)
    assert not running(inbox).allows(7)


@pytest.mark.parametrize(("ran", "expected"), [(9.9, "timeout"), (5.0, "timeout"), (4.9, None)])
def test_a_ring_alone_means_the_timeout_of_an_old_input(
    inbox: Inbox, ran: float, expected: Interruption | None
) -> None:
    """A young one is not the input that the worker found late."""
    turn = begin(inbox, ran)

    inbox.ring()

    assert turn.interrupted == expected


def test_a_ring_with_a_cancel_means_the_cancel_only(inbox: Inbox) -> None:
    """Even if the running input is old, and not among those cancelled."""
    turn = begin(inbox, ran=9.9)
    inbox.accept(Cancel(token=1, indices=(12,)))

    inbox.ring()
    first = turn.interrupted
    inbox.ring()

    assert (first, turn.interrupted) == (None, "timeout")


def test_what_has_not_begun_is_given_back(inbox: Inbox, answers: list[Any]) -> None:
    """Of what is asked for, and of nothing else; who asks is told which packs those are."""
    inbox.accept(run(3))
    inbox.accept(run(4))

    inbox.accept(Recall(tokens=(1, 2, 4, 9)))

    assert answers == [Recalled(tokens=(2, 4))]
    assert running(inbox).run.token == 1
    inbox.over(running(inbox))
    pack = inbox.next()
    assert pack is not None
    assert pack.run.token == 3


@pytest.mark.parametrize(("ran", "expected"), [(0.0, None), (8.9, None), (9.0, "timeout")])
def test_a_ring_with_a_recall_is_not_for_the_input_that_runs(
    inbox: Inbox, ran: float, expected: Interruption | None
) -> None:
    """Unless it is about to be late: two rings may have come as one."""
    turn = begin(inbox, ran=ran)
    inbox.accept(Recall(tokens=(2,)))

    inbox.ring()

    assert turn.interrupted == expected


def test_a_ring_after_the_recall_was_read_means_nothing_to_the_next(inbox: Inbox) -> None:
    """The guest reads its link between two packs, and the ring comes behind."""
    inbox.accept(Recall(tokens=(9,)))
    inbox.over(running(inbox))
    inbox.next()
    turn = begin(inbox, ran=1.0)

    inbox.ring()

    assert turn.interrupted is None


def test_a_cancel_of_a_pack_that_waits_leaves_the_rings_of_the_other(inbox: Inbox) -> None:
    """The ring that follows is not for it, and the input that runs is late."""
    turn = begin(inbox, ran=9.9)
    inbox.accept(Cancel(token=2))

    inbox.ring()

    assert turn.interrupted == "timeout"


def test_a_ring_while_nothing_runs_means_nothing(inbox: Inbox) -> None:
    """The pack may have ended meanwhile, or not have begun."""
    inbox.ring()
    inbox.over(running(inbox))
    inbox.ring()

    assert inbox.stop is None


def test_a_preemption_interrupts_all_that_runs() -> None:
    """And nothing is begun."""
    inbox = Inbox(timeout=10.0, send=print, room=2)
    for token in range(3):
        inbox.accept(run(token))
    turns: list[Turn] = []
    while pack := inbox.next():
        pack.turn = FakeTurn(pack.index)
        turns.append(pack.turn)

    inbox.preempt(30.0)

    assert [turn.interrupted for turn in turns] == ["preempted", "preempted"]
    inbox.over(inbox.running[0])
    assert inbox.next() is None
