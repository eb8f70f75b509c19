"""User code that must type-check: a call's parameters and result follow the function's own."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from typing import assert_type

import afield
from afield import App, Cls, Function, FunctionCall, Image, Retries
from afield.cls import Obj
from afield.map_results import MapResults
from afield.types import FunctionAutoscalerSettings, FunctionCurrentStats

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


@app.function()
@afield.concurrent(max_inputs=4, target_inputs=2)
def several(x: int) -> str:
    return str(x)


@afield.concurrent(max_inputs=4)
@app.function()
async def several_later(x: int) -> str:
    return str(x)


@app.function()
@afield.batched(max_batch_size=8, wait_ms=10)
def doubled(xs: list[int]) -> list[float]:
    return [2.0 * x for x in xs]


@app.cls(cpu=1.0, enable_memory_snapshot=True, region=["eu", "us"])
@afield.concurrent(max_inputs=4)
class Model:
    CLASSES = 3
    name: str = afield.parameter(default="small")

    @afield.enter(snap=True)
    def load(self) -> None:
        self.weights = [1.0]

    @afield.enter()
    async def warm(self) -> None: ...

    @afield.method()
    def predict(self, x: int, *, scale: float = 1.0) -> float:
        self.load()
        return x * scale * self.weights[0]

    @afield.method()
    async def fetch(self, url: str) -> bytes:
        assert_type(self.predict.local(1), float)
        assert_type(await self.predict.remote.aio(1), float)
        return url.encode()

    @afield.method()
    def stream(self, n: int) -> Iterator[int]:
        yield n

    @afield.method(is_generator=True)
    def returned(self, n: int) -> Iterator[str]:
        return iter(str(n))

    @afield.exit()
    def leave(self) -> None: ...


@app.cls()
class Together:
    @afield.batched(max_batch_size=8, wait_ms=10)
    async def predict(self, xs: list[int]) -> list[float]:
        return [float(x) for x in xs]


class Sub(Model):
    @afield.method()
    def more(self) -> str:
        return self.name


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


def classes() -> None:
    model = Model()
    assert_type(model, Model)
    assert_type(model.name, str)
    assert_type(Model.CLASSES, int)
    assert_type(model.predict.remote(2, scale=0.5), float)
    assert_type(model.predict.local(2), float)
    assert_type(model.predict.spawn(2), FunctionCall[float])
    assert_type(model.predict.map([1]), MapResults[float])
    assert_type(model.fetch.remote("u"), bytes)
    assert_type(list(model.stream.remote_gen(1)), list[int])
    assert_type(list(model.returned.remote_gen(1)), list[str])
    assert_type(Sub().more.remote(), str)
    assert_type(Sub().predict.remote(1), float)
    assert_type(Together().predict.remote(1), float)
    assert_type(doubled.remote(1), float)
    assert_type(several.remote(1), str)
    assert_type(several_later.remote(1), str)
    assert_type(Cls.from_name("app", "C").with_options(cpu=1, env={"A": "1"}), Cls)
    assert_type(Cls.from_name("app", "C").with_concurrency(max_inputs=2)(1, x=2), Obj)
    assert_type(app.registered_classes, dict[str, Cls])


async def settings() -> None:
    assert_type(square.with_options(memory=(1, 2), retries=3).remote(2, scale=0.5), float)
    assert_type(square.with_concurrency(max_inputs=2).remote(2), float)
    assert_type(square.with_batching(max_batch_size=2, wait_ms=1).remote(2), float)
    assert_type(square.update_autoscaler(min_containers=1), FunctionAutoscalerSettings)
    assert_type(await square.update_autoscaler.aio(scaledown_window=5), FunctionAutoscalerSettings)
    assert_type(square.get_current_stats().backlog, int)
    assert_type(await Model().predict.get_current_stats.aio(), FunctionCurrentStats)


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
    Model().predict.remote("two")  # type: ignore[arg-type]
    Model().predict.remote(2, 3)  # type: ignore[call-arg]
    Model().fetch.spawn(1)  # type: ignore[arg-type]
    app.cls(cpus=1)  # type: ignore[arg-type]
    afield.concurrent(max_inputs="2")  # type: ignore[arg-type]
    afield.batched(max_batch_size=2)  # type: ignore[call-arg]
    square.with_options(cpus=1)  # type: ignore[arg-type]


def looked_up() -> None:
    function = Function.from_name("app", "f")
    function.remote(1, "anything", goes=True)
    assert_type(FunctionCall.from_id("fc-a-0-1").object_id, str)
