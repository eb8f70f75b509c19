"""scheduler.call.*: cancel, get, forget, against real streams."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import anyio
import pytest

from afield._bus.connection import Bus
from afield._bus.direct import get_last
from afield._bus.errors import ApiFailure
from afield._wire import api, subjects
from afield._wire.codec import decode, encode
from afield._wire.messages import Attempt, CallControl, Event, InputPack, InputResult, ResultPack
from afield._wire.subjects import InputSubject, Pack
from afield_common import endings
from afield_common.jetstream import JetStream
from afield_common.store import ensure_assets
from afield_scheduler import calls
from afield_scheduler.service import SchedulerService
from afield_scheduler.settings import SchedulerSettings
from support.nats import NatsServer
from support.services import connected, running
from support.waiting import until

pytestmark = pytest.mark.anyio

CALL = "fc-s1-0-7"
REF = api.CallRef(ws="main", call_id=CALL)
HISTORY = (Attempt(number=1, kind="exception", message="ValueError: no", at=1.0),)


@pytest.fixture
async def bus(server: NatsServer, anyio_backend: str) -> AsyncIterator[Bus]:
    """A connection, with streams and a scheduler on the server."""
    async with connected(server.url) as opened, connected(server.url, "scheduler") as own:
        await ensure_assets(opened, 1)
        async with running(SchedulerService(own, SchedulerSettings())):
            yield opened


async def put_input(
    bus: Bus, first: int, size: int, *, call_id: str = CALL, attempt: int = 1, **fields: Any
) -> None:
    pack = InputPack(
        call_id=call_id,
        function_id="fu-1",
        kind="map",
        first=first,
        args=tuple(f"arg{n}".encode() for n in range(first, first + size)),
        sent_at=1.0,
        attempt=attempt,
        **fields,
    )
    subject = str(InputSubject(0, "main", "fu-1", "lo", call_id, Pack(first, size), attempt))
    await bus.publisher.publish(subject, encode(pack), msg_id=f"{call_id}.{first}-{size}.{attempt}")


async def put_result(bus: Bus, first: int, size: int, *, call_id: str = CALL) -> None:
    results = tuple(InputResult(index=n, status="ok", value=b"v") for n in range(first, first + size))
    pack = ResultPack(call_id=call_id, first=first, results=results, container_id="ta-1", worker_id="wk-1")
    subject = subjects.result("main", call_id, Pack(first, size))
    await bus.publisher.publish(subject, encode(pack), msg_id=f"{call_id}.{first}.ta-1.1")


async def statuses(bus: Bus, first: int, size: int) -> list[str]:
    stored = await get_last(bus, "RESULTS", subjects.result("main", CALL, Pack(first, size)))
    assert stored is not None
    return [result.status for result in decode(ResultPack, stored.data).results]


async def inputs(bus: Bus) -> list[str]:
    found = (await JetStream(bus).subjects("IN_0", ">")).subjects
    return sorted(str(subjects.parse_input(subject).pack) for subject in found)


async def test_state_of_a_call(bus: Bus) -> None:
    """What waits and what is finished, in order; a pack with a result does not wait any more."""
    await put_input(bus, 64, 10)
    await put_input(bus, 0, 64)
    await put_input(bus, 74, 1)
    await put_result(bus, 0, 64)
    await bus.publisher.publish(subjects.chunk("main", CALL, 0), b"chunk", msg_id="g0")
    state = await bus.call(api.CALL_GET, REF)
    assert state == api.CallState(
        call_id=CALL, pending=("64-10", "74-1"), finished=("0-64",), state="pending", inputs=75
    )
    some = await bus.call(api.CALL_GET, replace(REF, indices=(3, 74)))
    assert some == api.CallState(
        call_id=CALL, pending=("74-1",), finished=("0-64",), state="pending", inputs=75
    )


async def test_unknown_call_is_empty(bus: Bus) -> None:
    """Nothing is stored of a call that nobody made, or that was forgotten."""
    state = await bus.call(api.CALL_GET, REF)
    assert state == api.CallState(call_id=CALL, pending=(), finished=(), state="unknown")


async def test_states_of_a_call(bus: Bus) -> None:
    """Pending while anything has no result, then finished; forgotten it is unknown again."""
    await put_input(bus, 0, 2)
    await put_input(bus, 2, 1)
    await put_result(bus, 0, 2)
    assert await phase(bus) == "pending"
    await put_result(bus, 2, 1)
    assert await phase(bus) == "finished"
    await bus.call(api.CALL_CANCEL, REF)  # too late
    assert await phase(bus) == "finished"
    await bus.call(api.CALL_FORGET, REF)
    assert await phase(bus) == "unknown"


async def phase(bus: Bus) -> str:
    return (await bus.call(api.CALL_GET, REF)).state


async def test_a_cancelled_call_says_so(bus: Bus) -> None:
    """From then on, also to who asks for one of the inputs that had ended before; a late result changes nothing."""
    await put_input(bus, 0, 1)
    await put_input(bus, 1, 1)
    await put_result(bus, 0, 1)
    await bus.call(api.CALL_CANCEL, REF)
    with pytest.raises(Exception, match="10077"):
        await put_result(bus, 1, 1)
    assert await phase(bus) == "cancelled"
    assert (await bus.call(api.CALL_GET, replace(REF, indices=(0,)))).state == "cancelled"


async def test_a_cancelled_call_stays_so_when_a_pack_ends_by_itself(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may be faster with one pack than the cancellation that has ended others already."""
    monkeypatch.setattr(endings, "PAGE", 1)
    slow = endings.Endings._end_page
    await put_input(bus, 0, 1)
    await put_input(bus, 1, 1)

    async def end_page(self: endings.Endings, page: list[Any], *rest: Any) -> list[str]:
        concerned = await slow(self, page, *rest)
        if Pack(0, 1) in [subjects.parse_input(subject).pack for subject in concerned]:
            await put_result(bus, 1, 1)
        return concerned

    monkeypatch.setattr(endings.Endings, "_end_page", end_page)
    await bus.call(api.CALL_CANCEL, REF)
    assert await statuses(bus, 0, 1) == ["cancelled"]
    assert await statuses(bus, 1, 1) == ["ok"]
    assert await phase(bus) == "cancelled"


