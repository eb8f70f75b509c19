"""Entrypoints that leave something behind, and a function that writes what not every terminal has."""

import itertools

import afield
from afield.map_results import MapResults

app = afield.App("loose")
left: list[MapResults[int]] = []
"""Still there when the interpreter ends."""


@app.function()
def same(x: int) -> int:
    return x


@app.function()
def signs() -> None:
    print("plain")
    print("grün →")
    print("after")


@app.local_entrypoint()
def unfinished(fails: bool = False) -> None:
    results = same.map(itertools.count())
    left.append(results)
    print("first", next(results))
    if fails:
        raise ValueError("mine")
