"""Processor, memory and device requests of a function, checked."""

import math
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from afield._wire.functions import Resources
from afield.exception import InvalidError

_GPU: Final = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]|[A-Za-z])(:(?P<quantity>[1-9][0-9]*))?\Z"
)


class GpuRequest(NamedTuple):
    """One acceptable kind of device, and how many of it."""

    name: str
    """In capitals; `ANY` for any."""
    quantity: int


def parse_resources(
    *,
    cpu: float | tuple[float, float] | None = None,
    memory: int | tuple[int, int] | None = None,
    gpu: str | Sequence[str] | None = None,
) -> Resources:
    """Return the resources for a function's arguments.

    `cpu`: cores reserved (default 0.125), or a pair (reserved, limit). `memory`: MiB reserved (default 128), or a pair
    (reserved, limit); going over the limit ends the container. `gpu`: `"A100-80GB:2"`, or several in order of preference.
    Raises InvalidError for anything else.
    """
    defaults = Resources()
    cores, cores_limit = _pair("cpu", cpu)
    mib, mib_limit = _pair("memory", memory)
    return Resources(
        cpu=defaults.cpu if cores is None else _cores(cores),
        cpu_limit=None if cores_limit is None else _cores(cores_limit),
        memory_mib=defaults.memory_mib if mib is None else _mib(mib),
        memory_limit_mib=None if mib_limit is None else _mib(mib_limit),
        gpu=_gpus(gpu),
    )


def parse_gpu(text: str) -> GpuRequest:
    """Return what a device request such as `"H100"`, `"any"` or `"A100-80GB:2"` asks for. Raises InvalidError."""
    match = _GPU.match(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise InvalidError(f"expected gpu to be like 'A10G', 'H100:8' or 'A100-80GB:2', got {text!r}")
    return GpuRequest(match["name"].upper(), int(match["quantity"] or 1))


def _gpus(gpu: object) -> tuple[str, ...]:
    if gpu is None:
        return ()
    wanted = [gpu] if isinstance(gpu, str) else gpu
    if not isinstance(wanted, (list, tuple)) or not wanted:
        raise InvalidError(f"expected gpu to be a string or a list of strings, got {gpu!r}")
    for each in wanted:
        parse_gpu(each)
    return tuple(each.strip() for each in wanted)


def _pair(name: str, value: object) -> tuple[object, object]:
    """Return (reserved, limit); None where nothing was said."""
    if not isinstance(value, (tuple, list)):
        return value, None
    if len(value) != 2 or None in value:
        raise InvalidError(f"expected {name} to be a number or a pair (reserved, limit), got {value!r}")
    reserved, limit = value
    if _is_number(reserved) and _is_number(limit) and limit < reserved:
        raise InvalidError(
            f"expected the limit of {name} to be at least what is reserved, got {tuple(value)!r}"
        )
    return reserved, limit


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _cores(value: object) -> float:
    if not _is_number(value) or not value > 0:  # type: ignore[operator]
        raise InvalidError(f"expected cpu to be a number of cores above 0, got {value!r}")
    return float(value)  # type: ignore[arg-type]


def _mib(value: object) -> int:
    if not _is_number(value) or int(value) != value or value <= 0:  # type: ignore[call-overload,operator]
        raise InvalidError(f"expected memory to be a whole number of MiB above 0, got {value!r}")
    return int(value)  # type: ignore[call-overload,no-any-return]
