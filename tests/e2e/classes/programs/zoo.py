"""Classes of many kinds, for the tests of classes."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import afield

app = afield.App("zoo")


@app.cls()
class Counter:
    """Counts from a number; each set of parameters has containers of its own."""

    start: int = afield.parameter(default=0)
    label: str = afield.parameter(default="")

    @afield.enter()
    def setup(self) -> None:
        self.n = self.start
        self.entered = [*getattr(self, "entered", []), "plain"]

    @afield.enter(snap=True)
    def early(self) -> None:
        self.entered = ["snap"]

    @afield.method()
    def add(self, k: int = 1) -> int:
        self.n += k
        return self.n

    @afield.method()
    def where(self) -> tuple[int, list[str], str]:
        return os.getpid(), self.entered, self.label

    @afield.method()
    def stream(self, count: int) -> Iterator[int]:
        for i in range(count):
            yield self.start + i

    @afield.method()
    def fail(self) -> None:
        raise ValueError(f"of {self.label}")

    @afield.method()
    def through_another(self) -> tuple[int, int]:
        """Its own start, and what another container of the same kind counts to."""
        return self.start, self.add.remote(5)

    @afield.method()
    def at_once(self) -> int:
        return self.add.local(100)

    @afield.method()
    def environment(self, name: str) -> str | None:
        return os.environ.get(name)


@app.cls()
class Own:
    """Has a constructor that takes anything."""

    def __init__(self, items: Any, *, scale: float = 1.0) -> None:
        self.items = items
        self.scale = scale

    @afield.method()
    def total(self) -> float:
        total: float = sum(self.items) * self.scale
        return total


@app.cls()
class Async:
    """Everything asynchronous, one method apart."""

    @afield.enter()
    async def load(self) -> None:
        await asyncio.sleep(0)
        self.ready = "ready"

    @afield.method()
    async def state(self) -> str:
        await asyncio.sleep(0)
        return self.ready

    @afield.method()
    async def stream(self, count: int) -> AsyncIterator[int]:
        for i in range(count):
            yield i

    @afield.method()
    def plain(self) -> str:
        return f"plain {self.ready}"


@app.cls()
class Leaves:
    """Says what its containers did in a file."""

    path: str = afield.parameter()

    def say(self, text: str) -> None:
        with Path(self.path).open("a") as file:
            file.write(text + "\n")

    @afield.enter()
    def come(self) -> None:
        self.say("enter")

    @afield.method()
    def work(self) -> None:
        self.say("work")

    @afield.exit()
    def fail_to_leave(self) -> None:
        self.say("exit 1")
        raise RuntimeError("the next one runs all the same")

    @afield.exit()
    async def leave(self) -> None:
        self.say("exit 2")


@app.cls()
class FailsToEnter:
    @afield.enter()
    def load(self) -> None:
        raise LookupError("no such model")

    @afield.method()
    def run(self) -> None: ...


@app.cls()
class FailsToBeMade:
    def __init__(self, n: int) -> None:
        self.share = 1 / n

    @afield.method()
    def run(self) -> float:
        return self.share


class Base:
    @afield.enter()
    def base_enter(self) -> None:
        self.seen = ["base"]

    @afield.method()
    def inherited(self) -> list[str]:
        return self.seen

    @afield.method()
    def overridden(self) -> str:
        return "base"


@app.cls()
class Derived(Base):
    @afield.enter()
    def derived_enter(self) -> None:
        self.seen.append("derived")

    @afield.method()
    def overridden(self) -> str:
        return f"derived from {super().overridden.local()}"


@app.cls()
class Further(Derived):
    """Inherits from a class of an app."""

    @afield.method()
    def own(self) -> str:
        return f"further {self.overridden.local()}"


@app.cls(max_containers=1)
@afield.concurrent(max_inputs=4)
class Threads:
    """Its inputs wait for each other, so they end only if they run at once."""

    @afield.enter()
    def load(self) -> None:
        self.barrier = threading.Barrier(4)

    @afield.method()
    def meet(self, i: int) -> tuple[int, str | None, int]:
        self.barrier.wait()
        return i, afield.current_input_id(), threading.get_ident()


@afield.concurrent(max_inputs=4)
@app.cls(max_containers=1)
class Tasks:
    """As Threads, with tasks."""

    @afield.enter()
    async def load(self) -> None:
        self.here = 0
        self.all_here = asyncio.Event()

    @afield.method()
    async def meet(self, i: int) -> tuple[int, str | None, int]:
        self.here += 1
        if self.here == 4:
            self.all_here.set()
        await self.all_here.wait()
        return i, afield.current_input_id(), threading.get_ident()


@app.function(max_containers=1)
def meet_later(i: int) -> int:
    """Concurrent only as a variant."""
    _barrier.wait(timeout=60)
    return i


_barrier = threading.Barrier(2)


@app.cls(max_containers=1)
class Batched:
    """Says how large its batches are."""

    @afield.batched(max_batch_size=4, wait_ms=200)
    def sizes(self, xs: list[int], scale: list[int]) -> list[tuple[int, int]]:
        return [(x * s, len(xs)) for x, s in zip(xs, scale, strict=True)]


@app.function()
@afield.batched(max_batch_size=3, wait_ms=50)
async def doubled(xs: list[int]) -> list[int]:
    if -1 in xs:
        return [1]
    if -2 in xs:
        raise ValueError("a bad batch")
    return [2 * x for x in xs]


@app.function()
def calls_it(counter: Any, k: int) -> int:
    """Calls an object that it was given."""
    result: int = counter.add.remote(k)
    return result


@app.function()
def calls_method(method: Any) -> Any:
    return method.remote()


@app.function()
def makes_one(start: int) -> tuple[int, int]:
    """Makes an object in a container."""
    made: Any = Counter
    return made(start=start, label="inner").add.remote(1), made.STEP if hasattr(made, "STEP") else -1


@app.function()
def setting(name: str) -> str | None:
    return os.environ.get(name)
