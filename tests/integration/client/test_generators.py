"""Generator calls, against a stand-in worker on a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from afield._errors import to_error_info
from afield._wire.messages import InputPack, InputResult
from afield.exception import InvalidError
from support.callers import Caller, into
from support.waiting import until

pytestmark = pytest.mark.anyio


async def collect(values: AsyncIterator[Any]) -> list[Any]:
    return [value async for value in values]


END = (InputResult(index=0, status="ok"),)


async def test_values_come_in_order(generator: Caller) -> None:
    """Chunk after chunk, then the end."""

    def answer(pack: InputPack) -> tuple[InputResult, ...]:
        generator.worker.yield_(pack.call_id, 0, 0, "a", "b")
        generator.worker.yield_(pack.call_id, 1, 2, "c")
        return END

    generator.worker.answer = answer

    assert [value async for value in generator.function.remote_gen.aio()] == ["a", "b", "c"]
    await until(lambda: generator.worker.forgotten)


async def test_blocking_generator(generator: Caller) -> None:
    """The same from a thread."""

    def answer(pack: InputPack) -> tuple[InputResult, ...]:
        generator.worker.yield_(pack.call_id, 0, 0, 1, 2)
        return END

    generator.worker.answer = answer

    assert await anyio.to_thread.run_sync(lambda: list(generator.function.remote_gen())) == [1, 2]


async def test_chunks_out_of_order_are_put_right(generator: Caller) -> None:
    """The numbers of the chunks decide."""

    def answer(pack: InputPack) -> tuple[InputResult, ...]:
        generator.worker.yield_(pack.call_id, 1, 1, "b")
        generator.worker.yield_(pack.call_id, 0, 0, "a")
        return END

    generator.worker.answer = answer

    assert [value async for value in generator.function.remote_gen.aio()] == ["a", "b"]


async def test_chunks_after_the_end_are_not_lost(generator: Caller) -> None:
    """The end may arrive before a chunk that was sent again: the stream knows them all."""

    def answer(pack: InputPack) -> None:
        generator.worker.store(pack, END)
        generator.worker.yield_(pack.call_id, 0, 0, "a")

    generator.worker.answer = answer

    assert [value async for value in generator.function.remote_gen.aio()] == ["a"]


async def test_error_comes_after_the_values(generator: Caller) -> None:
    """What was yielded before it is handed out first."""

    def answer(pack: InputPack) -> tuple[InputResult, ...]:
        generator.worker.yield_(pack.call_id, 0, 0, 1)
        return (InputResult(index=0, status="error", error=to_error_info(KeyError("x"))),)

    generator.worker.answer = answer
    seen: list[Any] = []
    with pytest.raises(KeyError):
        await into(seen, generator.function.remote_gen.aio())

    assert seen == [1]


async def test_credit_follows_the_consumer(generator: Caller) -> None:
    """The worker hears how many values were taken, as a running total."""
    async with aclosing(generator.function.remote_gen.aio()) as values, asyncio.TaskGroup() as group:
        first = group.create_task(anext(values))
        await until(lambda: generator.worker.packs)
        call_id = generator.worker.packs[0].call_id
        generator.worker.yield_(call_id, 0, 0, *range(20))
        assert await first == 0
        assert not generator.worker.controls
        for _ in range(19):
            await anext(values)
        last = group.create_task(anext(values))
        await until(lambda: generator.worker.controls)
        generator.worker.yield_(call_id, 1, 20, "end")
        assert await last == "end"

    assert (generator.worker.controls[0].verb, generator.worker.controls[0].consumed) == ("credit", 20)


async def test_credit_is_repeated_while_nothing_comes(
    generator: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It travels at most once, so a lost one must not stop the generator."""
    monkeypatch.setattr("afield._generator_run.REPEAT_S", 0.02)
    async with aclosing(generator.function.remote_gen.aio()) as values, asyncio.TaskGroup() as group:
        first = group.create_task(anext(values))
        await until(lambda: generator.worker.packs)
        generator.worker.yield_(generator.worker.packs[0].call_id, 0, 0, 1)
        await first
        rest = group.create_task(collect(values))
        await until(lambda: len(generator.worker.controls) >= 3)
        generator.worker.store(generator.worker.packs[0], END)
        assert await rest == []

    assert {control.consumed for control in generator.worker.controls} == {1}


async def test_closing_early_cancels(generator: Caller) -> None:
    """A consumer that stops ends the generator."""

    def answer(pack: InputPack) -> None:
        generator.worker.yield_(pack.call_id, 0, 0, 1, 2, 3)

    generator.worker.answer = answer
    async with aclosing(generator.function.remote_gen.aio()) as values:
        assert await anext(values) == 1

    await until(lambda: generator.worker.cancelled == [generator.worker.packs[0].call_id])


@pytest.mark.parametrize("method", ["remote", "spawn"])
async def test_generators_are_not_called(generator: Caller, method: str) -> None:
    """They have a method of their own."""
    with pytest.raises(InvalidError, match=r"remote_gen"):
        await getattr(generator.function, method).aio()
    with pytest.raises(InvalidError, match=r"remote_gen"):
        generator.function.map([1])


async def test_functions_are_not_generators(caller: Caller) -> None:
    """And the other way round."""
    with pytest.raises(InvalidError, match=r"not a generator.*\.remote\(\)"):
        caller.function.remote_gen.aio()
