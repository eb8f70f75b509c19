"""Functions that the tests of calling run on a real platform."""

import asyncio
import ctypes
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import helper_module

import afield

app = afield.App("calling")

TOKEN_AT_IMPORT = os.urandom(8).hex()
counter = 0


@dataclasses.dataclass
class Point:
    """Travels both ways, and must be the same class on both sides."""

    x: int
    y: int


class OddError(Exception):
    """Needs two arguments, so a naive pickle of it fails."""

    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"odd {code}")
        self.code = code
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_odd, (self.code, self.hint))


def _rebuild_odd(code: int, hint: str) -> OddError:
    return OddError(code, hint=hint)


class StubbornError(Exception):
    """Cannot be unpickled: its reduction calls a constructor with too few arguments."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__("stubborn")
        self.sum = a + b

    def __reduce__(self) -> tuple[Any, ...]:
        return (StubbornError, (1,))


class LockedError(Exception):
    """Cannot be pickled: it holds a lock."""

    def __init__(self) -> None:
        super().__init__("locked up")
        self.guard = threading.Lock()


@app.function()
def square(x: int) -> int:
    return x * x


@app.function()
async def async_square(x: int) -> int:
    await asyncio.sleep(0)
    return x * x


@app.function()
def add(a: int, b: int, *, scale: int = 1) -> int:
    return (a + b) * scale


@app.function()
def count_up(n: int) -> Iterator[int]:
    yield from range(n)


@app.function()
async def async_count_up(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


@app.function()
def endless() -> Iterator[int]:
    i = 0
    while True:
        yield i
        i += 1


@app.function()
def failing_generator(n: int) -> Iterator[int]:
    yield from range(n)
    raise ValueError(f"gave up after {n}")


@app.function(name="renamed")
def original_name() -> str:
    return "renamed"


@app.function()
def call_square(x: int) -> int:
    return square.remote(x) + 1


@app.function()
def map_square(n: int) -> list[int]:
    return list(square.map(range(n)))


@app.function()
async def async_call_square(x: int) -> int:
    return await square.remote.aio(x) + 1


@app.function()
def count_calls() -> tuple[int, int]:
    global counter
    counter += 1
    return counter, os.getpid()


@app.function()
def move(point: Point, dx: int) -> Point:
    assert isinstance(point, Point)
    return Point(point.x + dx, point.y)


@app.function()
def shout(text: str) -> str:
    return helper_module.shout(text)


@app.function()
def read_own_source() -> str:
    return Path(__file__).read_text()


@app.function()
def module_facts() -> tuple[str, str, str]:
    return __name__, Path(__file__).name, os.getcwd()


@app.function()
def swap_case_bytes(data: bytes) -> bytes:
    return data[::-1]


@app.function()
def size_of(data: bytes) -> int:
    return len(data)


@app.function()
def make_bytes(n: int) -> bytes:
    return bytes(n)


@app.function()
def fail_plain(text: str) -> None:
    raise ValueError(text)


@app.function()
def fail_if_odd(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


@app.function()
def fail_odd() -> None:
    raise OddError(7, hint="try even")


@app.function()
def fail_chained() -> None:
    try:
        dict[str, int]()["missing"]
    except KeyError as error:
        raise RuntimeError("outer") from error


@app.function()
def fail_stubborn() -> None:
    raise StubbornError(1, 2)


@app.function()
def fail_locked() -> None:
    raise LockedError


@app.function()
def return_lock() -> object:
    return {"inner": [threading.Lock()]}


@app.function()
def call_sys_exit(code: int) -> None:
    sys.exit(code)


@app.function()
def call_os_exit(code: int) -> None:
    print("last words before the end", flush=True)
    os._exit(code)


@app.function()
def die_by_signal(number: int) -> None:
    print("about to die", flush=True)
    os.kill(os.getpid(), number)
    time.sleep(30)


@app.function()
def segfault() -> None:
    ctypes.string_at(0)


@app.function(memory=(64, 192))
def eat_memory(mib: int) -> int:
    held = []
    for _ in range(mib):
        held.append(b"x" * 2**20)
        time.sleep(0.002)
    return len(held)


@app.function()
def divert(x: int) -> int:
    """Kills its container for one input of many."""
    if x == 13:
        os._exit(9)
    return x


@app.function(timeout=1)
def too_slow() -> None:
    time.sleep(60)


@app.function()
def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@app.function()
def touch_after_nap(path: str, seconds: float) -> None:
    time.sleep(seconds)
    Path(path).touch()


@app.function()
def say(text: str) -> None:
    print(text)


@app.function()
def say_and_nap(number: int) -> None:
    time.sleep(0.5)
    print(f"talker {number}")
    time.sleep(0.5)


@app.function()
def say_everywhere() -> None:
    print("from-print")
    print("from-stderr", file=sys.stderr)
    os.write(1, b"from-os-write\n")
    subprocess.run(["sh", "-c", "echo from-subprocess"], check=True)
    ctypes.CDLL(None).puts(b"from-c-library")
    sys.stdout.write("no-newline-at-end")


@app.function()
def say_in_order(n: int) -> None:
    for i in range(n):
        print(f"line {i}")


@app.function()
def pid_once_then_nap(path: str, seconds: float) -> int:
    """Naps only on its first attempt, and says how often it was begun."""
    begun = 1 if not Path(path).exists() else 2
    Path(path).write_text(str(os.getpid()))
    if begun == 1:
        time.sleep(60)
    time.sleep(seconds)
    return begun


@app.function(scaledown_window=2)
def leave_daemon_behind(mark: str) -> int:
    """Starts a process that outlives the container unless somebody cleans up."""
    child = subprocess.Popen(["setsid", "sh", "-c", f"exec sleep 600 # {mark}"])
    return child.pid


@app.function(env={"COLOUR": "green"})
def environment() -> str:
    return os.environ["COLOUR"]


@app.function(max_containers=1)
def pid_of_the_only_one() -> int:
    time.sleep(0.01)
    return os.getpid()


@app.function(single_use_containers=True)
def pid_of_single_use() -> int:
    return os.getpid()


@app.function(scaledown_window=2)
def pid_with_short_window() -> int:
    return os.getpid()


@app.function()
def ids() -> tuple[str | None, str | None]:
    return afield.current_input_id(), afield.current_function_call_id()


@app.function()
def signal_names(number: int) -> str:
    return signal.Signals(number).name


if __name__ == "__main__":
    raise SystemExit("this block must never run in a container")


@app.function()
def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci.remote(n - 1) + fibonacci.remote(n - 2)


@app.function()
async def fibonacci_at_once(n: int) -> int:
    if n < 2:
        return n
    return sum(await asyncio.gather(*(fibonacci_at_once.remote.aio(n - k) for k in (1, 2))))


@app.function(cpu=1.0)
def sum_of_squares(n: int) -> int:
    return sum(square.map(range(n)))
