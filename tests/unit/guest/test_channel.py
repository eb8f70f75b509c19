"""A link's end on a loop: when what was sent has left."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from afield._guest.channel import FrameChannel
from afield._guest.frames import pack_frame
from afield._wire.guest import TO_GUEST, Ready

pytestmark = pytest.mark.anyio


def nothing(*_: Any) -> None:
    pass


async def test_flushed_waits_for_a_slow_peer() -> None:
    """Until the last byte is the kernel's."""
    ours, theirs = socket.socketpair()
    channel = FrameChannel(ours, TO_GUEST, nothing, nothing)
    await channel.flushed()
    while not channel.pending:
        channel.send(Ready(load_s=0.0))
        await asyncio.sleep(0)
    waiting = asyncio.Task(channel.flushed())
    await asyncio.sleep(0)
    assert not waiting.done()

    theirs.setblocking(False)
    while channel.pending:
        await asyncio.get_running_loop().sock_recv(theirs, 1 << 20)

    await waiting
    channel.close()
    theirs.close()


async def test_flushed_does_not_wait_for_nobody() -> None:
    """A closed link holds up no end."""
    ours, theirs = socket.socketpair()
    channel = FrameChannel(ours, TO_GUEST, nothing, nothing)
    while not channel.pending:
        channel.send(Ready(load_s=0.0))
        await asyncio.sleep(0)

    channel.close()

    await channel.flushed()
    theirs.close()


async def test_frames_of_one_loop_step_go_out_together() -> None:
    """The first at once, as its peer may wait for it; the others with one system call, when the step is over."""
    ours, theirs = socket.socketpair()
    channel = FrameChannel(ours, TO_GUEST, nothing, nothing)
    size = len(pack_frame(Ready(load_s=0.0)))

    for _ in range(3):
        channel.send(Ready(load_s=0.0))

    assert len(theirs.recv(4096)) == size
    assert channel.pending == 2 * size
    await channel.flushed()
    assert len(theirs.recv(4096)) == 2 * size
    channel.close()
    theirs.close()


@pytest.mark.parametrize("send", [FrameChannel.close, FrameChannel.push])
async def test_what_the_step_gathered_is_sent_before_its_end(send: Callable[[FrameChannel], None]) -> None:
    """The last word is not lost with the link; who rings at the peer wants it to find what was sent."""
    ours, theirs = socket.socketpair()
    channel = FrameChannel(ours, TO_GUEST, nothing, nothing)
    size = len(pack_frame(Ready(load_s=0.0)))

    channel.send(Ready(load_s=0.0))
    channel.send(Ready(load_s=0.0))
    send(channel)

    assert len(theirs.recv(4096)) == 2 * size
    channel.close()
    channel.push()
    theirs.close()
