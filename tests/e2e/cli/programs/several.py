"""Several of everything."""

import sys
from collections.abc import Iterator

import afield

app = afield.App("several")


@app.function()
def double(x: int) -> str:
    return f"double {2 * x}"


@app.function()
def raw(*args: str) -> str:
    return f"raw {args}"


@app.function()
def blob() -> bytes:
    return b"\x00\xff"


@app.function()
def number() -> int:
    return 1


@app.function()
def unannotated():  # type: ignore[no-untyped-def]
    return 1


@app.function()
def numbers() -> Iterator[int]:
    yield 1


def helper(x: int) -> float:
    return 1 / x


@app.function()
def boom(x: int = 0) -> float:
    return helper(x)


@app.local_entrypoint()
async def later(x: int) -> None:
    print("later", await double.remote.aio(x))


@app.local_entrypoint()
def local_boom() -> None:
    helper(0)


@app.local_entrypoint()
def leave() -> None:
    sys.exit(7)
