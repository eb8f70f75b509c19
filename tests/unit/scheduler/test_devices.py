"""afield_scheduler.devices: GPUs asked for and taken."""

import pytest

from afield_scheduler.devices import GpuRequest, parse_gpu, take, without


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("H100", GpuRequest("H100", 1)),
        ("a100-80gb:2", GpuRequest("A100-80GB", 2)),
        ("any", GpuRequest("ANY", 1)),
    ],
)
def test_parse(text: str, request_: GpuRequest) -> None:
    """Kind and number, in any case."""
    assert parse_gpu(text) == request_


@pytest.mark.parametrize("text", ["", ":2", "H100:", "H100:0", "H100:two"])
def test_parse_refuses(text: str) -> None:
    """What is no device and number is refused, with what came."""
    with pytest.raises(ValueError, match="expected a GPU"):
        parse_gpu(text)


@pytest.mark.parametrize(
    ("free", "wanted", "taken"),
    [
        (["T4"], (), ()),
        (["T4", "H100"], ("H100", "T4"), ("H100",)),
        (["T4"], ("H100", "T4"), ("T4",)),
        (["T4", "T4"], ("T4:2",), ("T4", "T4")),
        (["T4"], ("T4:2",), None),
        (["L4"], ("any",), ("L4",)),
        ([], ("any",), None),
    ],
)
def test_take(free: list[str], wanted: tuple[str, ...], taken: tuple[str, ...] | None) -> None:
    """The first alternative that can be satisfied is."""
    assert take(free, wanted) == taken


def test_without() -> None:
    """Taken devices are gone once each."""
    assert without(["T4", "L4", "T4"], ["T4"]) == ("L4", "T4")
