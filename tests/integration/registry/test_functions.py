"""Variants, scaling and the end of functions, on a real server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from afield._bus.connection import Bus
from afield._bus.direct import get_all
from afield._bus.errors import ApiFailure
from afield._wire import api, subjects
from afield._wire.codec import decode, encode
from afield._wire.functions import (
    AppState,
    Batching,
    Concurrency,
    FunctionRecord,
    FunctionSpec,
    MethodSpec,
    Options,
    Scaling,
)
from afield._wire.messages import InputPack, ResultPack
from afield_common import endings
from afield_common.clock import ManualClock
from afield_common.jetstream import JetStream
from afield_registry import apps, variants
from afield_registry.service import RegistryService
from afield_registry.settings import RegistrySettings
from support.records import create, publish, spec
from support.services import connected, running
from support.waiting import until, until_true

pytestmark = pytest.mark.anyio

SETTINGS = RegistrySettings(shards=1)


@asynccontextmanager
async def registry(bus: Bus, clock: ManualClock | None = None) -> AsyncIterator[RegistryService]:
    """A registry on a connection of its own."""
    async with (
        connected(bus.address.url, "registry") as own,
        running(RegistryService(own, SETTINGS, clock=clock)) as service,
    ):
        yield service


def cls(**changes: Any) -> FunctionSpec:
    return spec("C", **{"methods": {"m": MethodSpec()}, **changes})


async def published(
    bus: Bus, *specs: FunctionSpec, state: AppState = "ephemeral"
) -> tuple[str, tuple[FunctionRecord, ...]]:
    """Start an app with functions; return its id and them."""
    made = await bus.call(api.APP_CREATE, create(state=state))
    return made.app_id, (await bus.call(api.APP_PUBLISH, publish(*specs, app_id=made.app_id))).functions


async def bind(bus: Bus, function_id: str, params: bytes = b"", **options: Any) -> FunctionRecord:
    """Ask for a variant."""
    asked = Options(**options) if options else None
    request = api.BindFunction(ws="main", function_id=function_id, params=params, options=asked)
    return await bus.call(api.FUNCTION_BIND, request)


async def scale(bus: Bus, function_id: str, **settings: Any) -> FunctionRecord:
    return await bus.call(
        api.FUNCTION_SCALE, api.ScaleFunction(ws="main", function_id=function_id, **settings)
    )


async def get(bus: Bus, **which: Any) -> FunctionRecord:
    return await bus.call(api.FUNCTION_GET, api.FunctionRef(ws="main", **which))


async def consumers(bus: Bus) -> set[str]:
    return {state.name async for state in JetStream(bus).consumers("IN_0")}


def lanes(*records: FunctionRecord) -> set[str]:
    return {subjects.input_consumer("main", r.function_id, lane) for r in records for lane in subjects.LANES}


async def refusal(wanted: Any) -> tuple[str, str]:
    """The code and the words of a request that is refused."""
    with pytest.raises(ApiFailure) as caught:
        await wanted
    return caught.value.code, caught.value.message


# -- consumers ---------------------------------------------------------------------------------------


async def test_functions_beyond_a_number_get_their_consumers_later(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of a second publish of the same app; those that are published again stay as they are."""
    monkeypatch.setattr(apps, "MOST_AWAKE", 2)
    async with registry(bus):
        app_id, (f, g) = await published(bus, spec("f"), spec("g"))
        more = (await bus.call(api.APP_PUBLISH, publish(spec("h"), app_id=app_id))).functions
        assert [record.asleep for record in (f, g, *more)] == [False, False, True]
        assert await consumers(bus) == lanes(f, g)


# -- variants ---------------------------------------------------------------------------------------


async def test_class_is_found_by_name(bus: Bus) -> None:
    """A class has an id of its own kind, and is looked up like a function."""
    async with registry(bus):
        app_id, (c,) = await published(bus, cls())
        assert c.function_id.startswith("cs-")
        assert await get(bus, app_id=app_id, name="C") == c
        assert await get(bus, app_name="demo", name="C") == c


