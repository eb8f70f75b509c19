"""GPUs as functions ask for them and hosts have them. Pure; the scheduler and the workers choose by the same rules."""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from afield.resources import GpuRequest, parse_gpu

ANY: Final = "ANY"
"""The kind that every device is of."""

parse: Final = lru_cache(maxsize=1024)(parse_gpu)
"""As parse_gpu, for requests that are looked at again and again."""


def choose(free: Iterable[str], wanted: tuple[str, ...]) -> tuple[int, tuple[str, ...]] | None:
    """Return which alternative of `wanted` can be had, the first that can, and the devices; None if none can.

    `free` are the kinds of the free devices. An empty `wanted` takes nothing, as its alternative 0. Raises InvalidError
    for an alternative that is no request for a device.
    """
    if not wanted:
        return 0, ()
    devices = sorted(free)
    for number, request in enumerate(map(parse, wanted)):
        fitting = [device for device in devices if fits(request, device)]
        if len(fitting) >= request.quantity:
            return number, tuple(fitting[: request.quantity])
    return None


def take(free: Iterable[str], wanted: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the devices for the first alternative of `wanted` that can be had; None if none can. See `choose`."""
    chosen = choose(free, wanted)
    return None if chosen is None else chosen[1]


def fits(request: GpuRequest, device: str) -> bool:
    """Tell whether a device is of the kind that is asked for: an `A100-80GB` is an `A100`, too."""
    return request.name == ANY or f"{device.upper()}-".startswith(f"{request.name}-")


def without(devices: Iterable[str], taken: Iterable[str]) -> tuple[str, ...]:
    """Return `devices` less those `taken`, sorted."""
    left = Counter(devices)
    left.subtract(Counter(taken))
    return tuple(sorted(left.elements()))
