"""afield_common.devices: GPUs asked for and taken."""

import pytest

from afield.exception import InvalidError
from afield_common.devices import choose, take, without


@pytest.mark.parametrize(
    ("free", "wanted", "chosen"),
    [
        (["T4"], (), (0, ())),
        (["T4", "H100"], ("H100", "T4"), (0, ("H100",))),
        (["T4"], ("H100", "T4"), (1, ("T4",))),
        (["T4", "T4"], ("T4:2",), (0, ("T4", "T4"))),
        (["T4"], ("T4:2",), None),
        (["T4", "L4"], ("H100:2", "any:2"), (1, ("L4", "T4"))),
        (["L4"], ("any",), (0, ("L4",))),
        (["h100"], ("H100",), (0, ("h100",))),
        ([], ("any",), None),
        (["A100-80GB"], ("A100",), (0, ("A100-80GB",))),
        (["A100-80GB"], ("A100-40GB",), None),
        (["A10G"], ("A10",), None),
    ],
)
def test_choose(free: list[str], wanted: tuple[str, ...], chosen: tuple[int, tuple[str, ...]] | None) -> None:
    """The first alternative that can be had is, in its whole quantity or not at all."""
    assert choose(free, wanted) == chosen
    assert take(free, wanted) == (None if chosen is None else chosen[1])


def test_what_is_no_device_is_refused() -> None:
    """A request that cannot be read is an error, not a device that nobody has."""
    with pytest.raises(InvalidError, match="two"):
        take(["H100"], ("H100:two",))


def test_without() -> None:
    """Taken devices are gone once each."""
    assert without(["T4", "L4", "T4"], ["T4"]) == ("L4", "T4")
