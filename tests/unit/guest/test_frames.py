"""Frames to bytes and back."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._guest import frames
from afield._guest.errors import FrameTooLargeError
from afield._guest.frames import FrameDecoder, pack_frame
from afield._wire.codec import WireError
from afield._wire.guest import MAX_FRAME, TO_GUEST, Credit, Run, Stop

MESSAGES = [
    Stop(grace_s=1.0),
    Run(token=1, call_id="fc-a-0-1", kind="map", first=3, args=(b"x" * 700, b"")),
    Credit(token=1, total=5),
]


@given(cuts=st.lists(st.integers(0, 900)))
def test_frames_arrive_whole_however_the_stream_is_cut(cuts: list[int]) -> None:
    """The decoder returns each message once, when its last byte is there."""
    stream = b"".join(map(pack_frame, MESSAGES))
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    decoder = FrameDecoder(TO_GUEST)

    received = [m for a, b in itertools.pairwise(places) for m in decoder.feed(stream[a:b])]

    assert received == MESSAGES


def test_a_message_is_returned_as_soon_as_it_is_complete() -> None:
    """What stands behind it may still be on its way."""
    first, second = pack_frame(MESSAGES[0]), pack_frame(MESSAGES[1])
    decoder = FrameDecoder(TO_GUEST)

    assert decoder.feed(first + second[:10]) == [MESSAGES[0]]
    assert decoder.feed(second[10:]) == [MESSAGES[1]]


def test_a_length_that_cannot_be_is_refused_before_anything_is_collected() -> None:
    """A broken peer does not make us hold gigabytes."""
    with pytest.raises(WireError, match=str(MAX_FRAME)):
        FrameDecoder(TO_GUEST).feed((MAX_FRAME + 1).to_bytes(4, "big"))


def test_a_message_of_another_kind_is_refused() -> None:
    """The error says what was expected."""
    with pytest.raises(WireError, match=r"expected one of g\.cancel"):
        FrameDecoder(TO_GUEST).feed(b"\x00\x00\x00\x01\x90")


def test_a_message_that_no_peer_would_take_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds on the sending side, too."""
    monkeypatch.setattr(frames, "MAX_FRAME", 100)

    with pytest.raises(FrameTooLargeError, match="at most 100 bytes"):
        pack_frame(MESSAGES[1])
