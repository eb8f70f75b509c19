"""afield_common.endings on real streams: whose inputs end, whose go on, and what their callers are told."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from afield._bus.connection import Bus
from afield._bus.direct import get_all, get_last
from afield._wire import subjects
from afield._wire.codec import decode, encode
from afield._wire.messages import ErrorInfo, InputPack, InputResult, ResultPack
from afield._wire.streams import RESULT_TTL
from afield_common import endings
from afield_common.endings import Endings, Verdict
from afield_common.jetstream import JetStream
from afield_common.store import ensure_assets
from support.nats import NatsServer
from support.services import connected

pytestmark = pytest.mark.anyio

VERDICT = Verdict("error", ErrorInfo(kind="unschedulable", message="no worker can run it"))
OF_FUNCTION = subjects.inputs_of_function(0, "main", "fu-1")


@pytest.fixture
async def bus(server: NatsServer, anyio_backend: str) -> AsyncIterator[Bus]:
    """A connection, with streams on the server."""
    async with connected(server.url) as opened:
        await ensure_assets(opened, 1)
        yield opened


async def put(
    bus: Bus, number: int, size: int = 1, *, function_id: str = "fu-1", lane: str = "lo", **fields: Any
) -> None:
    """Publish a pack of a call of its own."""
    call_id = f"fc-s1-0-{number}"
    pack = InputPack(
        **{
            "call_id": call_id,
            "function_id": function_id,
            "kind": "map",
            "first": 0,
            "args": (b"arg",) * size,
            "sent_at": 1.0,
            **fields,
        }
    )
    await put_raw(bus, f"in.0.main.{function_id}.{lane}.{call_id}.0-{size}.1", encode(pack))


async def put_raw(bus: Bus, subject: str, data: bytes) -> None:
    await bus.publisher.publish(subject, data, msg_id=subject)


async def results(bus: Bus) -> dict[str, list[InputResult]]:
    """By call."""
    found = [decode(ResultPack, each.data) for each in await get_all(bus, "RESULTS", "out.>")]
    return {pack.call_id: list(pack.results) for pack in found}


async def left(bus: Bus) -> list[int]:
    """The numbers of the calls whose inputs are stored."""
    found = (await JetStream(bus).subjects("IN_0", "in.>")).subjects
    return sorted(int(subjects.parse_input(subject).call_id.rpartition("-")[2]) for subject in found)


def of(bus: Bus) -> Endings:
    return Endings(bus, lambda: 1.0)


async def test_all_of_one_function_end(bus: Bus) -> None:
    """In both lanes, each input of each pack; those of others stay."""
    await put(bus, 1, size=3)
    await put(bus, 2, lane="hi")
    await put(bus, 3, function_id="fu-10")
    ended = await of(bus).end(0, OF_FUNCTION, VERDICT)
    assert (ended.packs, ended.inputs, ended.functions) == (2, 4, {"fu-1"})
    told = await results(bus)
    assert {call: len(each) for call, each in told.items()} == {"fc-s1-0-1": 3, "fc-s1-0-2": 1}
    assert {r.error for each in told.values() for r in each} == {VERDICT.error}
    assert await left(bus) == [3]


async def test_what_came_later_goes_on(bus: Bus) -> None:
    """`up_to` bounds what is ended; nothing behind it is removed without a result."""
    for number in (1, 2, 3):
        await put(bus, number)
    last = await JetStream(bus).last_seq("IN_0")
    await put(bus, 4)
    assert (await of(bus).end(0, OF_FUNCTION, VERDICT, up_to=last)).inputs == 3
    assert await left(bus) == [4]
    assert "fc-s1-0-4" not in await results(bus)


async def test_it_stops_when_the_reason_is_gone(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked before each page: what is not ended by then goes on, with its message."""
    monkeypatch.setattr(endings, "PAGE", 2)
    for number in range(6):
        await put(bus, number)
    answers = iter([True, True, False])
    assert (await of(bus).end(0, OF_FUNCTION, VERDICT, go_on=lambda: next(answers))).packs == 4
    assert await left(bus) == [4, 5]
    assert len(await results(bus)) == 4


async def test_a_result_that_stands_stays(bus: Bus) -> None:
    """The first one wins; the input goes all the same."""
    await put(bus, 1)
    done = ResultPack(
        call_id="fc-s1-0-1",
        first=0,
        results=(InputResult(index=0, status="ok", value=b"v"),),
        container_id="ta-1",
        worker_id="wk-1",
    )
    await bus.publisher.publish(subjects.result("main", "fc-s1-0-1", "0-1"), encode(done), msg_id="1")
    await of(bus).end(0, OF_FUNCTION, VERDICT)
    assert [r.status for r in (await results(bus))["fc-s1-0-1"]] == ["ok"]
    assert await left(bus) == []


async def test_results_are_kept_as_long_as_their_kind_asks(bus: Bus) -> None:
    """That of a call which somebody waits for is of no use for long; a spawned one may be asked for late."""
    await put(bus, 1, kind="call")
    await put(bus, 2, kind="spawn")
    await of(bus).end(0, OF_FUNCTION, VERDICT)
    for number, kind in ((1, "call"), (2, "spawn")):
        stored = await get_last(bus, "RESULTS", subjects.result("main", f"fc-s1-0-{number}", "0-1"))
        assert stored is not None
        assert stored.headers["Nats-TTL"].rstrip("s") == str(RESULT_TTL[kind])


async def test_what_cannot_be_read_ends_too(bus: Bus) -> None:
    """The subject says enough to answer the caller; what is no input at all is removed."""
    await put_raw(bus, "in.0.main.fu-1.lo.fc-s1-0-1.0-2.1", b"?")
    await put_raw(bus, "in.0.main.fu-1.lo.what-is-this", b"?")
    assert (await of(bus).end(0, OF_FUNCTION, VERDICT)).inputs == 2
    assert len((await results(bus))["fc-s1-0-1"]) == 2
    assert (await JetStream(bus).subjects("IN_0", "in.>")).subjects == {}


async def test_large_errors_are_cut_to_what_fits(bus: Bus) -> None:
    """Sixty-four copies of an exception may be more than a message takes; what it said stays."""
    large = ErrorInfo(
        kind="startup",
        message="ValueError: no",
        traceback="line\n" * 20_000 + "ValueError: no",
        exception=b"x" * 200_000,
        log_tail=("x" * 1000,) * 50,
    )
    await put(bus, 1, size=64)
    await put(bus, 2)
    await of(bus).end(0, OF_FUNCTION, Verdict("error", large))
    many, one = (await results(bus))["fc-s1-0-1"], (await results(bus))["fc-s1-0-2"]
    assert len(many) == 64
    assert all(r.error is not None and r.error.message == large.message for r in (*many, *one))
    assert many[0].error is not None
    assert many[0].error.traceback.endswith("ValueError: no")
