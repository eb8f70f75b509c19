"""What a host has, and what fits into it."""

from pathlib import Path
from typing import Any

import pytest

from afield._wire.functions import Resources
from afield_worker import inventory
from afield_worker.inventory import Capacity
from support.pool import record

HOST = Capacity(2.0, 1000, ("process",), 64)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({}, ""),
        ({"resources": Resources(cpu=2.0, memory_mib=1000)}, ""),
        ({"resources": Resources(cpu=2.5)}, "it reserves 2.5 cores, there are 2"),
        ({"resources": Resources(memory_mib=1001)}, "it reserves 1001 MiB, 1000 of 1000 are free"),
        ({"resources": Resources(gpu=("T4", "L4"))}, "it needs a GPU (T4 or L4), this worker has none"),
        ({"runner": "podman"}, "it needs the runner 'podman', this worker has process"),
        ({"image": "im-1"}, "it needs the image im-1, this worker has only its own interpreter"),
    ],
)
def test_a_refusal_says_what_is_missing(spec: dict[str, Any], reason: str) -> None:
    """Empty means that it fits."""
    assert HOST.refusal(record(**spec).spec, []) == reason


@pytest.mark.parametrize(
    ("wanted", "free", "reason"),
    [
        ("H100", ("H100", "L4"), ""),
        ("any:2", ("H100", "L4"), ""),
        ("A100", ("H100",), "it needs a GPU (A100), this worker has H100, L4, of which are free: H100"),
        ("L4", (), "it needs a GPU (L4), this worker has H100, L4, of which are free: none"),
    ],
)
def test_devices_are_a_hard_bound(wanted: str, free: tuple[str, ...], reason: str) -> None:
    """What is free counts, not what the host has."""
    spec = record(resources=Resources(gpu=(wanted,))).spec
    assert HOST._replace(gpus=("H100", "L4")).refusal(spec, [], free) == reason


def test_declared_devices_are_numbered_in_order() -> None:
    """For tests, and for hosts whose driver does not tell."""
    gpus = inventory.host_gpus(["h100", "L4"])
    assert gpus.kinds == ("H100", "L4")
    assert inventory.host_gpus([]).kinds == ()


def test_memory_reservations_add_up() -> None:
    """Ten times 100 MiB are 1000; cores may be promised several times, as some containers need none for a while."""
    spec = record(resources=Resources(cpu=1.5, memory_mib=100)).spec
    taken = [spec.resources] * 9
    assert HOST.refusal(spec, taken) == ""
    assert "0 of 1000 are free" in HOST.refusal(spec, [*taken, spec.resources])


def test_containers_are_counted() -> None:
    """However little they reserve, there is a bound."""
    spec = record(resources=Resources(cpu=0.0, memory_mib=0)).spec
    assert HOST.refusal(spec, [spec.resources] * 63) == ""
    assert "no more than 64" in HOST.refusal(spec, [spec.resources] * 64)


@pytest.mark.parametrize(("cpus", "most"), [(0.5, 64), (2.0, 64), (8.0, 256)])
def test_the_bound_of_containers_grows_with_the_cores(cpus: float, most: int) -> None:
    """32 for each core, 64 at least, unless an operator says otherwise."""
    assert inventory.measure(cpus, 7, ()).max_containers == most
    assert inventory.measure(cpus, 7, (), 5).max_containers == 5


def test_a_cgroup_bounds_cores_and_memory(tmp_path: Path) -> None:
    """Its limits count if they are lower than the host's."""
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text(f"{64 * 2**20}\n")
    assert inventory.host_cpus(tmp_path) == 0.5
    assert inventory.host_memory_mib(tmp_path) == 64


def test_without_limits_the_host_counts(tmp_path: Path) -> None:
    """No cgroup, or one that says max."""
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert inventory.host_cpus(tmp_path) >= 1
    assert inventory.host_memory_mib(tmp_path) > 64


def test_figures_of_the_operator_are_taken_as_they_are() -> None:
    """They may be larger than the host."""
    assert inventory.measure(500.0, 7, ("process",)) == Capacity(500.0, 7, ("process",), 16_000)
