"""The inline parser, fed by hand."""

import asyncio
import random
from typing import Any

import pytest

from afield._bus.msg import Handler
from afield._bus.transport import InlineTransport

pytestmark = pytest.mark.anyio

STREAM = (
    b"MSG a.b 1 3\r\nxyz\r\n"
    b"PING\r\n"
    b"MSG a.b 2 4\r\nelse\r\n"
    b"MSG c 1 reply.to 0\r\n\r\n"
    b"HMSG d 1 14 17\r\nNATS/1.0\r\nA:\r\nxyz\r\n"
    b"HMSG d 1 rep 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
    b"-ERR 'some'\r\n"
    b"MSG e 1 8\r\n\r\nMSG \r\n\r\n"
)
MESSAGES = [
    ("a.b", "", None, b"xyz"),
    ("c", "reply.to", None, b""),
    ("d", "", b"NATS/1.0\r\nA:\r\n", b"xyz"),
    ("d", "rep", b"NATS/1.0 503\r\n\r\n", b""),
    ("e", "", None, b"\r\nMSG \r\n"),
]
REST = b"PING\r\nMSG a.b 2 4\r\nelse\r\n-ERR 'some'\r\n"


class Wire:
    """A transport without a socket, in streaming mode, with one inline subscription: number 1."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []
        handlers: dict[str, Handler] = {"1": lambda *message: self.seen.append(message)}
        self.transport = InlineTransport(handlers)
        self.transport._streaming = True

    async def rest(self) -> bytes:
        """What nats-py would read."""
        return await self.transport.read(1)


async def test_messages_go_inline_and_the_rest_to_nats_py() -> None:
    """Our messages reach their handler whole; everything else is passed on, byte for byte and in order."""
    wire = Wire()
    wire.transport.data_received(STREAM)
    assert wire.seen == MESSAGES
    assert await wire.rest() == REST


@pytest.mark.parametrize("seed", range(20))
async def test_any_cut_gives_the_same(seed: int) -> None:
    """However the socket cuts the stream, the same messages come out."""
    wire, cut = Wire(), random.Random(seed)
    data = STREAM * 3
    while data:
        size = cut.choice([1, 2, 5, 20, 60])
        wire.transport.data_received(data[:size])
        data = data[size:]
    assert wire.seen == MESSAGES * 3
    assert await wire.rest() == REST * 3


async def test_lines_of_the_handshake_are_read_before_streaming() -> None:
    """Before nats-py reads, lines are kept for it; what follows the last one is parsed when it does."""
    wire = Wire()
    wire.transport._streaming = False
    wire.transport.data_received(b"INFO {}\r\nPO")
    assert await wire.transport.readline() == b"INFO {}\r\n"
    wire.transport.data_received(b"NG\r\nMSG a.b 1 1\r\nx\r\nPING\r\n")
    assert await wire.transport.readline() == b"PONG\r\n"
    assert await wire.rest() == b"PING\r\n"
    assert wire.seen == [("a.b", "", None, b"x")]


async def test_end_of_the_connection_wakes_the_reader() -> None:
    """When the socket ends, the reader gets what is left, then nothing, and the end is told."""
    wire = Wire()
    wire.transport.data_received(b"PING\r\n")
    wire.transport.connection_lost(None)
    assert not wire.transport.at_eof()
    assert await wire.rest() == b"PING\r\n"
    assert wire.transport.at_eof()
    assert await wire.rest() == b""
    await wire.transport.wait_closed()


async def test_broken_handler_is_reported_and_the_next_called() -> None:
    """An exception of a handler goes to the loop's exception handler; the next message is handed over."""
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    wire = Wire()

    def broken(*_: object) -> None:
        raise KeyError

    wire.transport._inline["7"] = broken
    wire.transport.data_received(b"MSG a 7 0\r\n\r\nMSG b 1 0\r\n\r\n")
    assert [type(e["exception"]) for e in errors] == [KeyError]
    assert wire.seen == [("b", "", None, b"")]
