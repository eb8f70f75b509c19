"""The inputs of a round: what each does, and what must come of it. Pure."""

import random
from typing import Final, Literal, NamedTuple

Kind = Literal["quick", "slow", "flaky", "hopeless"]

RETRIES: Final = 3
"""Retries of the function under test."""

SLOW: Final = (0.05, 0.5)
"""Seconds that a slow input sleeps."""

FACTOR: Final = 7919
PRIME: Final = 104_729
"""The function returns the number of its input times FACTOR, modulo PRIME: as programs/mapper.py has it."""

FLAKY_SHARE: Final = 0.02
HOPELESS_SHARE: Final = 0.01


class Recipe(NamedTuple):
    """One input."""

    number: int
    kind: Kind
    seconds: float
    """Seconds that it sleeps."""
    failures: int
    """Executions that raise; -1 for all."""


def make_recipes(seed: int, count: int, asleep: float) -> list[Recipe]:
    """Return `count` inputs that sleep for about `asleep` seconds together."""
    rng = random.Random(f"recipes/{seed}")
    mean = sum(SLOW) / 2
    slow_share = min(1.0 - FLAKY_SHARE - HOPELESS_SHARE, asleep / mean / count)
    return [_make(rng, number, slow_share) for number in range(count)]


def _make(rng: random.Random, number: int, slow_share: float) -> Recipe:
    dice = rng.random()
    if dice < slow_share:
        return Recipe(number, "slow", round(rng.uniform(*SLOW), 3), 0)
    if dice < slow_share + FLAKY_SHARE:
        return Recipe(number, "flaky", 0.0, rng.randint(1, RETRIES))
    if dice < slow_share + FLAKY_SHARE + HOPELESS_SHARE:
        return Recipe(number, "hopeless", 0.0, -1)
    return Recipe(number, "quick", 0.0, 0)


def expected(recipe: Recipe) -> str:
    """Return what the caller must see: the value as text, or `!` and the error."""
    if recipe.failures < 0:
        return f"!ValueError: hopeless {recipe.number}"
    return str(recipe.number * FACTOR % PRIME)


def number_of(outcome: object) -> int:
    """Return the number of the input that ended in this value, or in an error with this message."""
    if isinstance(outcome, int):
        return outcome * pow(FACTOR, -1, PRIME) % PRIME
    return int(str(outcome).split()[-1])


def executions(recipe: Recipe) -> int:
    """Return how often it runs when nothing is lost."""
    return RETRIES + 1 if recipe.failures < 0 else recipe.failures + 1
