"""The worker's end of a container's link."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from afield._guest import channel
from afield._guest.errors import LinkFullError
from afield._guest.frames import FrameDecoder, pack_frame
from afield._wire.codec import WireError
from afield._wire.guest import TO_GUEST, Credit, Ready, Run
from afield_worker.link import Link
from support.waiting import until

pytestmark = pytest.mark.anyio


class Ends:
    """A link, the guest's end of it, and what the link has told."""

    def __init__(self, fault: Exception | None = None) -> None:
        ours, self.guest = socket.socketpair()
        self.guest.setblocking(False)
        self.frames: list[Any] = []
        self.closed: list[Exception | None] = []
        self.link = Link(ours, self._on_frame, self.closed.append)
        self._fault = fault

    def _on_frame(self, frame: Any) -> None:
        self.frames.append(frame)
        if self._fault is not None:
            raise self._fault

    def received(self) -> list[Any]:
        """What the guest can read now."""
        decoder, messages = FrameDecoder(TO_GUEST), []
        while True:
            try:
                messages += decoder.feed(self.guest.recv(2**20))
            except BlockingIOError:
                return messages


@contextmanager
def opened(fault: Exception | None = None) -> Iterator[Ends]:
    ends = Ends(fault)
    try:
        yield ends
    finally:
        ends.link.close()
        ends.guest.close()


def big(token: int) -> Run:
    return Run(token=token, call_id="fc-a-0-1", kind="call", first=0, args=(b"x" * 1_000_000,))


async def test_frames_come_as_callbacks_in_order() -> None:
    """Once the link is started, and not before."""
    with opened() as ends:
        ends.guest.send(pack_frame(Ready(load_s=1.0)) + pack_frame(Ready(load_s=2.0)))
        await anyio.lowlevel.checkpoint()
        assert ends.frames == []

        ends.link.start()

        await until(lambda: ends.frames == [Ready(load_s=1.0), Ready(load_s=2.0)])


async def test_a_message_is_sent_at_once() -> None:
    """Without a turn of the loop."""
    with opened() as ends:
        ends.link.send(Credit(token=1, total=2))

        assert ends.received() == [Credit(token=1, total=2)]
        assert ends.link.pending == 0


async def test_what_the_kernel_does_not_take_goes_out_later_in_order() -> None:
    """The sender does not wait, and nothing is lost."""
    with opened() as ends:
        sent = [big(1), Credit(token=1, total=2), big(2), *[Credit(token=n, total=n) for n in range(200)]]
        for message in sent:
            ends.link.send(message)
        assert ends.link.pending > 1_000_000
        received: list[Any] = []
        decoder = FrameDecoder(TO_GUEST)

        while len(received) < len(sent):
            await anyio.wait_readable(ends.guest)
            received += decoder.feed(ends.guest.recv(2**20))

        assert received == sent
        await ends.link.drained()
        await until(lambda: ends.link.pending == 0)


async def test_a_peer_that_does_not_read_is_held_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how much waits."""
    monkeypatch.setattr(channel, "MAX_PENDING", 2_500_000)
    with opened() as ends:
        ends.link.send(big(1))
        ends.link.send(big(2))

        with pytest.raises(LinkFullError, match="at most 2500000"):
            ends.link.send(big(3))


async def test_the_end_of_the_peer_is_told_once_after_its_frames() -> None:
    """And sending then does nothing."""
    with opened() as ends:
        ends.guest.send(pack_frame(Ready(load_s=1.0)))
        ends.guest.close()
        ends.link.send(Credit(token=1, total=2))
        ends.link.start()

        await until(lambda: ends.closed)

        assert (ends.frames, ends.closed) == ([Ready(load_s=1.0)], [None])
        ends.link.send(Credit(token=1, total=2))
        ends.link.read_now()
        assert ends.closed == [None]


async def test_junk_closes_the_link_and_says_why() -> None:
    """Frames before it are passed on."""
    with opened() as ends:
        ends.guest.send(pack_frame(Ready(load_s=1.0)))
        ends.link.start()
        await until(lambda: ends.frames)
        ends.guest.send(b"\xff\xff\xff\xff")

        await until(lambda: ends.closed)

        assert isinstance(ends.closed[0], WireError)


async def test_a_fault_of_the_handler_closes_the_link() -> None:
    """The frames behind the one that it failed on are not passed on as if nothing had happened."""
    fault = RuntimeError("a bug")
    with opened(fault) as ends:
        ends.guest.send(pack_frame(Ready(load_s=1.0)) * 2)
        ends.link.start()

        await until(lambda: ends.closed)

        assert (len(ends.frames), ends.closed) == (1, [fault])


async def test_read_now_reads_what_has_arrived() -> None:
    """Before the loop has noticed."""
    with opened() as ends:
        ends.guest.send(pack_frame(Ready(load_s=1.0)) * 3)

        ends.link.read_now()

        assert len(ends.frames) == 3


async def test_descriptors_travel_with_a_message_and_are_closed_here() -> None:
    """Also when the message has to wait."""
    with opened() as ends:
        ends.link.send(big(1))
        reader, writer = os.pipe()
        ends.link.send(Credit(token=1, total=2), fds=(writer,))
        fds: list[int] = []
        data = b""
        expected = len(pack_frame(big(1))) + len(pack_frame(Credit(token=1, total=2)))

        while len(data) < expected:
            await anyio.wait_readable(ends.guest)
            piece, more, _, _ = socket.recv_fds(ends.guest, 2**20, 4)
            data += piece
            fds += more

        os.write(fds[0], b"here")
        os.close(fds[0])
        assert os.read(reader, 10) == b"here"
        assert os.read(reader, 10) == b""  # nobody else holds the writing end
        os.close(reader)
