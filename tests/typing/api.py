"""User code that must type-check: a call's parameters and result follow the function's own."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from typing import assert_type

import afield
from afield import App, Function, FunctionCall, Image, Retries
from afield.map_results import MapResults

app = App("typed", tags={"a": "b"}, image=Image.debian_slim())


@app.function()
def square(x: int, *, scale: float = 1.0) -> float:
    return x * x * scale


@app.function(cpu=1.0, memory=(128, 256), gpu=["A100", "any"], retries=Retries(max_retries=2), timeout=60)
async def fetch(url: str) -> bytes:
    return url.encode()


@app.function()
def count(n: int) -> Generator[int, None, None]:
    yield from range(n)


@app.function()
def walk(n: int) -> Iterator[str]:
    yield str(n)


@app.function()
async def acount(n: int) -> AsyncGenerator[int, None]:
    yield n


@app.function()
async def awalk(n: int) -> AsyncIterator[str]:
    yield str(n)


@app.local_entrypoint()
def main(name: str, times: int = 1) -> None:
    print(name, times)


def blocking() -> None:
    assert_type(square.remote(2, scale=0.5), float)
    assert_type(square.local(2), float)
    assert_type(fetch.remote("u"), bytes)
    assert_type(square.spawn(2), FunctionCall[float])
    assert_type(fetch.spawn("u"), FunctionCall[bytes])
    assert_type(square.map([1, 2]), MapResults[float])
    assert_type(list(square.map([1, 2], order_outputs=False)), list[float])
    assert_type(list(fetch.starmap([("u",)], kwargs={})), list[bytes])
    assert_type(square.spawn_map([1, 2]), FunctionCall[float])
    square.for_each([1], ignore_exceptions=True)
    assert_type(list(count.remote_gen(3)), list[int])
    assert_type(list(walk.remote_gen(3)), list[str])
    assert_type(list(acount.remote_gen(3)), list[int])
    assert_type(list(awalk.remote_gen(3)), list[str])
    call = square.spawn(2)
    assert_type(call.get(timeout=1.0), float)
    assert_type(call.num_inputs(), int)
    assert_type(list(call.iter()), list[float])
    call.cancel(terminate_containers=True)
    assert_type(FunctionCall.gather(call, call), Sequence[float])
    main("x", times=2)


async def asynchronous() -> None:
    assert_type(await square.remote.aio(2, scale=0.5), float)
    assert_type(await fetch.remote.aio("u"), bytes)
    assert_type(await fetch.local("u"), bytes)
    assert_type(await square.spawn.aio(2), FunctionCall[float])
    assert_type([x async for x in square.map([1])], list[float])
    assert_type([x async for x in square.map.aio([1])], list[float])
    assert_type([x async for x in fetch.starmap.aio([("u",)])], list[bytes])
    assert_type([x async for x in count.remote_gen.aio(3)], list[int])
    assert_type([x async for x in acount.remote_gen.aio(3)], list[int])
    await square.for_each.aio([1])
    call = await square.spawn.aio(2)
    assert_type(await call.get.aio(timeout=0), float)
    assert_type([x async for x in call.iter.aio()], list[float])
    assert_type(await FunctionCall.gather.aio(call, call), Sequence[float])
    await call.cancel.aio()


async def running() -> None:
    with app.run(detach=True) as running_app:
        assert_type(running_app, App)
    async with app.run() as running_app:
        assert_type(running_app.app_id, str | None)
    with afield.enable_output(timestamps=True):
        await app.stop.aio()
    assert_type(await app.get_tags.aio(), dict[str, str])


def wrong() -> None:
    square.remote("two")  # type: ignore[arg-type]
    square.remote(2, 3)  # type: ignore[call-arg]
    fetch.spawn(1)  # type: ignore[arg-type]
    count.remote_gen("3")  # type: ignore[arg-type]
    app.function(square)
    app.function(cpus=1)  # type: ignore[arg-type]


def looked_up() -> None:
    function = Function.from_name("app", "f")
    function.remote(1, "anything", goes=True)
    assert_type(FunctionCall.from_id("fc-a-0-1").object_id, str)
