"""Inputs of a map, consumed as far as asked."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from afield._feed import CHUNK_BYTES, Chunk, Feed, make_feed
from afield.exception import InvalidError, SerializationError
from afield.serialization import Serialized, loads_call
from support.waiting import until

pytestmark = pytest.mark.anyio


class Taker:
    """Collects what a feed hands over."""

    def __init__(self, *inputs: Any, star: bool = False, kwargs: dict[str, Any] | None = None) -> None:
        self.feed: Feed = make_feed(inputs, kwargs or {}, star=star, home=None)
        self.chunks: list[Chunk] = []
        self.feed.start(asyncio.get_running_loop(), self.chunks.append)

    @property
    def calls(self) -> list[Any]:
        payloads = [payload for chunk in self.chunks for payload in chunk.payloads]
        return [loads_call(p.join() if isinstance(p, Serialized) else p) for p in payloads]

    @property
    def args(self) -> list[Any]:
        return [args for args, _ in self.calls]

    @property
    def ended(self) -> bool:
        return any(chunk.ended for chunk in self.chunks)


async def numbers(count: int) -> AsyncIterator[int]:
    for i in range(count):
        yield i


async def test_nothing_is_consumed_before_it_is_wanted() -> None:
    """The iterator is touched only on demand, and only as far as asked."""
    seen: list[int] = []

    def source() -> Iterator[int]:
        for i in range(100):
            seen.append(i)
            yield i

    taker = Taker(source())
    assert seen == []
    taker.feed.want(3)
    await until(lambda: len(taker.args) == 3)

    assert seen == [0, 1, 2]
    taker.feed.close()


async def test_several_iterators_are_zipped_with_shared_kwargs() -> None:
    """The shortest one ends it."""
    taker = Taker([1, 2, 3], "ab", kwargs={"k": 9})
    taker.feed.want(10)
    await until(lambda: taker.ended)

    assert taker.calls == [((1, "a"), {"k": 9}), ((2, "b"), {"k": 9})]


async def test_star_takes_each_input_as_arguments() -> None:
    """`starmap([(1, 2)])` calls with two arguments."""
    taker = Taker([(1, 2), [3, 4]], star=True)
    taker.feed.want(10)
    await until(lambda: taker.ended)

    assert taker.args == [(1, 2), (3, 4)]


async def test_star_wants_sequences() -> None:
    """A plain value in starmap is named."""
    taker = Taker([1], star=True)
    taker.feed.want(1)
    await until(lambda: taker.ended)

    assert isinstance(taker.chunks[-1].error, InvalidError)


async def test_error_of_the_iterator_comes_after_the_inputs_before_it() -> None:
    """What was produced before the error is not lost."""

    def source() -> Iterator[int]:
        yield 1
        raise KeyError("no more")

    taker = Taker(source())
    taker.feed.want(10)
    await until(lambda: taker.ended)

    assert taker.args == [(1,)]
    assert isinstance(taker.chunks[-1].error, KeyError)


async def test_input_that_cannot_be_serialised_is_named() -> None:
    """The error of serialisation surfaces like one of the iterator."""
    taker = Taker([threading.Lock()])
    taker.feed.want(1)
    await until(lambda: taker.ended)

    assert isinstance(taker.chunks[-1].error, SerializationError)


async def test_input_does_not_wait_for_the_next_one() -> None:
    """An iterator that blocks does not hold back what it has given."""
    gate = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        gate.wait(30)
        yield 2

    taker = Taker(source())
    taker.feed.want(10)
    await until(lambda: taker.args == [(1,)])

    gate.set()
    await until(lambda: taker.args == [(1,), (2,)])
    taker.feed.close()


async def test_closing_closes_the_generator() -> None:
    """A generator's `finally` runs when the map is given up."""
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    taker = Taker(source())
    taker.feed.want(1)
    await until(lambda: taker.args)
    taker.feed.close()

    await until(closed.is_set)


async def test_large_inputs_wait_until_the_ones_before_are_done_with() -> None:
    """Inputs that were handed over and not stored yet are bounded in bytes."""
    made: list[int] = []

    def source() -> Iterator[bytes]:
        for i in range(10):
            made.append(i)
            yield bytes(CHUNK_BYTES)

    taker = Taker(source())
    taker.feed.want(10)
    await until(lambda: taker.chunks)
    assert made == [0]

    taker.feed.done(taker.chunks[0].size)
    await until(lambda: made == [0, 1])
    taker.feed.close()


async def test_asynchronous_iterator_is_consumed_as_far_as_asked() -> None:
    """It runs on the loop, without a thread."""
    taker = Taker(numbers(5))
    taker.feed.want(2)
    await until(lambda: len(taker.args) == 2)
    assert not taker.ended

    taker.feed.want(10)
    await until(lambda: taker.ended)

    assert taker.args == [(0,), (1,), (2,), (3,), (4,)]


async def test_asynchronous_inputs_that_come_at_once_share_a_chunk() -> None:
    """As long as the iterator does not wait, its inputs are collected."""
    taker = Taker(numbers(50))
    taker.feed.want(100)
    await until(lambda: taker.ended)

    assert len(taker.chunks[0].payloads) == 50


async def test_asynchronous_input_does_not_wait_for_the_next_one() -> None:
    """What an asynchronous iterator has given goes on while it waits."""
    gate = asyncio.Event()

    async def source() -> AsyncIterator[int]:
        yield 1
        await gate.wait()

    taker = Taker(source())
    taker.feed.want(10)
    await until(lambda: taker.args == [(1,)])

    gate.set()
    await until(lambda: taker.ended)


async def test_asynchronous_and_plain_iterators_are_zipped() -> None:
    """They may be mixed."""
    taker = Taker(numbers(3), ["a", "b"])
    taker.feed.want(10)
    await until(lambda: taker.ended)

    assert taker.args == [(0, "a"), (1, "b")]


async def test_error_of_an_asynchronous_iterator_surfaces() -> None:
    """As with a plain one."""

    async def source() -> AsyncIterator[int]:
        yield 1
        raise KeyError("no more")

    taker = Taker(source())
    taker.feed.want(10)
    await until(lambda: taker.ended)

    assert taker.args == [(1,)]
    assert isinstance(taker.chunks[-1].error, KeyError)


@pytest.mark.parametrize("inputs", [(), (1,), ([1], None)])
async def test_what_is_no_iterable_is_refused(inputs: tuple[Any, ...]) -> None:
    """A map needs iterables, and at least one."""
    with pytest.raises(InvalidError):
        make_feed(inputs, {}, star=False, home=None)
