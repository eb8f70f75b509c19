"""Instances on this side: made once, entered once, before the first call."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

import afield
from afield._class_hooks import find_hooks
from afield._local_object import LocalObject
from afield.exception import InvalidError


class Plain:
    made: list[str]
    start: int = afield.parameter(default=1)

    @afield.enter(snap=True)
    def early(self) -> None:
        self.made = ["early"]

    @afield.enter()
    def late(self) -> None:
        self.made.append("late")

    @afield.method()
    def read(self, x: int) -> Any:
        return [*self.made, self.start + x]

    @afield.exit()
    def leave(self) -> None:
        self.made.append("left")


class Async:
    count = 0

    @afield.enter()
    async def load(self) -> None:
        await asyncio.sleep(0)
        self.count += 1

    @afield.method()
    def plain(self) -> int:
        return self.count

    @afield.method()
    async def later(self) -> int:
        return self.count

    @afield.method()
    async def walk(self) -> AsyncIterator[int]:
        yield self.count


def local(user_cls: type, **parameters: Any) -> LocalObject:
    """An instance of a class."""
    return LocalObject(user_cls, find_hooks(user_cls), (), parameters, lambda _made: None)


def call(instance: LocalObject, name: str, *args: Any) -> Any:
    """Call one of its methods."""
    return instance.call(instance._hooks.methods[name], *args)


def test_hooks_run_once_before_the_first_call() -> None:
    """Both kinds of enter; exit is for containers."""
    instance = local(Plain, start=10)

    assert call(instance, "read", 1) == ["early", "late", 11]
    assert call(instance, "read", 2) == ["early", "late", 12]


def test_attributes_need_no_hooks() -> None:
    """Reading a parameter loads no model."""
    instance = local(Plain, start=10)

    assert instance.instance.start == 10
    assert not hasattr(instance.instance, "made")
    assert instance.instance is instance.instance


def test_whoever_makes_it_is_told() -> None:
    """So that its methods find their containers."""
    seen: list[Any] = []
    instance = LocalObject(Plain, find_hooks(Plain), (), {}, seen.append)

    assert [instance.instance] == seen


def test_a_failing_hook_is_tried_again() -> None:
    """It has not entered then."""

    class Fails:
        tries = 0

        @afield.enter()
        def load(self) -> None:
            self.tries += 1
            if self.tries == 1:
                raise OSError("not yet")

        @afield.method()
        def read(self) -> int:
            return self.tries

    instance = local(Fails)
    with pytest.raises(OSError, match="not yet"):
        call(instance, "read")
    assert call(instance, "read") == 2


def test_threads_enter_once() -> None:
    """The second waits for the first."""
    gate = threading.Event()

    class Slow:
        entered = 0

        @afield.enter()
        def load(self) -> None:
            gate.wait()
            self.entered += 1

        @afield.method()
        def read(self) -> int:
            return self.entered

    instance = local(Slow)
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(call(instance, "read"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()

    assert seen == [1, 1, 1]


def test_a_plain_method_waits_for_asynchronous_hooks() -> None:
    """Where no event loop runs."""
    instance = local(Async)

    assert (call(instance, "plain"), call(instance, "plain")) == (1, 1)


@pytest.mark.anyio
async def test_asynchronous_methods_await_asynchronous_hooks() -> None:
    """Once, also when several are under way."""
    instance = local(Async)

    assert [*await asyncio.gather(call(instance, "later"), call(instance, "later"))] == [1, 1]
    assert [value async for value in call(instance, "walk")] == [1]
    assert [value async for value in call(local(Async), "walk")] == [1]


@pytest.mark.anyio
async def test_a_plain_method_cannot_wait_in_a_loop() -> None:
    """It says what to do."""
    with pytest.raises(InvalidError, match=r"asynchronous enter hook \(load\)"):
        call(local(Async), "plain")
