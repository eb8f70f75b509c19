"""Maps, against a stand-in worker on a real server."""

import asyncio
import gc
import itertools
import os
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from afield import mapping
from afield._bus.files import FileTier
from afield._errors import to_error_info
from afield._wire.messages import InputPack, InputResult
from afield.exception import InvalidError
from afield.output import enable_output
from support.callers import Caller, into
from support.echo_worker import echo
from support.waiting import until

pytestmark = pytest.mark.anyio


def odd_ones_fail(pack: InputPack) -> tuple[InputResult, ...]:
    return tuple(
        InputResult(index=r.index, status="error", error=to_error_info(KeyError(r.index)))
        if r.index % 2
        else r
        for r in echo(pack)
    )


async def endless() -> AsyncIterator[int]:
    number = 0
    while True:
        yield number
        number += 1


async def test_map_keeps_the_order(caller: Caller) -> None:
    """Thousands of inputs travel in packs, in the lane of maps."""
    results = [value async for value in caller.function.map.aio(range(5000))]

    assert results == list(range(5000))
    assert max(len(pack.args) for pack in caller.worker.packs) > 1
    assert set(caller.worker.lanes) == {"lo"}


async def test_map_for_async_for(caller: Caller) -> None:
    """The result of the plain form works in `async for` as well."""
    assert [value async for value in caller.function.map([1, 2])] == [1, 2]


async def test_blocking_map(caller: Caller) -> None:
    """From another thread, with batches crossing from the portal."""
    results = await anyio.to_thread.run_sync(lambda: list(caller.function.map(range(3000))))

    assert results == list(range(3000))


async def test_map_from_a_loop_without_a_client(caller: Caller) -> None:
    """An asynchronous input iterator stays on the loop that it belongs to."""
    threads: set[int] = set()

    async def inputs() -> AsyncIterator[int]:
        for i in range(200):
            threads.add(threading.get_ident())
            await asyncio.sleep(0)
            yield i

    async def elsewhere() -> tuple[list[Any], int]:
        return [value async for value in caller.function.map.aio(inputs())], threading.get_ident()

    results, thread = await anyio.to_thread.run_sync(lambda: asyncio.run(elsewhere()))

    assert results == list(range(200))
    assert threads == {thread}


async def test_starmap_and_kwargs(caller: Caller) -> None:
    """Arguments arrive as written."""
    assert [v async for v in caller.function.starmap.aio([(1, 2), (3, 4)], kwargs={"k": 5})] == [1, 3]


async def test_for_each_waits_and_drops(caller: Caller) -> None:
    """All inputs have run when it returns."""
    await caller.function.for_each.aio(range(100))

    assert sum(len(pack.args) for pack in caller.worker.packs) == 100


async def test_first_exception_is_raised_in_its_place(caller: Caller) -> None:
    """Results before it are handed out, the rest is cancelled."""
    caller.worker.answer = odd_ones_fail
    seen: list[Any] = []
    with pytest.raises(KeyError):
        await into(seen, caller.function.map.aio(range(1000)))

    assert seen == [0]


async def test_exceptions_can_be_results(caller: Caller) -> None:
    """With `return_exceptions`, nothing is raised."""
    caller.worker.answer = odd_ones_fail
    results = [value async for value in caller.function.map.aio(range(4), return_exceptions=True)]

    assert [type(value) for value in results] == [int, KeyError, int, KeyError]


async def test_for_each_can_ignore_exceptions(caller: Caller) -> None:
    """They are dropped with the results."""
    caller.worker.answer = odd_ones_fail

    await caller.function.for_each.aio(range(4), ignore_exceptions=True)
    with pytest.raises(KeyError):
        await caller.function.for_each.aio(range(4))


async def test_results_as_they_end(caller: Caller) -> None:
    """Without order, a slow input holds up nobody."""
    held: list[InputPack] = []

    def answer(pack: InputPack) -> tuple[InputResult, ...] | None:
        if pack.first == 0:
            held.append(pack)
            return None
        return echo(pack)

    caller.worker.answer = answer
    async with aclosing(caller.function.map.aio(range(3), order_outputs=False)) as results:
        assert {await anext(results), await anext(results)} == {1, 2}
        caller.worker.store(held[0], echo(held[0]))
        assert await anext(results) == 0


async def test_endless_inputs_are_consumed_lazily(caller: Caller) -> None:
    """A consumer that stops ends the map: what is in flight is bounded, and cancelled."""
    async with aclosing(caller.function.map.aio(endless())) as results:
        assert [await anext(results) for _ in range(2000)] == list(range(2000))

    await until(lambda: caller.worker.cancelled)
    sent = sum(len(pack.args) for pack in caller.worker.packs)
    assert sent <= 2000 + mapping.BACKLOG + mapping.WINDOW
    assert len(caller.client.inbox) == 0


async def test_at_most_the_window_is_in_flight(caller: Caller) -> None:
    """While nothing is answered, 1,000 inputs are out, and the source is asked for no more."""
    caller.worker.answer = lambda _pack: None
    taken: list[int] = []

    def inputs() -> Iterator[int]:
        for i in range(5000):
            taken.append(i)
            yield i

    results = caller.function.map.aio(inputs())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(anext(results))
        await until(lambda: sum(len(pack.args) for pack in caller.worker.packs) == mapping.WINDOW)
        assert len(taken) == mapping.WINDOW
        task.cancel()
    await results.aclose()


async def test_error_of_the_inputs_surfaces(caller: Caller) -> None:
    """After the results of the inputs before it."""

    def inputs() -> Iterator[int]:
        yield 1
        raise OSError("disk")

    seen: list[Any] = []
    with pytest.raises(OSError, match="disk"):
        await into(seen, caller.function.map.aio(inputs()))

    assert seen == [1]


