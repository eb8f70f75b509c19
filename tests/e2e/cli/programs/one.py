"""One entrypoint, one function: what most programs look like."""

import datetime as dt
from typing import Literal

import afield

app = afield.App("one")


@app.function()
def square(x: int) -> int:
    print(f"squaring {x}")
    return x * x


@app.local_entrypoint()
def main(
    n: int = 3,
    word: str = "w",
    ratio: float = 0.5,
    flag: bool = False,
    day: dt.datetime | None = None,
    size: Literal["s", "l"] = "s",
) -> None:
    print(square.remote(n), word, ratio, flag, day, size, __name__)


if __name__ == "__main__":
    print("the block of __main__ ran")
