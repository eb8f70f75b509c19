"""GPUs as functions ask for them and hosts have them. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple


class GpuRequest(NamedTuple):
    """A kind of device, in upper case (`ANY` fits all), and how many."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}" if self.number > 1 else self.kind


def parse_gpu(text: str) -> GpuRequest:
    """Return what `A100-80GB:2` asks for. Raises ValueError for a count that is no positive number."""
    kind, colon, count = text.partition(":")
    if not kind or (colon and not (count.isdecimal() and int(count) > 0)):
        raise ValueError(f"expected a GPU like 'H100' or 'A100-80GB:2', got {text!r}")
    return GpuRequest(kind.upper(), int(count) if colon else 1)


def take(free: Iterable[str], wanted: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the devices that satisfy the first possible alternative of `wanted`; None if none can be.

    `free` are the kinds of the free devices. An empty `wanted` takes nothing.
    """
    if not wanted:
        return ()
    devices = sorted(free)
    for request in map(parse_gpu, wanted):
        fitting = [d for d in devices if request.kind in ("ANY", d.upper())]
        if len(fitting) >= request.number:
            return tuple(fitting[: request.number])
    return None


def without(devices: Iterable[str], taken: Iterable[str]) -> tuple[str, ...]:
    """Return `devices` less those `taken`, sorted."""
    left = Counter(devices)
    left.subtract(Counter(taken))
    return tuple(sorted(left.elements()))
