"""What a program says about its peer: how to start it, and how a user of it would do each work."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import NoReturn, TypeVar

T = TypeVar("T")
Fly = Callable[[Sequence[int]], list[int]]


class NotApplicableError(Exception):
    """The peer has no such thing; the text says why."""


class Peer:
    """A system that calls functions elsewhere. `measures.py` times the methods and looks at what they return.

    What a peer does not override it cannot do.
    """

    client_is_part = False
    """Whether the client's process does work of the system, so that its memory counts."""

    def start(self, slots: int) -> None:
        """Start everything, so that `slots` inputs can run at once. Need not wait until it is ready."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop what was started; may be called after a start that failed half way."""
        raise NotImplementedError

    def call(self, value: int) -> int:
        """Call a function that returns its argument, and block until the result is there."""
        raise NotImplementedError

    def map(self, values: Sequence[int]) -> list[int]:
        """Call that function for each value, with a result for each, and return them in order."""
        raise NotImplementedError

    def batches(self, values: Sequence[int], size: int) -> list[int]:
        """As `map`, with `size` values in one call, as most documentation advises for tiny work."""
        not_applicable("it has no calls with several inputs")

    def naps(self, count: int, seconds: float) -> list[float]:
        """Call a function that sleeps and returns its argument so many times at once, return the results."""
        raise NotImplementedError

    def flights(self) -> AbstractContextManager[Fly]:
        """Return a block in which calls can be made asynchronously: all at once, results in order."""
        raise NotImplementedError

    def nested(self, count: int) -> int:
        """Call a function that calls another for 0, 1 ... count - 1 and returns the sum."""
        not_applicable("it runs no functions")

    def echo(self, data: bytes) -> bytes:
        """Send bytes to a function that returns them."""
        raise NotImplementedError

    def before_cold(self) -> None:
        """Make sure that the next cold call finds no process; the time of it does not count."""

    def cold(self, number: int) -> int:
        """Make a call, returning its argument `number`, for which a process must be started first."""
        not_applicable("it has no notion of a cold start")


def not_applicable(reason: str) -> NoReturn:
    """Raise NotApplicableError."""
    raise NotApplicableError(reason)


def cut(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield neighbouring values, `size` at a time."""
    for first in range(0, len(values), size):
        yield values[first : first + size]


def joined(parts: Iterable[Iterable[T]]) -> list[T]:
    """Return the values of all parts, in order."""
    return list(chain.from_iterable(parts))
