"""A link's end on a loop: when what was sent has left."""

import asyncio
import socket
from typing import Any

import pytest

from afield._guest.channel import FrameChannel
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

    channel.close()

    await channel.flushed()
    theirs.close()
