"""The codec of messages."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._wire import codec
from afield._wire.codec import WireError, build, decode, decode_any, encode, message, unpack
from afield._wire.messages import BlobRef, InputResult, ResultPack


@message("t.leaf")
class Leaf:
    """A message inside others."""

    name: str
    weight: float = 1.0


@message("t.tree")
class Tree:
    """One field of every kind."""

    text: str
    data: bytes
    flag: bool
    number: int
    ratio: float
    leaf: Leaf
    choice: Literal["a", "b"] = "a"
    maybe: int | None = None
    either: bytes | Leaf = b""
    many: tuple[Leaf, ...] = ()
    names: tuple[str, ...] = ()
    mixed: tuple[bytes | Leaf, ...] = ()
    by_name: dict[str, Leaf] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    anything: Any = None
    nested: tuple[tuple[int, ...], ...] = ()


@message("t.node")
class Node:
    """A message that holds messages of its own class."""

    value: int
    children: tuple["Node", ...] = ()


@message("t.empty")
class Empty:
    """A message without fields."""


leaves = st.builds(Leaf, name=st.text(), weight=st.floats(allow_nan=False) | st.integers(-9, 9))
trees = st.builds(
    Tree,
    text=st.text(),
    data=st.binary(),
    flag=st.booleans(),
    number=st.integers(-(2**63), 2**64 - 1),
    ratio=st.floats(allow_nan=False),
    leaf=leaves,
    choice=st.sampled_from(["a", "b"]),
    maybe=st.none() | st.integers(0, 10),
    either=st.binary() | leaves,
    many=st.lists(leaves).map(tuple),
    names=st.lists(st.text()).map(tuple),
    mixed=st.lists(st.binary() | leaves).map(tuple),
    by_name=st.dictionaries(st.text(), leaves),
    labels=st.dictionaries(st.text(), st.text()),
    anything=st.none() | st.text() | st.integers(0, 9) | st.lists(st.integers(0, 9)).map(tuple),
    nested=st.lists(st.lists(st.integers(0, 9)).map(tuple)).map(tuple),
)


def small() -> Tree:
    """A tree with its required fields."""
    return Tree(text="t", data=b"d", flag=True, number=1, ratio=0.5, leaf=Leaf(name="l"))


@given(trees)
def test_message_comes_back(tree: Tree) -> None:
    """What was encoded decodes to an equal message of the same class."""
    again = decode(Tree, encode(tree))
    assert again == tree
    assert type(again) is Tree
    assert type(again.leaf) is Leaf


@given(trees, st.data())
def test_both_ways_of_decoding_agree(tree: Tree, data: st.DataObject) -> None:
    """The generated decoder and the plan build the same message, or both refuse, whatever stands in a field."""
    values = list(unpack(encode(tree)))
    spot = data.draw(st.integers(0, len(values) - 1))
    values[spot] = data.draw(
        st.none() | st.booleans() | st.integers(0, 5) | st.floats(0, 1) | st.text(max_size=1) | st.binary(max_size=1)
        | st.just(()) | st.just((1,)) | st.just({}) | st.just({"a": 1}) | st.just(("t.leaf", "x")) | st.just((("t.leaf", 1),))
    )  # fmt: skip
    outcomes: list[Tree | str] = []
    for way in (build, codec._build_slowly):
        try:
            outcomes.append(way(Tree, tuple(values)))
        except WireError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


def test_decoded_message_is_like_a_made_one() -> None:
    """Equal, hashable, printable; and the type checker lets nobody change it."""
    leaf = decode(Leaf, encode(Leaf(name="x")))
    if TYPE_CHECKING:
        leaf.name = "y"  # type: ignore[misc]
    assert leaf == Leaf(name="x")
    assert hash(leaf) == hash(Leaf(name="x"))
    assert repr(leaf) == repr(Leaf(name="x"))


class Awkward:
    """Something that runs Python code, whatever the test likes, while it is packed."""

    def __init__(self, then: Callable[[], object]) -> None:
        self.__wire_values__ = lambda: (then(), "packed")[1:]


def test_messages_are_packed_within_each_other() -> None:
    """A signal handler may have something to send while its thread packs a message."""
    inner: list[bytes] = []

    outer = encode(("a", Awkward(lambda: inner.append(encode(Leaf(name="x")))), "b"))

    assert msgpack.unpackb(outer) == ["a", ["packed"], "b"]
    assert inner == [encode(Leaf(name="x"))]


def test_messages_are_packed_by_many_threads() -> None:
    """Each in the middle of its own when the others begin."""
    barrier = threading.Barrier(8, timeout=30)

    def pack(n: int) -> bytes:
        return encode((n, Awkward(barrier.wait), n))

    with ThreadPoolExecutor(8) as threads:
        for _ in range(3):
            packed = [msgpack.unpackb(data) for data in threads.map(pack, range(8))]
            assert packed == [[n, ["packed"], n] for n in range(8)]


def test_a_message_that_cannot_be_packed_spoils_nothing() -> None:
    """What was packed of it does not stand before the next one."""
    for _ in range(3):
        with pytest.raises(TypeError, match="cannot put a object on the wire"):
            encode(("lost", object()))
        assert msgpack.unpackb(encode(Leaf(name="x"))) == ["t.leaf", "x", 1.0]


def test_a_large_message_does_not_keep_its_memory() -> None:
    """Packers keep the memory of the largest that they packed; those are let go."""
    encode("small")
    kept = len(codec._idle)

    encode(b"x" * codec._KEPT_BYTES * 2)

    assert len(codec._idle) == kept - 1


def test_message_is_an_array_of_its_fields() -> None:
    """On the wire a message is its tag and its fields in the order of their declaration."""
    assert msgpack.unpackb(encode(Leaf(name="x", weight=2.5))) == ["t.leaf", "x", 2.5]
    assert msgpack.unpackb(encode(Empty())) == ["t.empty"]
    assert decode(Empty, encode(Empty())) == Empty()


def test_older_peer_is_completed_with_defaults() -> None:
    """Fields that an older peer does not know get their defaults."""
    assert decode(Leaf, msgpack.packb(["t.leaf", "x"])) == Leaf(name="x")
    assert decode(Tree, msgpack.packb(["t.tree", "t", b"d", True, 1, 0.5, ["t.leaf", "l"]])) == small()


def test_newer_peer_is_cut() -> None:
    """Fields that a newer peer added are left out."""
    assert decode(Leaf, msgpack.packb(["t.leaf", "x", 1.0, "new", {"more": 1}])) == Leaf(name="x")


def test_message_of_its_own_class() -> None:
    """A message may hold messages of its own class."""
    node = Node(value=1, children=(Node(value=2, children=(Node(value=3),)), Node(value=4)))
    assert decode(Node, encode(node)) == node


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (["t.other", "x"], "expected a Leaf message ('t.leaf'), got 't.other'"),
        ([], "expected a Leaf message ('t.leaf'), got 'tuple'"),
        ("text", "expected a Leaf message ('t.leaf'), got 'str'"),
        (["t.leaf"], "expected at least 1 fields in a Leaf message, got 0"),
        (["t.leaf", 7], "in Leaf.name: expected str, got int"),
        (["t.leaf", "x", True], "in Leaf.weight: expected float, got bool"),
    ],
)
def test_error_names_class_field_and_value(values: object, complaint: str) -> None:
    """What does not fit is an error that says what was expected where, and what came."""
    with pytest.raises(WireError) as caught:
        decode(Leaf, msgpack.packb(values))
    assert str(caught.value) == complaint


def test_error_in_a_nested_message_names_the_way_to_it() -> None:
    """An error deep inside names every step."""
    broken = ["out", "fc-s-0-1", 0, [["r", 0, "bad"]], "ta", "wk"]
    with pytest.raises(
        WireError, match=r"in ResultPack\.results: in InputResult\.status: expected one of .*'bad'"
    ):
        decode(ResultPack, msgpack.packb(broken))


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\x01", b"\x01\x02", b"\xa1\xff"])
def test_bytes_that_are_no_value(data: bytes) -> None:
    """Bytes that are not one whole msgpack value are a WireError."""
    with pytest.raises(WireError, match="expected one msgpack value"):
        unpack(data)


def test_decode_any_picks_by_tag() -> None:
    """One of several classes is picked by the tag; an unknown tag is an error that lists the known ones."""
    classes = {"t.leaf": Leaf, "t.empty": Empty}
    assert decode_any(classes, encode(Leaf(name="x"))) == Leaf(name="x")
    with pytest.raises(WireError, match=r"expected one of t\.empty, t\.leaf, got 't\.node'"):
        decode_any(classes, encode(Node(value=1)))


def test_foreign_value_cannot_be_sent() -> None:
    """A value that is no message and no msgpack value is an error when encoding."""
    with pytest.raises(TypeError, match="cannot put a set on the wire"):
        encode(Tree(**{**{f: getattr(small(), f) for f in Tree.__slots__}, "anything": {1}}))  # type: ignore[attr-defined]


def test_unsound_class_is_refused() -> None:
    """A required field behind an optional one, and a type that the wire has not, are errors of the class."""

    @message("t.bad1")
    class Behind:
        a: int = 1
        b: int

    @message("t.bad2")
    class Strange:
        a: set[int]

    for cls in (Behind, Strange):
        with pytest.raises(TypeError):
            decode(cls, b"\x91\xa6t.bad2")


def test_real_messages_of_a_pack() -> None:
    """A result pack with inline values, blobs and errors comes back equal."""
    ref = BlobRef(tier="stream", name="n", size=9, sha256=b"h")
    results = (InputResult(index=0, status="ok", value=b"v"), InputResult(index=1, status="ok", value=ref))
    pack = ResultPack(call_id="fc-s-0-1", first=0, results=results, container_id="ta", worker_id="wk")
    assert decode(ResultPack, encode(pack)) == pack
