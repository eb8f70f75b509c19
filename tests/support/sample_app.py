"""An app for tests of the client on a real platform: containers import it as `support.sample_app`."""

import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from afield import App, Function

app = App("sample", tags={"kind": "test"})
other = App("other")

SEEN: list[int] = []


class CustomError(Exception):
    """With an attribute that is not an argument."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


@app.function()
def square(x: int) -> int:
    return x * x


@app.function(name="shout")
def say(text: str, *, end: str = "\n") -> None:
    sys.stdout.write(text + end)


@app.function()
async def later(x: int) -> int:
    return x + 1


@app.function()
def count(n: int) -> Iterator[int]:
    yield from range(n)


@app.function()
async def acount(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


@app.function()
def fail(code: int) -> None:
    raise CustomError(code)


@app.function()
def pid(_: Any = None) -> int:
    return os.getpid()


@app.function()
def remember(x: int) -> list[int]:
    SEEN.append(x)
    return SEEN


@app.function()
def echo(x: Any) -> Any:
    return x


@app.function()
def nested(n: int) -> int:
    return sum(square.map(range(n))) + square.remote(10)


@app.function()
def call_it(function: Function[..., Any, Any], x: int) -> Any:
    return function.remote(x)


@app.function()
def sleep(seconds: float) -> None:
    time.sleep(seconds)


@other.function()
def triple(x: int) -> int:
    return 3 * x
