"""What a guest makes of the frames that it gets."""

import pytest

from afield._guest.packs import Inbox, Pack
from afield._wire.guest import Cancel, Credit, Run, Stop


def run(token: int, size: int = 1, first: int = 0, credit: int = 0) -> Run:
    return Run(token=token, call_id="fc-a-0-1", kind="map", first=first, args=(b"",) * size, credit=credit)


@pytest.fixture
def inbox() -> Inbox:
    """An inbox whose current pack has three inputs, 10 to 12, with another pack behind it."""
    inbox = Inbox()
    inbox.accept(run(1, size=3, first=10))
    inbox.accept(run(2))
    inbox.next()
    return inbox


def current(inbox: Inbox) -> Pack:
    assert inbox.current is not None
    return inbox.current


def test_packs_run_in_order_of_arrival(inbox: Inbox) -> None:
    """And then there is none."""
    second = inbox.next()

    assert second is not None
    assert second.run.token == 2
    assert inbox.next() is None


def test_nothing_is_begun_after_stop(inbox: Inbox) -> None:
    """What waits is left; the worker gives it to others."""
    inbox.accept(Stop())

    assert inbox.next() is None
    assert inbox.stop is not None


@pytest.mark.parametrize(
    ("indices", "expected"), [((), [True, True, True]), ((11,), [False, True, False]), ((99,), [False] * 3)]
)
def test_a_cancel_names_inputs_or_means_all(
    inbox: Inbox, indices: tuple[int, ...], expected: list[bool]
) -> None:
    """Indices are those of the call."""
    inbox.accept(Cancel(token=1, indices=indices))

    seen = []
    while not current(inbox).over:
        seen.append(current(inbox).cancelled)
        current(inbox).done += 1

    assert seen == expected


def test_a_cancel_reaches_a_pack_that_waits(inbox: Inbox) -> None:
    """It is known when its turn comes."""
    inbox.accept(Cancel(token=2))

    assert not current(inbox).cancelled
    inbox.next()
    assert current(inbox).cancelled


def test_frames_for_a_pack_that_is_over_mean_nothing(inbox: Inbox) -> None:
    """They crossed its result on the way."""
    inbox.accept(Cancel(token=77))
    inbox.accept(Credit(token=77, total=5))

    assert not current(inbox).cancelled


def test_credit_never_shrinks(inbox: Inbox) -> None:
    """Totals may come late and out of order."""
    inbox.accept(Credit(token=1, total=7))
    inbox.accept(Credit(token=1, total=4))

    assert current(inbox).credit == 7


@pytest.mark.parametrize(("ran", "expected"), [(9.9, "timeout"), (5.0, "timeout"), (4.9, None)])
def test_a_ring_alone_means_the_timeout_of_an_old_input(
    inbox: Inbox, ran: float, expected: str | None
) -> None:
    """A young one is not the input that the worker found late."""
    assert inbox.ring(ran, timeout=10.0) == expected


def test_a_ring_with_a_cancel_means_the_cancel_only(inbox: Inbox) -> None:
    """Even if the running input is old, and not among those cancelled."""
    inbox.accept(Cancel(token=1, indices=(12,)))

    assert inbox.ring(9.9, timeout=10.0) is None
    assert inbox.ring(9.9, timeout=10.0) == "timeout"


def test_a_ring_for_the_running_input_cancels_it(inbox: Inbox) -> None:
    """However young it is."""
    inbox.accept(Cancel(token=1, indices=(10,)))

    assert inbox.ring(0.0, timeout=10.0) == "cancelled"


def test_a_ring_while_nothing_runs_means_nothing(inbox: Inbox) -> None:
    """The pack may have ended meanwhile."""
    current(inbox).done = 3

    assert inbox.ring(9.9, timeout=10.0) is None
    assert Inbox().ring(9.9, timeout=10.0) is None
