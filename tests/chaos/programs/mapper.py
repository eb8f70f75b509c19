"""The program under test: maps the inputs of a file, or makes a call for each, and writes down each result as it comes.

usage: mapper.py map|calls INPUTS RESULTS EFFECTS    (INPUTS: a JSON array a line: index, kind, seconds, failures)
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import afield

app = afield.App("chaos")

CALLERS = 6
"""Threads that make calls, one after another each."""


@app.function(
    retries=afield.Retries(max_retries=3, initial_delay=0.3, backoff_coefficient=2.0, max_delay=2.0),
    timeout=120,
    max_containers=int(os.environ.get("CHAOS_CONTAINERS", "6")),
)
def work(index: int, kind: str, seconds: float, failures: int, effects: str) -> int:
    """Leave a trace, then do what the recipe says."""
    append(effects, f"{index} {os.getpid()} {os.environ['AFIELD_WORKER_ID']} {time.monotonic():.6f}\n")
    if seconds:
        time.sleep(seconds)
    if failures < 0:
        raise ValueError(f"hopeless {index}")
    if failures and executions_so_far(effects, index) <= failures:
        raise RuntimeError(f"flaky {index}")
    return index * 7919 % 104_729


def append(path: str, line: str) -> None:
    """Add a line in one write: whole or not at all, whoever else writes."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def executions_so_far(effects: str, index: int) -> int:
    """Count an execution of a flaky input, and return how many there were."""
    fd = os.open(f"{effects}.{index}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, b".")
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def mapped(recipes: list[tuple[Any, ...]]) -> Iterator[object]:
    """Yield the results of one map."""
    return iter(work.starmap(recipes, return_exceptions=True))


def called(recipes: list[tuple[Any, ...]]) -> Iterator[object]:
    """Yield the results of single calls, made by several threads."""
    with ThreadPoolExecutor(CALLERS) as pool:
        yield from pool.map(call, recipes)


def call(recipe: tuple[Any, ...]) -> object:
    """Return the result of a call, or its error."""
    try:
        return work.remote(*recipe)
    except Exception as error:
        return error


def main(way: str, inputs: str, results: str, effects: str) -> None:
    """Run everything."""
    recipes = [(*json.loads(line), effects) for line in Path(inputs).read_text().splitlines()]
    with app.run(), open(results, "w", buffering=1) as out:
        for position, value in enumerate({"map": mapped, "calls": called}[way](recipes)):
            print(position, f"{time.monotonic():.6f}", shown(value), sep="\t", file=out)


def shown(value: object) -> str:
    """Return a value as one line of text; an error with a `!` before it."""
    text = f"!{type(value).__name__}: {value}" if isinstance(value, Exception) else str(value)
    return text.replace("\n", " ")


if __name__ == "__main__":
    main(*sys.argv[1:])
