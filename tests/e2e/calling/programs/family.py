"""Functions that are cancelled, and functions that call others: each notes in a folder what happens to it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import afield
from afield.exception import InputCancellation

app = afield.App("family")

T = TypeVar("T")


def note(folder: str, name: str, what: str) -> None:
    """Leave a file that says what happened to whom, in which process."""
    Path(folder, f"{name}.{what}.{os.getpid()}.{time.time_ns()}").touch()


def noted(folder: str, name: str, work: Callable[[], T]) -> T:
    """Note how `work` begins and ends. No context manager: an interruption may come before its block is entered."""
    try:
        note(folder, name, "begun")
        value = work()
    except InputCancellation:
        note(folder, name, "cancelled")
        raise
    note(folder, name, "done")
    return value


@asynccontextmanager
async def noted_async(folder: str, name: str) -> AsyncIterator[None]:
    """As `noted`, for asynchronous code."""
    note(folder, name, "begun")
    try:
        yield
    except asyncio.CancelledError:
        note(folder, name, "cancelled")
        raise
    note(folder, name, "done")


@app.function(retries=3)
def sleeper(folder: str, name: str, seconds: float = 600) -> str:
    noted(folder, name, lambda: time.sleep(seconds))
    return name


@app.function(retries=3)
async def async_sleeper(folder: str, name: str, seconds: float = 600) -> str:
    async with noted_async(folder, name):
        await asyncio.sleep(seconds)
    return name


@app.function(max_containers=1)
def queuer(folder: str, name: str, seconds: float = 600) -> str:
    noted(folder, name, lambda: time.sleep(seconds))
    return name


@app.function()
def counter(folder: str, name: str) -> Iterator[int]:
    try:
        note(folder, name, "begun")
        yield 1
        time.sleep(600)
    except InputCancellation:
        note(folder, name, "cancelled")
        raise


@app.function(max_containers=3)
def child(folder: str, name: str) -> str:
    def last() -> None:
        time.sleep(1)
        note(folder, name, "lasting")
        time.sleep(600)

    noted(folder, name, last)
    return name


@app.function()
def middle(folder: str, name: str) -> str:
    return noted(folder, name, lambda: child.remote(folder, f"{name}-child"))


@app.function()
def parent(folder: str, how: str) -> object:
    """Waits for calls of its own, or leaves them alone and sleeps."""
    names = [f"child-{n}" for n in range(8)]

    def wait() -> object:
        match how:
            case "remote":
                return child.remote(folder, "child-0")
            case "map":
                return list(child.map([folder] * len(names), names))
            case "spawn":
                calls = [child.spawn(folder, name) for name in names]
                time.sleep(600)
                return calls
            case "spawn_map":
                child.spawn_map([folder] * len(names), names)
                time.sleep(600)
                return None
            case "gather":
                return afield.FunctionCall.gather(*(child.spawn(folder, name) for name in names))
            case "grandchild":
                return middle.remote(folder, "middle")
            case _:
                raise ValueError(how)

    return noted(folder, "parent", wait)


@app.function()
@afield.concurrent(max_inputs=4)
def threaded_parent(folder: str, name: str) -> str:
    """Waits in a thread, which takes no signals; several in one container."""
    return noted(folder, name, lambda: child.remote(folder, f"{name}-child"))


@app.function()
def pooling_parent(folder: str) -> list[str]:
    """Waits in threads of its own, of which nobody knows what they wait for."""

    def wait() -> list[str]:
        with ThreadPoolExecutor(3) as pool:
            return list(pool.map(lambda n: child.remote(folder, f"child-{n}"), range(3)))

    return noted(folder, "parent", wait)


@app.function()
async def async_parent(folder: str, how: str) -> object:
    """As `parent`."""
    names = [f"child-{n}" for n in range(8)]
    async with noted_async(folder, "parent"):
        if how == "gather":
            return await asyncio.gather(*(child.remote.aio(folder, name) for name in names))
        return [x async for x in child.map.aio([folder] * len(names), names)]


@app.function(retries=2)
def unlucky(folder: str) -> None:
    attempt = len(list(Path(folder).iterdir())) + 1
    note(folder, "unlucky", "begun")
    raise ValueError(f"attempt {attempt} failed")


@app.function(timeout=1)
def busy() -> None:
    spin_for_ever()


def spin_for_ever() -> None:
    while True:
        time.sleep(0.01)
