"""All message classes together."""

import importlib
from typing import Any

import msgpack
import pytest

from afield._wire.codec import decode, encode
from afield._wire.messages import BlobRef, ErrorInfo, InputPack, InputResult, ResultPack, Wake

MODULES = ("api", "functions", "guest", "messages")


def message_classes() -> dict[str, type[Any]]:
    """Every message class of the contract, by module and name."""
    found = {}
    for module in map(importlib.import_module, (f"afield._wire.{name}" for name in MODULES)):
        for name, value in vars(module).items():
            if hasattr(value, "__wire_tag__") and value.__module__ == module.__name__:
                found[f"{module.__name__}.{name}"] = value
    return found


def test_tags_are_unique() -> None:
    """No two messages share a tag, or one could be taken for the other."""
    tags = [cls.__wire_tag__ for cls in message_classes().values()]
    assert len(tags) > 40
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize("name", sorted(message_classes()))
def test_class_is_sound(name: str) -> None:
    """Every message class has field types that the wire knows, and its decoder can be made."""
    cls = message_classes()[name]
    with pytest.raises(ValueError, match=cls.__name__):
        decode(cls, msgpack.packb(["no such tag"]))


GOLDEN = [
    (
        InputPack(call_id="fc-s-0-1", function_id="fu-1", kind="map", first=64, args=(b"\x80", BlobRef(tier="file", name="n", size=9, host="h")), sent_at=1.5),
        ["in", "fc-s-0-1", "fu-1", "map", 64, [b"\x80", ["blob", "file", "n", 9, "h", b""]], 1.5, "", "", 1, 0, 0.0],
    ),
    (
        ResultPack(
            call_id="fc-s-0-1",
            first=0,
            results=(
                InputResult(index=0, status="ok", value=b"v", run_s=0.25),
                InputResult(index=1, status="error", error=ErrorInfo(kind="exit", message="m", exit_code=3)),
            ),
            container_id="ta-1",
            worker_id="wk-1",
            stored_by=2.5,
        ),
        [
            "out", "fc-s-0-1", 0,
            [["r", 0, "ok", b"v", 0.25, None], ["r", 1, "error", None, 0.0, ["err", "exit", "m", "", "", None, 3, None, [], "", []]]],
            "ta-1", "wk-1", 2.5,
        ],
    ),
    (Wake(ws="main", function_id="fu-1", outstanding=3), ["wake", "main", "fu-1", 3]),
]  # fmt: skip


def begins_with(sent: Any, wire: Any) -> bool:
    """Tell whether only fields were appended, also to the messages inside."""
    if not isinstance(wire, list):
        return bool(sent == wire)
    return len(sent) >= len(wire) and all(map(begins_with, sent, wire))


@pytest.mark.parametrize(("made", "wire"), GOLDEN, ids=["input", "result", "wake"])
def test_layout_of_the_hot_messages_is_kept(made: Any, wire: list[Any]) -> None:
    """The messages that peers of different releases exchange keep their place on the wire; fields are only appended."""
    assert begins_with(msgpack.unpackb(encode(made)), wire)
    assert decode(type(made), msgpack.packb(wire)) == made
