"""Finds the GPUs of this host by NVML, the library that comes with NVIDIA's driver."""

import importlib
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from afield_common.log import get_logger
from afield_worker.gpu_names import kind_of
from afield_worker.gpus import Device

log = get_logger(__name__)


class Found(NamedTuple):
    """A device as the driver tells of it."""

    device: Device
    uuid: str
    split: bool
    """Whether it is split into instances (MIG): it cannot be given away as a whole then."""


def find_devices() -> list[Device]:
    """Return this host's devices, those that CUDA_VISIBLE_DEVICES hides from this process left out. Blocks.

    None without a driver, or without the package nvidia-ml-py (the extra `gpu`).
    """
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        log.debug("no GPUs: the package nvidia-ml-py is not installed")
        return []
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        log.debug("no GPUs: there is no driver", error=str(error))
        return []
    try:
        found = [_describe(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError as error:
        log.error("no GPUs: the driver does not tell of them", error=str(error))
        return []
    finally:
        nvml.nvmlShutdown()
    for each in found:
        if each.split:
            log.warning("a GPU is left out: it is split (MIG)", number=each.device.number, uuid=each.uuid)
    return visible([each for each in found if not each.split], os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(found: Sequence[Found], shown: str | None) -> list[Device]:
    """Return the devices that a value of CUDA_VISIBLE_DEVICES shows; all, if it is None. Pure.

    It names them by number or by the beginning of their UUID; what follows something unknown is hidden, as for CUDA.
    """
    if shown is None:
        return [each.device for each in found]
    devices: list[Device] = []
    for word in filter(None, map(str.strip, shown.split(","))):
        fitting = [each.device for each in found if _is_named(each, word)]
        if len(fitting) != 1 or fitting[0] in devices:
            break
        devices += fitting
    return sorted(devices)


def _is_named(found: Found, word: str) -> bool:
    return int(word) == found.device.number if word.isdecimal() else found.uuid.startswith(word)


def _describe(nvml: Any, index: int) -> Found:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory_mib = int(nvml.nvmlDeviceGetMemoryInfo(handle).total) // 2**20
    kind = kind_of(_text(nvml.nvmlDeviceGetName(handle)), memory_mib)
    return Found(Device(index, kind), _text(nvml.nvmlDeviceGetUUID(handle)), _is_split(nvml, handle))


def _is_split(nvml: Any, handle: Any) -> bool:
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:
        return False  # a model that cannot be split
    return bool(current)


def _text(value: str | bytes) -> str:
    # Bytes in versions of the package before 12.
    return value.decode() if isinstance(value, bytes) else value
