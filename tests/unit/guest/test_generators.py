"""Generators that are interrupted between two values, when none of their own code runs: they see it at their yield."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from afield._guest.asynccalls import AsyncCalls, TaskTurn
from afield._guest.outcomes import Interruption, Outcomes
from afield._guest.packs import Pack
from afield._guest.synccalls import SyncCalls
from afield._guest.targets import Target, Targets
from afield._guest.turns import RAISED, SyncTurn
from afield._wire.guest import Run
from afield._wire.messages import InputResult
from afield.exception import InputCancellation
from support.guests import make_start, payload

LINK: Any = SimpleNamespace(is_ours=True)
STREAMS: Any = SimpleNamespace(settle=lambda: None)


@pytest.fixture
def outcomes(tmp_path: Path) -> Outcomes:
    """What results are made with."""
    return Outcomes(make_start(tmp_path / "home", "", "f"))


def new_pack() -> Pack:
    """A pack of one call of a generator."""
    return Pack(Run(token=1, call_id="fc-s-0-1", kind="generator", first=0, args=(payload(),), credit=9))


class LateTurn(SyncTurn):
    """Is interrupted at the moment in which the generator is about to go on after its first value."""

    __slots__ = ("_why", "arms")

    def __init__(self, outcomes: Outcomes, why: Interruption) -> None:
        super().__init__(LINK, outcomes)
        self._why = why
        self.arms = 0

    def arm(self) -> None:
        self.arms += 1
        if self.arms == 3:  # for the arguments, for the first value, for the second
            self.interrupted = self._why
            raise RAISED[self._why]("now")

    def disarm(self) -> None:
        return

    def wait(self, enough: Callable[[], bool]) -> None:  # noqa: ARG002 - SyncTurn has it
        raise AssertionError("there is credit")


def run_late(
    outcomes: Outcomes, function: Callable[[], Iterator[Any]], why: Interruption
) -> InputResult | None:
    """Run a synchronous generator that is interrupted after its first value."""
    calls = SyncCalls(LINK, STREAMS, outcomes, Targets("f", {}), lambda _frame: None)
    return calls.run(LateTurn(outcomes, why), new_pack(), Target(function, True, False))


@pytest.mark.parametrize("why", ["cancelled", "timeout"])
def test_an_interruption_between_two_values_is_raised_at_the_yield(
    outcomes: Outcomes, why: Interruption
) -> None:
    """The generator cleans up as if it had been hit in the middle of its work."""
    seen: list[str] = []

    def numbers() -> Iterator[int]:
        try:
            yield 1
        except InputCancellation:
            seen.append("cancelled")
            raise

    result = run_late(outcomes, numbers, why)

    assert seen == ["cancelled"]
    assert result is not None
    assert result.status == ("cancelled" if why == "cancelled" else "error")


def test_a_generator_that_takes_no_notice_is_closed(outcomes: Outcomes) -> None:
    """What it yields instead is nobody's."""
    seen: list[str] = []

    def numbers() -> Iterator[int]:
        try:
            try:
                yield 1
            except InputCancellation:
                yield 2
        finally:
            seen.append("closed")

    result = run_late(outcomes, numbers, "cancelled")

    assert seen == ["closed"]
    assert result is not None
    assert result.status == "cancelled"


def test_an_error_while_it_cleans_up_is_for_the_log(
    outcomes: Outcomes, capsys: pytest.CaptureFixture[str]
) -> None:
    """The input has been cancelled, whatever comes now."""

    def numbers() -> Iterator[int]:
        try:
            yield 1
        except InputCancellation:
            raise ValueError("while it cleaned up") from None

    result = run_late(outcomes, numbers, "cancelled")

    assert result is not None
    assert result.status == "cancelled"
    assert "ValueError: while it cleaned up" in capsys.readouterr().err


@pytest.mark.anyio
async def test_an_asynchronous_generator_is_cancelled_at_its_yield(outcomes: Outcomes) -> None:
    """Also when it is our own code that waits."""
    seen: list[str] = []
    ended = asyncio.Event()
    results: list[InputResult | None] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            seen.append("cancelled")
            raise

    def done(_turn: TaskTurn, result: Any) -> None:
        results.append(result)
        ended.set()

    async def send(_frame: Any) -> None:
        turn.interrupt("cancelled")
        await asyncio.sleep(10)

    turn = TaskTurn(LINK, outcomes, done)
    calls = AsyncCalls(LINK, STREAMS, outcomes, send)
    turn.start(calls.run(turn, new_pack(), Target(numbers, True, True)))
    await ended.wait()

    assert seen == ["cancelled"]
    assert [result.status for result in results if result is not None] == ["cancelled"]
