"""afield_worker.runners.cgroups: what is written into control groups, and read from them."""

from pathlib import Path

import pytest

from afield._cgroups import Base
from afield._wire.functions import Resources
from afield_worker.runners.cgroups import Group, Limits, Setting, settings


@pytest.mark.parametrize(
    ("controller", "version", "limits", "expected"),
    [
        ("cpu", 1, Limits(2.0), {"cpu.shares": "2048"}),
        ("cpu", 1, Limits(0.0001), {"cpu.shares": "2"}),
        ("cpu", 2, Limits(0.125), {"cpu.weight": "12"}),
        ("cpu", 2, Limits(1000.0), {"cpu.weight": "10000"}),
        ("cpu", 2, Limits(1.0, 1.5), {"cpu.weight": "100", "cpu.max": "150000 100000"}),
        (
            "cpu",
            1,
            Limits(1.0, 0.5),
            {"cpu.shares": "1024", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"},
        ),
        ("memory", 1, Limits(1.0, None, 1), {"memory.limit_in_bytes": "1048576"}),
        ("memory", 2, Limits(1.0, None, 1), {"memory.max": "1048576"}),
    ],
)
def test_settings(controller: str, version: int, limits: Limits, expected: dict[str, str]) -> None:
    """Weights and limits in the terms of each version."""
    found = settings(controller, version, limits)
    assert {each.file: each.value for each in found if not each.optional} == expected


def test_swap_is_no_way_around_a_limit() -> None:
    """Where the kernel counts it."""
    assert Setting("memory.swap.max", "0", optional=True) in settings("memory", 2, Limits(1.0, None, 1))
    assert Setting("memory.memsw.limit_in_bytes", "1048576", optional=True) in settings(
        "memory", 1, Limits(1.0, None, 1)
    )


def test_limits_of_a_function() -> None:
    """Reservations are weights, and limits are limits."""
    asked = Resources(cpu=0.5, cpu_limit=2.0, memory_mib=100, memory_limit_mib=200)
    assert Limits.of(asked) == Limits(0.5, 2.0, 200)


def test_figures_of_version_2(tmp_path: Path) -> None:
    """Peak, kills and processor time."""
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    (tmp_path / "memory.peak").write_text("2097152\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    group = Group({"memory": Base(2, tmp_path), "cpu": Base(2, tmp_path)})
    assert (group.oom_kills(), group.peak_kib(), group.cpu_s()) == (2, 2048, 1.5)


def test_figures_of_version_1(tmp_path: Path) -> None:
    """The same, but for processor time, which another controller counts."""
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    (tmp_path / "memory.max_usage_in_bytes").write_text("1048576\n")
    group = Group({"memory": Base(1, tmp_path), "cpu": Base(1, tmp_path)})
    assert (group.oom_kills(), group.peak_kib(), group.cpu_s()) == (1, 1024, 0.0)


def test_what_a_kernel_does_not_tell_is_zero(tmp_path: Path) -> None:
    """Older ones have no peak."""
    group = Group({"memory": Base(2, tmp_path)})
    assert (group.oom_kills(), group.peak_kib(), group.cpu_s()) == (0, 0, 0.0)
    assert (Group({}).oom_kills(), Group({}).peak_kib()) == (0, 0)