async def test_moved_inputs_are_waited_for(caller: Caller) -> None:
    """An input that needs another attempt leaves its pack, and its result comes on its own."""
    caller.client.paces[caller.worker.record.function_id, ""] = pace = mapping.Pace()
    pace.learn(32, 0.0, 1.0)

    def answer(pack: InputPack) -> tuple[InputResult, ...]:
        alone = InputPack(
            call_id=pack.call_id,
            function_id="",
            kind="map",
            first=pack.first,
            args=pack.args[:1],
            sent_at=0.0,
        )
        caller.worker.store(alone, echo(alone))
        return (InputResult(index=pack.first, status="moved"), *echo(pack)[1:])

    caller.worker.answer = answer

    assert [v async for v in caller.function.map.aio(range(200))] == list(range(200))


async def test_results_are_forgotten_after_the_map(caller: Caller) -> None:
    """Nobody will ask for them again."""
    assert [v async for v in caller.function.map.aio([1])] == [1]

    await until(lambda: caller.worker.forgotten == [caller.worker.packs[0].call_id])


async def test_large_inputs_share_a_folder_with_the_worker(local_caller: Caller, tmp_path: Path) -> None:
    """On the worker's host, arguments and results over the limit are files, gone with the map."""
    files = FileTier(tmp_path, "this-host")

    def answer(pack: InputPack) -> tuple[InputResult, ...]:
        copies = [files.write([files.open(arg)], call_id=pack.call_id) for arg in pack.args]  # type: ignore[arg-type]
        return tuple(
            InputResult(index=pack.first + i, status="ok", value=copy) for i, copy in enumerate(copies)
        )

    local_caller.worker.answer = answer
    values = [bytes([i]) * 400_000 for i in range(4)]

    results = [args async for args, _ in local_caller.function.map.aio(values)]

    assert results == [(value,) for value in values]
    await until(lambda: not local_caller.client._background)
    assert not os.listdir(tmp_path)


async def test_results_are_taken_once(caller: Caller) -> None:
    """A second pass would be a second map: it must be asked for."""
    results = caller.function.map([1])
    assert [value async for value in results] == [1]

    with pytest.raises(InvalidError, match="already"):
        aiter(results)


async def test_describing_a_map_does_not_run_it(caller: Caller) -> None:
    """Only interactive sessions show results."""
    results = caller.function.map([1, 2])

    assert "not computed yet" in repr(results)
    assert [value async for value in results] == [1, 2]


async def test_interactive_session_shows_the_results(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a prompt, a small map is run and shown like a list; it can be iterated afterwards, too."""
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)
    results = caller.function.map([1, 2])

    assert await anyio.to_thread.run_sync(repr, results) == "[1, 2]"
    assert list(results) == [1, 2]


async def test_map_that_is_never_iterated_warns(caller: Caller) -> None:
    """Nothing has run, which is most likely not what was meant."""
    with pytest.warns(RuntimeWarning, match="never iterated"):
        caller.function.map([1])  # the last reference goes with the statement


async def test_results_are_an_iterator_too(caller: Caller) -> None:
    """`next` takes one, and a loop goes on from there."""

    def take() -> tuple[int, list[int]]:
        results = caller.function.map(range(4))
        return next(results), list(results)

    assert await asyncio.to_thread(take) == (0, [1, 2, 3])


async def test_closing_the_results_ends_the_map(caller: Caller) -> None:
    """As closing a generator does: the inputs are given up, and nothing comes any more."""

    def take() -> tuple[int, list[int]]:
        results = caller.function.map(itertools.count())
        first = next(results)
        results.close()
        results.close()
        return first, list(results)

    assert await asyncio.to_thread(take) == (0, [])
    await until(lambda: caller.worker.cancelled)


async def test_closing_from_a_loop(caller: Caller) -> None:
    """Of a pass that began with `async for`, too."""
    results = caller.function.map(itertools.count())
    values = aiter(results)
    assert await anext(values) == 0

    with pytest.raises(InvalidError, match="aclose"):
        results.close()
    await results.aclose()

    with pytest.raises(StopAsyncIteration):
        await anext(values)


async def test_map_that_is_closed_before_it_ran_never_runs(
    caller: Caller, recwarn: pytest.WarningsRecorder
) -> None:
    """And is no mistake to warn about."""
    results = caller.function.map([1])
    results.close()

    assert list(results) == []
    del results
    assert not recwarn.list


async def test_results_that_nobody_refers_to_any_more_end_the_map(caller: Caller) -> None:
    """At once, not when the garbage collector comes by."""
    gc.disable()
    try:
        await asyncio.to_thread(lambda: next(caller.function.map(itertools.count())))
        await until(lambda: caller.worker.cancelled)
    finally:
        gc.enable()


async def test_progress_ends_before_the_error_is_seen(
    caller: Caller, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a map says at its end does not come after what its caller says then."""
    caller.worker.answer = odd_ones_fail

    def take() -> None:
        try:
            caller.function.for_each(range(4))
        except KeyError:
            print("caught", file=sys.stderr, flush=True)

    with enable_output():
        await asyncio.to_thread(take)

    lines = capfd.readouterr().err.splitlines()
    assert lines[-1] == "caught"
    assert "inputs done" in lines[-2]


async def test_remote_error_of_a_map_shows_no_machinery(caller: Caller) -> None:
    """Only frames of the user's lie between the loop and the remote frames."""
    try:
        raise KeyError(1)
    except KeyError as error:
        info = to_error_info(error)
    caller.worker.answer = lambda pack: tuple(
        InputResult(index=each.index, status="error", error=info) for each in echo(pack)
    )

    with pytest.raises(KeyError) as caught:
        async for _ in caller.function.map.aio(range(4)):
            pass

    names = {frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)}
    assert names == {__file__}
