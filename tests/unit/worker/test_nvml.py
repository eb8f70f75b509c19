"""afield_worker.nvml: the devices of this host."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from afield_worker.gpus import Device
from afield_worker.nvml import Found, find_devices, visible


class FakeNvml:
    """The functions of the library that are called, and two devices: a T4, and an A100 that is split or not."""

    class NVMLError(Exception):
        """As the library raises it."""

    def __init__(self, *, driver: bool = True, split: bool = False) -> None:
        self.driver, self.split = driver, split

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.driver:
            raise self.NVMLError("Driver Not Loaded")

    def __getattr__(self, name: str) -> Any:
        names = [b"Tesla T4", "NVIDIA A100-SXM4-80GB"]  # bytes in older versions
        answers = {
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetName": lambda index: names[index],
            "nvmlDeviceGetUUID": lambda index: f"GPU-{index}aa",
            "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(total=16 << 30),
            "nvmlDeviceGetMigMode": self._mig_mode,
        }
        if name not in answers:
            raise AttributeError(name)
        return answers[name]

    def _mig_mode(self, index: int) -> list[int]:
        if index == 0:
            raise self.NVMLError("Not Supported")
        return [int(self.split), 0]


@pytest.fixture(autouse=True)
def no_hidden_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this process may see."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_devices_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number and kind."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    assert find_devices() == [Device(0, "T4"), Device(1, "A100-80GB")]


def test_a_split_device_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be given away as a whole."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(split=True))
    assert find_devices() == [Device(0, "T4")]


@pytest.mark.parametrize("installed", [False, True])
def test_without_package_or_driver_there_are_none(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    """Which is no error."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(driver=False) if installed else None)
    assert find_devices() == []


@pytest.mark.parametrize(
    ("shown", "numbers"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("2,0", [0, 2]),
        (" GPU-b , 0", [0, 1]),
        ("0,7,1", [0]),
        ("0,GPU-", [0]),
        ("1,1,0", [1]),
        ("MIG-1,0", []),
    ],
)
def test_what_is_hidden_from_the_worker_is_not_its_own(shown: str | None, numbers: list[int]) -> None:
    """CUDA_VISIBLE_DEVICES of the worker holds for its containers too."""
    found = [Found(Device(n, "L4"), f"GPU-{uuid}", False) for n, uuid in enumerate(["a1", "b2", "c3"])]
    assert [device.number for device in visible(found, shown)] == numbers