async def test_variant_is_a_function_of_its_own(bus: Bus) -> None:
    """It has its id, its consumers, its arguments, and its options applied; and can be looked up."""
    async with registry(bus):
        _, (c,) = await published(bus, cls(timeout=60.0))
        variant = await bind(bus, c.function_id, b"args", timeout=5.0)
        assert variant.function_id not in ("", c.function_id)
        assert (variant.base_id, variant.params, variant.spec.timeout) == (c.function_id, b"args", 5.0)
        assert await consumers(bus) == lanes(c, variant)
        assert await get(bus, function_id=variant.function_id) == variant


async def test_nothing_asked_for_is_the_base(bus: Bus) -> None:
    """A class without arguments and options runs in the containers of the class itself."""
    async with registry(bus):
        _, (c,) = await published(bus, cls())
        assert await bind(bus, c.function_id) == c
        assert await bind(bus, c.function_id, env={}) == c


async def test_equal_requests_are_one_variant(bus: Bus) -> None:
    """However many ask at once, and whichever registry answers."""
    found: list[FunctionRecord] = []
    async with registry(bus), registry(bus) as other:
        _, (c,) = await published(bus, cls())
        await until(lambda: other._index.function("main", c.function_id))

        async def ask() -> None:
            found.append(await bind(bus, c.function_id, b"args", env={"A": "1"}))

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask)
        assert found == [found[0]] * 20
        assert await consumers(bus) == lanes(c, found[0])


async def test_variant_of_a_variant_has_both_options(bus: Bus) -> None:
    """Its options are merged, its arguments stay unless others are given, and the base is the base of both."""
    async with registry(bus):
        _, (c,) = await published(bus, cls())
        one = await bind(bus, c.function_id, b"args", timeout=5.0)
        both = await bind(bus, one.function_id, concurrency=Concurrency(max_inputs=3))
        assert both.options == Options(timeout=5.0, concurrency=Concurrency(max_inputs=3))
        assert (both.base_id, both.params, both.spec.timeout) == (c.function_id, b"args", 5.0)
        assert (await bind(bus, both.function_id, b"other")).params == b"other"
        assert await bind(bus, one.function_id, timeout=5.0) == one


async def test_variants_follow_their_base(bus: Bus) -> None:
    """When the base is published again its variants are derived anew: same id, next version."""
    async with registry(bus):
        app_id, (c,) = await published(bus, cls(retries=spec().retries, timeout=60.0))
        one = await bind(bus, c.function_id, b"args")
        two = await bind(bus, c.function_id, timeout=5.0)
        await bus.call(api.APP_PUBLISH, publish(cls(timeout=90.0), app_id=app_id))
        new = await get(bus, function_id=one.function_id)
        assert (new.version, new.spec.timeout) == (2, 90.0)
        assert await get(bus, function_id=two.function_id) == two
        assert await bind(bus, c.function_id, b"args") == new


async def test_variant_that_cannot_be_any_more_is_taken_away(bus: Bus) -> None:
    """A new base may rule out what a variant asks for; it can be asked for again when another one allows it."""
    async with registry(bus):
        app_id, (c,) = await published(bus, cls())
        variant = await bind(bus, c.function_id, batching=Batching(max_batch_size=2, wait_ms=1))
        two = {"a": MethodSpec(), "b": MethodSpec()}
        await bus.call(api.APP_PUBLISH, publish(cls(methods=two), app_id=app_id))
        assert (await refusal(get(bus, function_id=variant.function_id)))[0] == "not_found"
        assert lanes(variant).isdisjoint(await consumers(bus))
        await bus.call(api.APP_PUBLISH, publish(cls(), app_id=app_id))
        again = await bind(bus, c.function_id, batching=Batching(max_batch_size=2, wait_ms=1))
        assert again.function_id == variant.function_id
        assert await get(bus, function_id=again.function_id) == again


async def test_variants_go_with_their_app(bus: Bus) -> None:
    """Their consumers and records, and a while later the last trace of them."""
    clock = ManualClock()
    async with registry(bus, clock):
        app_id, (c,) = await published(bus, cls())
        variant = await bind(bus, c.function_id, b"args")
        await bus.call(api.APP_STOP, api.AppRef(ws="main", app_id=app_id))
        assert await consumers(bus) == set()
        assert (await refusal(bind(bus, variant.function_id, timeout=1.0)))[0] == "not_found"
        await swept(bus, clock, variant)


