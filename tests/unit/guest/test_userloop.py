"""The loop of user code, and its context."""

import asyncio
import contextvars
import threading

import pytest

from afield._guest.userloop import UserLoop

v: contextvars.ContextVar[str] = contextvars.ContextVar("v", default="outside")


async def forget() -> None:
    """Leave a task behind."""
    asyncio.get_running_loop().forgotten = asyncio.Task(asyncio.sleep(1000), name="left")  # type: ignore[attr-defined]


async def get() -> str:
    return v.get()


async def put(value: str) -> None:
    v.set(value)


async def loop_id() -> int:
    return id(asyncio.get_running_loop())


def test_all_that_it_runs_shares_a_context() -> None:
    """Synchronous or not; what is outside has its own."""
    loop = UserLoop()
    loop.run(put("inside"))

    assert loop.run(get()) == "inside"
    assert loop.call(v.get) == "inside"
    loop.call(lambda: v.set("set"))
    assert loop.run(get()) == "set"
    assert v.get() == "outside"
    loop.close()


def test_a_loop_that_was_closed_is_made_anew() -> None:
    """Its threads are gone before, and its context stays."""
    loop = UserLoop()
    loop.close()  # of none: nothing to do
    loop.run(put("kept"))
    loop.run(asyncio.to_thread(int))
    before = threading.active_count()

    loop.close()

    assert threading.active_count() < before
    assert loop.run(get()) == "kept"
    loop.close()


def test_what_is_left_running_is_known_and_ended() -> None:
    """By its name."""
    loop = UserLoop()
    assert loop.tasks() == []
    loop.run(forget())
    left = loop.tasks()

    loop.end()

    assert (left, loop.tasks()) == (["left"], [])
    loop.close()


def test_what_ends_the_process_comes_out() -> None:
    """Of whichever task."""
    loop = UserLoop()

    async def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        loop.run(leave())
    assert isinstance(loop.run(loop_id()), int)
    loop.close()
