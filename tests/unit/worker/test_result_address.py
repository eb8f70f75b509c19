"""Where the result of a pack is published, and under which id."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from afield._bus.msg import parse_headers
from afield._bus.publisher import Address
from afield._wire.messages import InputResult
from afield_worker.held import Held
from afield_worker.instructions import Settle
from afield_worker.results import Results
from support.pool import pack, subject_of

pytestmark = pytest.mark.anyio


class Published:
    """A publisher that keeps the addresses of what it is given, and whose acks never come."""

    def __init__(self) -> None:
        self.to: list[Address] = []

    def start_to(self, to: Address, _payload: bytes) -> "asyncio.Future[Any]":
        self.to.append(to)
        return asyncio.get_running_loop().create_future()


def results(publisher: Published) -> Results:
    """Of a worker, with nothing around that a small result needs."""
    near = SimpleNamespace(near=lambda _host: True)
    parts = [SimpleNamespace(publisher=publisher), None, near, "wk-1", None, None, None, None, None]
    return Results(*cast("list[Any]", parts))


def ended(held: Held, container_id: str) -> Settle:
    """The pack has ended in a container, or in none."""
    return Settle(held, (InputResult(index=0, status="ok", value=b""),), (), container_id)


@pytest.mark.parametrize(("where", "who"), [("ta-1", "ta-1"), ("ta-2", "ta-2"), ("", "wk-1")])
async def test_the_id_names_who_ran_it(where: str, who: str) -> None:
    """Also when another was expected to: two results of one pack are never taken for one that was sent twice."""
    publisher = Published()
    item = pack()
    held = Held(1, subject_of(item), "lo", item, object(), 1, 0.0)
    held.start("ta-1", 0.0)
    mine = results(publisher)
    mine.expect(held)

    mine.settle(ended(held, where))

    (to,) = publisher.to
    assert to.subject == "out.0.main.session.fc-session-0-1.0-1"
    headers = parse_headers(to.header)
    assert headers["Nats-Msg-Id"] == f"fc-session-0-1.0-1.{who}.1"
    assert int(headers["Nats-TTL"]) > 0


async def test_nothing_has_to_be_expected() -> None:
    """A pack that fails before any container had it has a result, too."""
    publisher = Published()
    item = pack()
    held = Held(1, subject_of(item), "lo", item, object(), 1, 0.0)

    results(publisher).settle(ended(held, ""))

    assert [to.subject for to in publisher.to] == ["out.0.main.session.fc-session-0-1.0-1"]
