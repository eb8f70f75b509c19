"""When a container tells that it waits for calls of its own."""

import anyio
import anyio.lowlevel
import pytest

from afield._waits import TELL_S, WaitTeller

pytestmark = pytest.mark.anyio


class Told:
    """A teller, and what it told."""

    def __init__(self) -> None:
        self.calls = 0
        self.said: list[int] = []
        self.heard = anyio.Event()
        self.teller = WaitTeller(lambda: self.calls, self._say)

    def _say(self, calls: int) -> None:
        self.said.append(calls)
        self.heard.set()


async def test_short_calls_are_not_told() -> None:
    """One after the other, for longer than it takes to tell of one that lasts."""
    told = Told()
    until = anyio.current_time() + 5 * TELL_S
    while anyio.current_time() < until:
        told.teller.began()
        told.teller.over()
        await anyio.lowlevel.checkpoint()
    assert told.said == []
    told.teller.close()


async def test_a_call_that_lasts_is_told_and_taken_back() -> None:
    """With the number of calls; 0 at the end, and nothing more after it."""
    told = Told()
    told.calls = 3
    told.teller.began()
    await told.heard.wait()
    assert told.said == [3]
    told.teller.over()
    told.teller.over()
    assert told.said == [3, 0]
    told.teller.close()


async def test_the_end_of_a_client_takes_back_what_it_told() -> None:
    """A client may be closed while it waits."""
    told = Told()
    told.calls = 1
    told.teller.began()
    await told.heard.wait()
    told.teller.close()
    assert told.said == [1, 0]
