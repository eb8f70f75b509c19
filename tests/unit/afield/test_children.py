"""When a container tells which calls its inputs made."""

from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest

from afield._children import MOST_IDS, ChildTeller, News
from support.waiting import until

pytestmark = pytest.mark.anyio


class Told:
    """A teller, and what it told."""

    def __init__(self) -> None:
        self.said: list[tuple[News, list[str]]] = []
        self.teller = ChildTeller(self._say)

    def _say(self, news: News, call_ids: Sequence[str]) -> None:
        self.said.append((news, list(call_ids)))


async def test_calls_that_last_are_told_and_taken_back() -> None:
    """Both of an input in one message, and only what was told is taken back."""
    told = Told()
    told.teller.began("in-a", "fc-1")
    told.teller.began("in-a", "fc-2")
    await until(lambda: told.said)
    told.teller.began("in-a", "fc-3")
    for call_id in ("fc-1", "fc-2", "fc-3"):
        told.teller.ended(call_id)
    await until(lambda: len(told.said) > 1)

    assert told.said == [(News("in-a"), ["fc-1", "fc-2"]), (News("in-a", over=True), ["fc-1", "fc-2"])]
    told.teller.close()


async def test_each_input_has_its_own_calls() -> None:
    """A container may run several at once."""
    told = Told()
    told.teller.began("in-a", "fc-1")
    told.teller.began("in-b", "fc-2")
    await until(lambda: len(told.said) == 2)

    assert told.said == [(News("in-a"), ["fc-1"]), (News("in-b"), ["fc-2"])]
    told.teller.close()


async def test_spawned_calls_are_told_at_once() -> None:
    """In the next step of the loop, all that were spawned in this one together."""
    told = Told()
    told.teller.began("in-a", "fc-1")
    for number in range(2, 5):
        told.teller.spawned("in-a", f"fc-{number}")
    await anyio.lowlevel.checkpoint()
    await anyio.lowlevel.checkpoint()

    assert told.said == [(News("in-a", spawned=True), ["fc-2", "fc-3", "fc-4"])]
    await until(lambda: (News("in-a"), ["fc-1"]) in told.said)
    told.teller.close()


async def test_calls_of_no_input_are_told_without_one() -> None:
    """A thread of the user's own waits for them, which ends with the container; what it spawned ends with nothing."""
    told = Told()
    told.teller.began("", "fc-1")
    told.teller.spawned("", "fc-2")
    await until(lambda: told.said)

    assert told.said == [(News(""), ["fc-1"])]
    told.teller.close()


async def test_everything_is_told_again_after_a_reconnect() -> None:
    """A message may have got lost with the connection."""
    told = Told()
    told.teller.began("in-a", "fc-1")
    await until(lambda: told.said)
    told.teller.tell_again()
    await until(lambda: len(told.said) == 2)

    assert told.said[0] == told.said[1]
    told.teller.close()


async def test_messages_stay_small() -> None:
    """However many calls an input makes."""
    told = Told()
    for number in range(2 * MOST_IDS + 1):
        told.teller.spawned("in-a", f"fc-{number}")
    await until(lambda: len(told.said) == 3)

    assert [len(call_ids) for _, call_ids in told.said] == [MOST_IDS, MOST_IDS, 1]
    told.teller.close()