async def test_a_cancellation_that_comes_too_late_for_all_is_none(bus: Bus) -> None:
    """Their results are stored, though their inputs are not acknowledged yet."""
    await put_input(bus, 0, 1)
    await put_result(bus, 0, 1)
    await bus.call(api.CALL_CANCEL, REF)
    assert await phase(bus) == "finished"


async def test_a_call_of_too_many_packs_is_asked_for_in_part(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply has a bound; what some inputs are at, and how many there are, can always be had."""
    monkeypatch.setattr(calls, "MOST_LISTED", 2)
    for n in range(3):
        await put_input(bus, n, 1)
    with pytest.raises(ApiFailure, match="more than 2 packs") as caught:
        await bus.call(api.CALL_GET, REF)
    assert caught.value.code == "exhausted"
    one = await bus.call(api.CALL_GET, replace(REF, indices=(1,)))
    assert (one.pending, one.inputs, one.state) == (("1-1",), 3, "pending")


@pytest.mark.parametrize("endpoint", [api.CALL_CANCEL, api.CALL_GET, api.CALL_FORGET])
async def test_malformed_call_id_is_invalid(bus: Bus, endpoint: api.Endpoint[api.CallRef, object]) -> None:
    """An id that cannot be one is the caller's fault."""
    with pytest.raises(ApiFailure, match="fc-nonsense") as caught:
        await bus.call(endpoint, api.CallRef(ws="main", call_id="fc-nonsense"))
    assert caught.value.code == "invalid"


async def test_cancel_ends_all_that_waits(bus: Bus) -> None:
    """Every input without a result is cancelled for good, its message gone, and those who run it are told."""
    heard: list[CallControl] = []
    events: list[Event] = []
    await bus.subscribe(
        subjects.call_control("main", CALL), lambda msg: heard.append(decode(CallControl, msg.data))
    )
    await bus.subscribe(
        subjects.event("main", "*", "*", CALL), lambda msg: events.append(decode(Event, msg.data))
    )
    await put_input(bus, 0, 2)
    await put_input(bus, 2, 1)
    await put_input(bus, 0, 1, call_id="fc-s1-0-8")
    await bus.call(api.CALL_CANCEL, REF)
    assert await statuses(bus, 0, 2) == ["cancelled", "cancelled"]
    assert await statuses(bus, 2, 1) == ["cancelled"]
    assert await inputs(bus) == ["0-1"]
    await until(lambda: heard and events)
    assert (heard[0].verb, heard[0].indices) == ("cancel", ())
    assert events[0].kind == "call.cancelled"


async def test_cancel_does_not_undo_a_result(bus: Bus) -> None:
    """A result that stands already stays: the first one wins."""
    await put_input(bus, 0, 1)
    await put_result(bus, 0, 1)
    await bus.call(api.CALL_CANCEL, REF)
    assert await statuses(bus, 0, 1) == ["ok"]
    assert await inputs(bus) == []


async def test_cancel_is_final(bus: Bus) -> None:
    """A worker that finishes after the cancellation is too late."""
    await put_input(bus, 0, 1)
    await bus.call(api.CALL_CANCEL, REF)
    with pytest.raises(Exception, match="10077"):
        await put_result(bus, 0, 1)
    assert await statuses(bus, 0, 1) == ["cancelled"]


async def test_cancel_goes_page_by_page(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many inputs wait, each has its result before its message goes; other calls keep theirs."""
    monkeypatch.setattr(endings, "PAGE", 8)
    for n in range(50):
        await put_input(bus, n, 1)
        await put_input(bus, n, 1, call_id="fc-s1-0-8")
    await bus.call(api.CALL_CANCEL, REF)
    assert [(await statuses(bus, n, 1))[0] for n in range(50)] == ["cancelled"] * 50
    assert len(await inputs(bus)) == 50
    assert await phase(bus) == "cancelled"


async def test_cancel_of_some_inputs_keeps_the_others(bus: Bus) -> None:
    """A pack that is cancelled in part is split: the others go on in packs of their own, with their arguments."""
    await put_input(bus, 0, 3, attempt=2, method="m", history=HISTORY)
    await put_input(bus, 3, 1)
    await put_input(bus, 4, 1)
    await bus.call(api.CALL_CANCEL, api.CallRef(ws="main", call_id=CALL, indices=(1, 3)))
    assert await statuses(bus, 0, 3) == ["moved", "cancelled", "moved"]
    assert await statuses(bus, 3, 1) == ["cancelled"]
    assert await inputs(bus) == ["0-1", "2-1", "4-1"]
    moved = await get_last(bus, "IN_0", f"in.0.main.fu-1.lo.{CALL}.2-1.2")
    assert moved is not None
    pack = decode(InputPack, moved.data)
    assert (pack.first, pack.args, pack.attempt) == (2, (b"arg2",), 2)
    assert (pack.method, pack.history) == ("m", HISTORY)


async def test_earlier_attempts_are_told(bus: Bus) -> None:
    """The result of an input that is cancelled between two attempts names those that there were."""
    await put_input(bus, 0, 1, attempt=2, history=HISTORY)
    await bus.call(api.CALL_CANCEL, REF)
    stored = await get_last(bus, "RESULTS", subjects.result("main", CALL, Pack(0, 1)))
    assert stored is not None
    error = decode(ResultPack, stored.data).results[0].error
    assert error is not None
    assert error.history == HISTORY


async def test_cancel_catches_retries_that_appear_meanwhile(bus: Bus) -> None:
    """Attempts that are published while a call is being cancelled are cancelled too."""
    async with anyio.create_task_group() as tasks:

        async def keep_trying() -> None:
            for n in range(100):
                await put_input(bus, n, 1)

        tasks.start_soon(keep_trying)
        for _ in range(10):
            await bus.call(api.CALL_CANCEL, REF)
    await bus.call(api.CALL_CANCEL, REF)
    assert await inputs(bus) == []
    state = await bus.call(api.CALL_GET, REF)
    assert len(state.finished) == 100


async def test_cancel_of_nothing_is_harmless(bus: Bus) -> None:
    """A call that is over can be cancelled, to no effect."""
    assert await bus.call(api.CALL_CANCEL, REF) == api.Done()


async def test_forget_removes_the_results_of_one_call(bus: Bus) -> None:
    """A caller that has taken its results can have them removed; those of others stay."""
    await put_result(bus, 0, 64)
    await put_result(bus, 0, 1, call_id="fc-s1-0-8")
    await bus.call(api.CALL_FORGET, REF)
    assert (await bus.call(api.CALL_GET, REF)).finished == ()
    other = await bus.call(api.CALL_GET, api.CallRef(ws="main", call_id="fc-s1-0-8"))
    assert other.finished == ("0-1",)
