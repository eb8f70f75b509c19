"""afield_worker.gpus: which container has which device."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from afield_worker.gpus import Device, Gpus, NoDeviceError


def devices(*kinds: str) -> Gpus:
    """Return a host with these devices, in this order."""
    return Gpus([Device(number, kind) for number, kind in enumerate(kinds)])


def shown(gpus: Gpus, container_id: str) -> str:
    """Return what a container sees."""
    return gpus.environment(container_id)["CUDA_VISIBLE_DEVICES"]


def test_each_container_has_devices_of_its_own() -> None:
    """By their numbers, until it is gone."""
    gpus = devices("H100", "A100-80GB", "H100", "H100")
    gpus.allot("a", ("H100:2",))
    gpus.allot("b", ("H100",))

    assert (shown(gpus, "a"), shown(gpus, "b")) == ("0,2", "3")
    assert gpus.kinds_of("a") == ("H100", "H100")
    assert gpus.free_kinds == ("A100-80GB",)
    gpus.free("a")
    gpus.allot("c", ("H100",))
    assert shown(gpus, "c") == "0"


def test_preferences_are_tried_in_order() -> None:
    """The first alternative that is free as a whole, and any device last."""
    gpus = devices("L4", "A100-40GB", "H100")
    for container_id, number in (("a", "2"), ("b", "1"), ("c", "0")):
        gpus.allot(container_id, ("H100", "A100", "any"))
        assert shown(gpus, container_id) == number


def test_no_device_is_given_twice() -> None:
    """What is not free is refused, and nothing of it is taken."""
    gpus = devices("H100", "L4")
    gpus.allot("a", ("H100",))

    with pytest.raises(NoDeviceError, match="free: L4"):
        gpus.allot("b", ("H100", "L4:2"))

    assert gpus.free_kinds == ("L4",)


def test_others_see_no_device() -> None:
    """Where there are some; else their environment is left alone."""
    assert shown(devices("H100"), "a") == ""
    assert devices().environment("a") == {}


class Host(RuleBasedStateMachine):
    """Containers come and go on a host with devices of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.gpus = devices("H100", "L4", "A100-80GB", "L4", "H100", "A100-40GB")
        self.here: set[str] = set()
        self.number = 0

    @rule(
        wanted=st.lists(st.sampled_from(["H100", "L4:2", "A100", "any", "any:3", "T4"]), max_size=3).map(
            tuple
        )
    )
    def start(self, wanted: Any) -> None:
        """A container comes, if there are devices for it."""
        self.number += 1
        try:
            self.gpus.allot(f"ta-{self.number}", wanted)
        except NoDeviceError:
            return
        self.here.add(f"ta-{self.number}")

    @rule(data=st.data())
    def end(self, data: Any) -> None:
        """A container goes."""
        if self.here:
            container_id = data.draw(st.sampled_from(sorted(self.here)))
            self.here.remove(container_id)
            self.gpus.free(container_id)

    @invariant()
    def nobody_shares(self) -> None:
        """No device has two owners, and none is lost."""
        seen = [n for c in self.here for n in shown(self.gpus, c).split(",") if n]
        assert len(seen) == len(set(seen))
        assert len(seen) + len(self.gpus.free_kinds) == len(self.gpus.kinds)


TestHost = Host.TestCase
