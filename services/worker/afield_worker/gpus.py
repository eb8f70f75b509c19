"""Which container has which of this host's GPUs. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from afield_common.devices import take


class Device(NamedTuple):
    """A GPU."""

    number: int
    """Its number on this host, in the order of the PCI bus."""
    kind: str
    """As functions ask for it: `H100`."""


class NoDeviceError(Exception):
    """Raised when there is no free device for a container: whoever asks must look first."""


class Gpus:
    """The devices of a host. Each belongs to one container at most, from `allot` to `free`."""

    def __init__(self, devices: Sequence[Device] = ()) -> None:
        self._devices = tuple(devices)
        self._taken: dict[str, tuple[Device, ...]] = {}
        """By container."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """One for each device of the host."""
        return tuple(device.kind for device in self._devices)

    @property
    def free_kinds(self) -> tuple[str, ...]:
        """One for each device that no container has."""
        return tuple(device.kind for device in self._free())

    def kinds_of(self, container_id: str) -> tuple[str, ...]:
        """Return the kinds of the devices that a container has."""
        return tuple(device.kind for device in self._taken.get(container_id, ()))

    def allot(self, container_id: str, wanted: tuple[str, ...]) -> None:
        """Give a container the first of the alternatives `wanted` that can be had; nothing, if it wants nothing.

        Raises NoDeviceError when none can be had, and InvalidError for what is no request for a device.
        """
        kinds = take(self.free_kinds, wanted)
        if kinds is None:
            free = ", ".join(self.free_kinds) or "none"
            raise NoDeviceError(
                f"expected a free GPU ({' or '.join(wanted)}) for {container_id}, free: {free}"
            )
        devices: list[Device] = []
        for kind in kinds:
            devices.append(next(d for d in self._free() if d.kind == kind and d not in devices))
        if devices:
            self._taken[container_id] = tuple(devices)

    def free(self, container_id: str) -> None:
        """A container is gone."""
        self._taken.pop(container_id, None)

    def environment(self, container_id: str) -> dict[str, str]:
        """Return the variables that show a container its devices, and hide all others. Empty on a host without any."""
        if not self._devices:
            return {}
        visible = ",".join(str(device.number) for device in self._taken.get(container_id, ()))
        # CUDA counts the fastest device first, unless it is told to count as everybody else does.
        return {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": visible,
            "NVIDIA_VISIBLE_DEVICES": visible,
        }

    def _free(self) -> Iterable[Device]:
        taken = {device for devices in self._taken.values() for device in devices}
        return [device for device in self._devices if device not in taken]
