"""The connection itself, and what it puts on the bus."""

from pathlib import Path

import pytest

from afield import exception
from afield._platform import Client
from afield._wire.codec import decode
from afield._wire.ids import parse_call_id
from afield._wire.messages import InputPack
from afield._wire.subjects import Pack, parse_input
from afield.embedded import PlatformAddress
from afield.mapping import PackOut
from support.callers import Caller
from support.nats import NatsServer, free_port

pytestmark = pytest.mark.anyio


def address(url: str, token: str = "") -> PlatformAddress:
    return PlatformAddress(url, token, "", "", "", private=False)


async def test_call_ids_name_session_and_shard(caller: Caller) -> None:
    """So the result can be found with nothing but the id; no two are the same."""
    first, second = (parse_call_id(caller.client.next_call_id(3)) for _ in range(2))

    assert (first.session, first.shard) == (caller.client.session, 3)
    assert second.number == first.number + 1


async def test_inputs_are_addressed_to_their_function(caller: Caller) -> None:
    """Subject, message id and body say the same."""
    record = caller.worker.record
    subject, body, msg_id = caller.client.input_message(
        record, "fc-a-0-1", "map", PackOut(5, (b"x", b"y")), "in-p-0-1-0", lane="lo"
    )

    parts = parse_input(subject)
    pack = decode(InputPack, body)
    assert (parts.function_id, parts.lane, parts.pack) == (record.function_id, "lo", Pack(5, 2))
    assert (pack.first, pack.args, pack.parent) == (5, (b"x", b"y"), "in-p-0-1-0")
    assert msg_id == "fc-a-0-1.5-2.1"


async def test_platform_that_is_not_there_is_a_connection_error() -> None:
    """The caller learns that nobody answered, and where."""
    url = f"nats://127.0.0.1:{free_port()}"

    with pytest.raises(exception.ConnectionError, match="cannot be reached"):
        async with Client.open(address(url), "main", connect_timeout=0.3):
            pass


async def test_wrong_token_is_an_authentication_error(tmp_path: Path) -> None:
    """Not a connection error: waiting would not help."""
    users = 'authorization { users: [{user: "client", password: "right"}] }'
    with NatsServer(tmp_path, extra=users) as server, pytest.raises(exception.AuthError, match="token"):
        async with Client.open(address(server.url, "client:wrong"), "main"):
            pass
