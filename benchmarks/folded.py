"""Folded stacks, as samplers write them: one line for each stack, `outermost;...;innermost COUNT`."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

LOOP: Final = "event loop: its own code and system calls"
WAITS: Final = "waits: falling asleep, waking up"

_LEAVES: Final = (
    # uvloop is compiled: what it does itself looks as if whoever runs it did it.
    (re.compile(r"^(\w+\.)?(run|run_forever|run_until_complete|_run_once) \((asyncio|uvloop|anyio)/"), LOOP),
    (re.compile(r"^(\w+\.)?(select|poll) \(selectors\.py"), WAITS),
    (re.compile(r"^(\w+\.)?(wait|get|join|_wait_for_tstate_lock) \((threading|queue)\.py"), WAITS),
    (re.compile(r"^Waiter\.wait \(afield/_single\.py"), WAITS),
)


Stacks = Counter[tuple[str, ...]]
"""How often each stack was seen, outermost function first."""


class Share(NamedTuple):
    """A function, and its parts (0 to 1) of all samples."""

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


def rank(stacks: Stacks) -> list[Share]:
    """Return all functions, the one with the largest part of its own first.

    Event loops and waits go by names of ours, whatever function of whatever library they show as.
    """
    itself: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for stack, count in stacks.items():
        named = (*stack[:-1], _leaf(stack[-1]))
        itself[named[-1]] += count
        for function in set(named):
            within[function] += count
    total = sum(stacks.values())
    shares = [Share(function, itself[function] / total, within[function] / total) for function in within]
    return sorted(shares, key=lambda share: (-share.itself, -share.within, share.function))


def _leaf(function: str) -> str:
    return next((name for pattern, name in _LEAVES if pattern.match(function)), function)
