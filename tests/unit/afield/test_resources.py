"""Tests of afield.resources."""

from typing import Any

import pytest

from afield._wire.functions import Resources
from afield.exception import InvalidError
from afield.resources import GpuRequest, parse_gpu, parse_resources


def test_defaults() -> None:
    """Nothing asked for is an eighth of a core and 128 MiB, without limits."""
    assert parse_resources() == Resources(cpu=0.125, memory_mib=128)


def test_numbers_are_reservations() -> None:
    """A single number is reserved, and may be exceeded."""
    found = parse_resources(cpu=2, memory=512)
    assert (found.cpu, found.cpu_limit, found.memory_mib, found.memory_limit_mib) == (2.0, None, 512, None)


def test_pairs_have_limits() -> None:
    """The second of a pair is a hard limit."""
    found = parse_resources(cpu=(0.5, 4), memory=(512, 1024))
    assert (found.cpu, found.cpu_limit, found.memory_mib, found.memory_limit_mib) == (0.5, 4.0, 512, 1024)


@pytest.mark.parametrize(
    ("gpu", "kept"),
    [
        (None, ()),
        ("H100", ("H100",)),
        ("A100-80GB:2", ("A100-80GB:2",)),
        (["h100:8", " any "], ("h100:8", "any")),
        (("T4",), ("T4",)),
    ],
)
def test_gpus_in_order_of_preference(gpu: Any, kept: tuple[str, ...]) -> None:
    """Devices stay as the user wrote them, in order."""
    assert parse_resources(gpu=gpu).gpu == kept


def test_gpu_request() -> None:
    """A device request is a name and how many."""
    assert parse_gpu("a100-80gb:2") == GpuRequest("A100-80GB", 2)
    assert parse_gpu("T4") == GpuRequest("T4", 1)


@pytest.mark.parametrize(
    "gpu", ["", "H100:0", "H100:x", "H100:", ":2", "H 100", "-H100", 3, [], ["H100", None], {}]
)
def test_bad_gpu(gpu: Any) -> None:
    """A device request of another form is refused, with examples."""
    with pytest.raises(InvalidError, match="expected gpu to be"):
        parse_resources(gpu=gpu)


@pytest.mark.parametrize(
    "cpu", [0, -1, "2", True, float("nan"), float("inf"), (2, 1), (1,), (1, 2, 3), (1, 0)]
)
def test_bad_cpu(cpu: Any) -> None:
    """What is no number of cores, or a limit below the reservation, is refused."""
    with pytest.raises(InvalidError, match="cpu"):
        parse_resources(cpu=cpu)


@pytest.mark.parametrize("memory", [0, -1, 0.5, "2", True, (2048, 1024), (1,), (None, 1024), (128, "1")])
def test_bad_memory(memory: Any) -> None:
    """What is no whole number of MiB, or a limit below the reservation, is refused."""
    with pytest.raises(InvalidError, match="memory"):
        parse_resources(memory=memory)