async def swept(bus: Bus, clock: ManualClock, variant: FunctionRecord) -> None:
    """Return when the bucket holds nothing of a variant any more."""
    key = subjects.kv("REG", subjects.function_key("main", variant.function_id))

    async def gone() -> bool:
        clock.advance(1.0)
        return not (await JetStream(bus).subjects("KV_REG", key)).subjects

    await until_true(gone)


async def test_new_registry_finds_variants_that_were_not_swept(bus: Bus) -> None:
    """Also when the one that stopped the app did not live long enough."""
    clock = ManualClock()
    async with registry(bus, clock):
        app_id, (c,) = await published(bus, cls())
        variant = await bind(bus, c.function_id, b"args")
        await bus.call(api.APP_STOP, api.AppRef(ws="main", app_id=app_id))
    async with registry(bus, clock):
        await put_input(bus, variant, 1)
        await swept(bus, clock, variant)
    assert await results(bus) == ["cancelled"]


async def test_variants_of_an_app_are_bounded(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound a new one is refused; those that are there can still be had."""
    monkeypatch.setattr(variants, "MAX_VARIANTS", 2)
    async with registry(bus):
        _, (c,) = await published(bus, cls())
        one = await bind(bus, c.function_id, b"1")
        await bind(bus, c.function_id, b"2")
        assert (await refusal(bind(bus, c.function_id, b"3")))[0] == "exhausted"
        assert await bind(bus, c.function_id, b"1") == one


@pytest.mark.parametrize(
    ("params", "options", "says"),
    [
        (b"args", {}, "no class"),
        (b"", {"cpu": -1.0}, "cpu"),
        (b"", {"cpu_limit": 1.0}, "cpu_limit"),
        (b"", {"min_containers": 9, "max_containers": 3}, "max_containers"),
        (b"", {"concurrency": Concurrency(max_inputs=0)}, "max_inputs"),
        (b"", {"gpu": ("H100:none",)}, "H100:none"),
    ],
)
async def test_bad_variants_are_refused(bus: Bus, params: bytes, options: dict[str, Any], says: str) -> None:
    """What no function could be published with, no variant can have; nothing is left of it."""
    async with registry(bus):
        _, (f,) = await published(bus, spec("f"))
        code, message = await refusal(bind(bus, f.function_id, params, **options))
        assert (code, says in message) == ("invalid", True)
        assert await consumers(bus) == lanes(f)


async def test_what_is_not_there_has_no_variants(bus: Bus) -> None:
    """Neither an unknown function nor one whose app was stopped."""
    async with registry(bus):
        app_id, (c,) = await published(bus, cls())
        assert (await refusal(bind(bus, "cs-none", b"x")))[0] == "not_found"
        await bus.call(api.APP_STOP, api.AppRef(ws="main", app_id=app_id))
        assert (await refusal(bind(bus, c.function_id, b"x")))[0] == "not_found"


async def test_stale_variant_is_put_right(bus: Bus) -> None:
    """A variant that was derived from a base that another registry replaced meanwhile is found and derived again."""
    clock = ManualClock()
    async with registry(bus, clock) as service:
        app_id, (c,) = await published(bus, cls(timeout=60.0), state="detached")
        await bus.call(api.APP_PUBLISH, publish(cls(timeout=90.0), app_id=app_id))
        stale = variants.bound(c, b"args", None, 1, None)
        await service._store.put_function(stale)

        async def right() -> bool:
            clock.advance(1.0)
            return (await get(bus, function_id=stale.function_id)).spec.timeout == 90.0

        await until_true(right)


# -- scaling ----------------------------------------------------------------------------------------


async def test_scale_holds_until_the_function_is_published(bus: Bus) -> None:
    """What is named changes, without a new version; publishing again undoes it."""
    async with registry(bus):
        app_id, (f,) = await published(bus, spec("f", scaling=Scaling(max_containers=4)))
        scaled = await scale(bus, f.function_id, min_containers=2, scaledown_window=5.0)
        assert scaled.spec.scaling == Scaling(min_containers=2, max_containers=4, scaledown_window=5.0)
        assert scaled.version == f.version
        assert await get(bus, function_id=f.function_id) == scaled
        again = await bus.call(api.APP_PUBLISH, publish(f.spec, app_id=app_id))
        assert again.functions == (f,)


async def test_variant_scales_by_itself(bus: Bus) -> None:
    """Its base does not follow, and to ask for it again does not undo it."""
    async with registry(bus):
        _, (c,) = await published(bus, cls())
        variant = await bind(bus, c.function_id, b"args")
        scaled = await scale(bus, variant.function_id, buffer_containers=3)
        assert await bind(bus, c.function_id, b"args") == scaled
        assert await get(bus, function_id=c.function_id) == c


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"min_containers": -1}, "min_containers"),
        ({"min_containers": 5}, "max_containers"),
        ({"max_containers": 0}, "max_containers"),
        ({"buffer_containers": -1}, "buffer_containers"),
        ({"scaledown_window": 1e9}, "scaledown"),
    ],
)
async def test_bad_scaling_is_refused(bus: Bus, settings: dict[str, Any], says: str) -> None:
    """Alone or with what is set already; nothing changes."""
    async with registry(bus):
        _, (f,) = await published(bus, spec("f", scaling=Scaling(max_containers=4)))
        code, message = await refusal(scale(bus, f.function_id, **settings))
        assert (code, says in message) == ("invalid", True)
        assert await get(bus, function_id=f.function_id) == f
        assert (await refusal(scale(bus, "fu-none")))[0] == "not_found"


# -- the end ----------------------------------------------------------------------------------------


async def put_input(bus: Bus, record: FunctionRecord, number: int, size: int = 1) -> str:
    """Publish a pack of a call of its own; return the call's id."""
    call_id = f"fc-s1-0-{number}"
    pack = InputPack(
        call_id=call_id,
        function_id=record.function_id,
        kind="spawn",
        first=0,
        args=(b"arg",) * size,
        sent_at=1.0,
    )
    subject = f"in.0.main.{record.function_id}.lo.{call_id}.0-{size}.1"
    await bus.publisher.publish(subject, encode(pack), msg_id=call_id)
    return call_id


async def results(bus: Bus) -> list[str]:
    """How all inputs ended."""
    stored = await get_all(bus, "RESULTS", "out.>")
    return [result.status for each in stored for result in decode(ResultPack, each.data).results]


async def test_who_waits_is_told_of_the_end(bus: Bus) -> None:
    """The inputs of a stopped app, and of its variants, end as cancelled, and say why; others go on."""
    async with registry(bus):
        app_id, (c,) = await published(bus, cls())
        _, (other,) = await published(bus, spec("f"))
        variant = await bind(bus, c.function_id, b"args")
        await put_input(bus, c, 1, size=3)
        await put_input(bus, variant, 2)
        await put_input(bus, other, 3)
        await bus.call(api.APP_STOP, api.AppRef(ws="main", app_id=app_id, reason="enough"))
        stored = await get_all(bus, "RESULTS", "out.>")
        ended = [r for each in stored for r in decode(ResultPack, each.data).results]
        assert [r.status for r in ended] == ["cancelled"] * 4
        assert all(r.error is not None and "app demo was stopped: enough" in r.error.message for r in ended)
        left = (await JetStream(bus).subjects("IN_0", "in.>")).subjects
        assert [subjects.parse_input(s).function_id for s in left] == [other.function_id]


async def test_many_inputs_end_page_by_page(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait, all have a result before the last message is gone."""
    monkeypatch.setattr(endings, "PAGE", 16)
    async with registry(bus):
        app_id, (f,) = await published(bus, spec("f"))
        for number in range(100):
            await put_input(bus, f, number)
        await bus.call(api.APP_STOP, api.AppRef(ws="main", app_id=app_id))
        await until_true(lambda: cleared(bus))
        assert await results(bus) == ["cancelled"] * 100


async def cleared(bus: Bus) -> bool:
    return not (await JetStream(bus).subjects("IN_0", "in.>")).subjects and not await consumers(bus)
