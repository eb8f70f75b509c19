"""Folded stacks, as samplers write them: one line for each stack, `outermost;...;innermost COUNT`."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

LOOP: Final = "event loop"
"""Its own code, its system calls and its waits: uvloop is compiled, so all of that shows as whoever runs the loop."""
WAITS: Final = "waits"

_LEAVES: Final = (
    (re.compile(r"^(\w+\.)?(run|run_forever|run_until_complete|_run_once) \((asyncio|uvloop|anyio)/"), LOOP),
    (re.compile(r"^(\w+\.)?(select|poll) \(selectors\.py"), LOOP),
    (re.compile(r"^(\w+\.)?(wait|get|join|_wait_for_tstate_lock) \((threading|queue)\.py"), WAITS),
    (re.compile(r"^Waiter\.wait \(afield/_single\.py"), WAITS),
    (re.compile(r"^Link\.(_read|wait) \(afield/_guest/link\.py"), WAITS),
)


Stacks = Counter[tuple[str, ...]]
"""How often each stack was seen, outermost function first."""


class Share(NamedTuple):
    """A function, and its parts (0 to 1) of the samples."""

    function: str
    """`name (file)`."""
    itself: float
    """Samples taken in its own code, and in what it calls that is compiled."""
    within: float
    """Samples taken in it or in what it calls."""


def parse(lines: Iterable[str]) -> Stacks:
    """Return the stacks. Raises ValueError for what is no such line.

    Samples without a stack, which a sampler takes when the stack changes under its hands, are left out.
    """
    stacks: Stacks = Counter()
    for line in lines:
        if not line.strip():
            continue
        stack, _, count = line.rstrip().rpartition(" ")
        if not count.isdigit():
            raise ValueError(f"expected `function;function COUNT`, got {line!r}")
        if stack:
            stacks[tuple(stack.split(";"))] += int(count)
    return stacks


def aside(stacks: Stacks) -> dict[str, float]:
    """Return the parts (0 to 1) of all samples that are in LOOP and in WAITS: time that no function of ours is to blame for."""
    counts: Counter[str] = Counter()
    for stack, count in stacks.items():
        counts[_aside(stack[-1])] += count
    total = sum(stacks.values())
    return {name: counts[name] / total if total else 0.0 for name in (LOOP, WAITS)}


def rank(stacks: Stacks) -> list[Share]:
    """Return the functions in all other samples, the one with the largest part of its own first."""
    itself: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for stack, count in stacks.items():
        if not _aside(stack[-1]):
            itself[stack[-1]] += count
            for function in set(stack):
                within[function] += count
    total = sum(itself.values())
    shares = [Share(function, itself[function] / total, within[function] / total) for function in within]
    return sorted(shares, key=lambda share: (-share.itself, -share.within, share.function))


def _aside(function: str) -> str:
    """Return LOOP or WAITS for a function that is one, else nothing."""
    return next((name for pattern, name in _LEAVES if pattern.match(function)), "")
