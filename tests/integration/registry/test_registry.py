"""The registry on a real server: requests, records, consumers, heartbeats, restarts."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from afield._bus.connection import Bus
from afield._bus.errors import ApiFailure
from afield._wire import api, subjects
from afield._wire.codec import decode
from afield._wire.functions import AppState, FunctionRecord
from afield._wire.ids import new_id
from afield._wire.messages import Event
from afield_common.clock import ManualClock
from afield_common.jetstream import JetStream
from afield_common.store import wait_for_assets
from afield_registry import apps
from afield_registry.service import RegistryService
from afield_registry.settings import RegistrySettings
from support.nats import NatsServer
from support.records import create, publish, spec
from support.services import connected, running
from support.waiting import until

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


def ref(app_id: str = "", name: str = "", reason: str = "") -> api.AppRef:
    return api.AppRef(ws="main", app_id=app_id, name=name, reason=reason)


async def started(
    bus: Bus, *names: str, state: AppState = "ephemeral"
) -> tuple[str, tuple[FunctionRecord, ...]]:
    """Start an app with functions."""
    made = await bus.call(api.APP_CREATE, create(state=state))
    request = publish(*(spec(name) for name in names), app_id=made.app_id)
    return made.app_id, (await bus.call(api.APP_PUBLISH, request)).functions


async def consumers(bus: Bus) -> set[str]:
    return {state.name async for state in JetStream(bus).consumers("IN_0")}


async def registered(bus: Bus, key: str = "fn.>") -> dict[str, int]:
    """The subjects that REG holds under a key pattern, deleted ones included only for `>`."""
    return (await JetStream(bus).subjects("KV_REG", f"$KV.REG.{key}")).subjects


async def test_app_from_start_to_stop(bus: Bus) -> None:
    """An app gets functions with consumers in both lanes; when it stops, they and the waiting inputs are gone."""
    async with registry(bus):
        app_id, functions = await started(bus, "f", "g")
        names = {
            subjects.input_consumer("main", f.function_id, lane) for f in functions for lane in ("hi", "lo")
        }
        assert await consumers(bus) == names
        subject = f"in.0.main.{functions[0].function_id}.hi.fc-s-0-1.0-1.1"
        await bus.publisher.publish(subject, b"x", msg_id="1")
        await bus.call(api.APP_STOP, ref(app_id, reason="done"))
        assert await consumers(bus) == set()
        assert (await JetStream(bus).subjects("IN_0", ">")).subjects == {}
        app = await bus.call(api.APP_GET, ref(app_id))
        assert (app.state, app.stop_reason) == ("stopped", "done")


async def test_function_is_found_by_id_and_by_name(bus: Bus) -> None:
    """A function can be looked up by its id, by app id and name, by app name and name."""
    async with registry(bus):
        app_id, (f,) = await started(bus, "f")
        for request in (
            api.FunctionRef(ws="main", function_id=f.function_id),
            api.FunctionRef(ws="main", app_id=app_id, name="f"),
            api.FunctionRef(ws="main", app_name="demo", name="f"),
        ):
            assert await bus.call(api.FUNCTION_GET, request) == f


@pytest.mark.parametrize(
    "request_",
    [
        api.FunctionRef(ws="main", function_id="fu-none"),
        api.FunctionRef(ws="main", app_name="demo", name="none"),
        api.FunctionRef(ws="main", app_name="none", name="f"),
        api.FunctionRef(ws="other", app_name="demo", name="f"),
    ],
)
async def test_what_is_not_there_is_not_found(bus: Bus, request_: api.FunctionRef) -> None:
    """A look-up in vain is `not_found`, and names what was sought."""
    async with registry(bus):
        await started(bus, "f")
        with pytest.raises(ApiFailure) as caught:
            await bus.call(api.FUNCTION_GET, request_)
        assert caught.value.code == "not_found"


async def test_functions_of_a_stopped_app_are_not_found(bus: Bus) -> None:
    """A stopped app's functions cannot be resolved any more, and it takes no others."""
    async with registry(bus):
        app_id, (f,) = await started(bus, "f")
        await bus.call(api.APP_STOP, ref(app_id))
        with pytest.raises(ApiFailure) as gone:
            await bus.call(api.FUNCTION_GET, api.FunctionRef(ws="main", function_id=f.function_id))
        with pytest.raises(ApiFailure, match="stopped"):
            await bus.call(api.APP_PUBLISH, publish(spec("g"), app_id=app_id))
        assert gone.value.code == "not_found"


async def test_publishing_twice_is_harmless(bus: Bus) -> None:
    """The same functions again have the same ids and versions; a changed one gets the next version."""
    async with registry(bus):
        app_id, first = await started(bus, "f", "g")
        again = await bus.call(api.APP_PUBLISH, publish(spec("f"), spec("g"), app_id=app_id))
        assert again.functions == first
        changed = await bus.call(api.APP_PUBLISH, publish(spec("f", timeout=9.0), app_id=app_id))
        assert (changed.functions[0].function_id, changed.functions[0].version) == (first[0].function_id, 2)


async def test_stopping_twice_is_harmless(bus: Bus) -> None:
    """The second stop changes nothing: the first reason stays."""
    async with registry(bus):
        app_id, _ = await started(bus, "f")
        await bus.call(api.APP_STOP, ref(app_id, reason="first"))
        await bus.call(api.APP_STOP, ref(app_id, reason="second"))
        assert (await bus.call(api.APP_GET, ref(app_id))).stop_reason == "first"


async def test_runs_of_one_name_are_apart(bus: Bus) -> None:
    """Two runs of an app have ids of their own; the name means the later one, then the one that is left."""
    async with registry(bus):
        first = await bus.call(api.APP_CREATE, create(name="twin"))
        second = await bus.call(api.APP_CREATE, create(name="twin"))
        assert (await bus.call(api.APP_GET, ref(name="twin"))).app_id == second.app_id
        await bus.call(api.APP_STOP, ref(second.app_id))
        assert (await bus.call(api.APP_GET, ref(name="twin"))).app_id == first.app_id
        listed = await bus.call(api.APP_LIST, api.ListApps(ws="main"))
        everything = await bus.call(api.APP_LIST, api.ListApps(ws="main", include_stopped=True))
        assert [a.app_id for a in listed.apps] == [first.app_id]
        assert [a.app_id for a in everything.apps] == [second.app_id, first.app_id]


async def test_a_repeated_start_makes_one_app(bus: Bus) -> None:
    """Whoever had no answer asks again; both requests may have arrived, and at the same time."""
    async with registry(bus):
        same = create(name="once", app_id=new_id("ap"))
        answers: list[str] = []

        async def start() -> None:
            answers.append((await bus.call(api.APP_CREATE, same)).app_id)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(start)
        await start()
        assert answers == [same.app_id] * 4
        listed = await bus.call(api.APP_LIST, api.ListApps(ws="main"))
        assert [app.app_id for app in listed.apps if app.name == "once"] == [same.app_id]
        with pytest.raises(ApiFailure, match="there is an app") as caught:
            await bus.call(api.APP_CREATE, replace(same, session="another"))
        assert caught.value.code == "conflict"
        with pytest.raises(ApiFailure, match="expected an id"):
            await bus.call(api.APP_CREATE, replace(same, app_id="fu-1"))
        await bus.call(api.APP_STOP, ref(same.app_id))
        with pytest.raises(ApiFailure, match="is stopped"):
            await bus.call(api.APP_CREATE, same)


async def test_invalid_requests_change_nothing(bus: Bus) -> None:
    """A request that cannot be is refused as a whole."""
    async with registry(bus):
        made = await bus.call(api.APP_CREATE, create())
        with pytest.raises(ApiFailure, match="two words") as caught:
            await bus.call(api.APP_PUBLISH, publish(spec("f"), spec("two words"), app_id=made.app_id))
        assert caught.value.code == "invalid"
        assert (await bus.call(api.APP_GET, ref(made.app_id))).functions == {}


async def test_start_and_stop_are_events(bus: Bus) -> None:
    """Whoever follows an app's events hears of its start and its end."""
    heard: list[Event] = []
    await bus.subscribe(subjects.event("main", "*"), lambda msg: heard.append(decode(Event, msg.data)))
    await bus.flush()
    async with registry(bus):
        made = await bus.call(api.APP_CREATE, create())
        await bus.call(api.APP_STOP, ref(made.app_id, reason="done"))
        await until(lambda: len(heard) == 2)
    assert [(e.kind, e.app_id) for e in heard] == [
        ("app.started", made.app_id),
        ("app.stopped", made.app_id),
    ]
    assert heard[1].detail == "done"


async def test_silent_client_loses_its_app(bus: Bus) -> None:
    """Three missed heartbeats stop an ephemeral app; a detached one stays, and so does one that beats."""
    clock = ManualClock()
    async with registry(bus, clock):
        silent = await bus.call(api.APP_CREATE, create())
        detached = await bus.call(api.APP_CREATE, create(state="detached"))
        alive = await bus.call(api.APP_CREATE, create())
        beat = api.AppHeartbeat(ws="main", app_id=alive.app_id, session="s1")
        for _ in range(3):
            clock.advance(silent.heartbeat_s)
            await bus.call(api.APP_HEARTBEAT, beat)
        with anyio.fail_after(10):
            while (await bus.call(api.APP_GET, ref(silent.app_id))).state != "stopped":
                clock.advance(0.1)
                await bus.call(api.APP_HEARTBEAT, beat)
        assert "heartbeat" in (await bus.call(api.APP_GET, ref(silent.app_id))).stop_reason
        running_now = await bus.call(api.APP_LIST, api.ListApps(ws="main"))
        assert {a.app_id for a in running_now.apps} == {detached.app_id, alive.app_id}


async def test_heartbeat_for_a_stopped_app_is_refused(bus: Bus) -> None:
    """A client whose app is gone is told so."""
    async with registry(bus):
        app_id, _ = await started(bus)
        await bus.call(api.APP_STOP, ref(app_id, reason="by hand"))
        with pytest.raises(ApiFailure, match="by hand") as caught:
            await bus.call(api.APP_HEARTBEAT, api.AppHeartbeat(ws="main", app_id=app_id, session="s1"))
        assert caught.value.code == "not_found"


async def test_restart_keeps_everything(bus: Bus) -> None:
    """A new registry knows what the old one knew, and gives every client a fresh grace."""
    clock = ManualClock()
    async with registry(bus, clock):
        app_id, (f,) = await started(bus, "f")
    clock.advance(1000)
    async with registry(bus, clock):
        found = await bus.call(api.FUNCTION_GET, api.FunctionRef(ws="main", function_id=f.function_id))
        assert found == f
        clock.advance(44)
        assert (await bus.call(api.APP_GET, ref(app_id))).state == "ephemeral"


async def test_restart_finishes_an_interrupted_stop(bus: Bus) -> None:
    """An app whose registry died between the record and the cleaning is cleaned by the next one."""
    async with registry(bus) as service:
        app_id, _ = await started(bus, "f")
        stored = service._index.app("main", app_id)
        assert stored is not None
        await service._store.change_app(apps.stopped(stored.record, "stop", "x", 1.0), stored.revision)
    async with registry(bus):
        with anyio.fail_after(10):
            while await consumers(bus) or await registered(bus):  # noqa: ASYNC110 - asked of the server
                await anyio.sleep(0.01)


async def test_two_registries_share_the_truth(bus: Bus) -> None:
    """What one registry wrote the other one knows, whoever answers."""
    async with registry(bus) as one, registry(bus) as two:
        for _ in range(6):
            app_id, _ = await started(bus, "f")
            await until(
                lambda wanted=app_id: all(  # type: ignore[misc]
                    (s := r._index.app("main", wanted)) is not None and s.record.functions for r in (one, two)
                )
            )
        assert len((await bus.call(api.APP_LIST, api.ListApps(ws="main"))).apps) == 6


async def test_lost_race_is_run_again(bus: Bus) -> None:
    """A change on a stale record is made again on the fresh one."""
    async with registry(bus) as service:
        app_id, _ = await started(bus, "f")
        stale = service._index.app("main", app_id)
        assert stale is not None
        await bus.call(api.APP_PUBLISH, publish(spec("g"), app_id=app_id))
        service._index._apps[subjects.app_key("main", app_id)] = stale
        await bus.call(api.APP_PUBLISH, publish(spec("h"), app_id=app_id))
        assert set((await bus.call(api.APP_GET, ref(app_id))).functions) == {"f", "g", "h"}


async def waiting(bus: Bus) -> set[str]:
    """The inputs that are stored."""
    return set((await JetStream(bus).subjects("IN_0", "in.>")).subjects)


async def test_inputs_that_come_after_the_end_are_swept(bus: Bus) -> None:
    """What was on its way when an app was stopped is removed a while later; other apps keep theirs."""
    clock = ManualClock()
    async with registry(bus, clock):
        app_id, (f,) = await started(bus, "f")
        _, (other,) = await started(bus, "f", state="detached")
        await bus.call(api.APP_STOP, ref(app_id))
        late, kept = (f"in.0.main.{each.function_id}.lo.fc-s-0-1.0-1.1" for each in (f, other))
        for subject in (late, kept):
            await bus.publisher.publish(subject, b"x", msg_id=subject)
        assert await waiting(bus) == {late, kept}
        with anyio.fail_after(10):
            while await waiting(bus) != {kept}:
                clock.advance(1.0)
                await anyio.sleep(0.01)


async def test_new_registry_sweeps_what_its_predecessor_did_not(bus: Bus) -> None:
    """The registry that stopped the app may not have lived long enough."""
    clock = ManualClock()
    async with registry(bus, clock):
        app_id, (f,) = await started(bus, "f")
        await bus.call(api.APP_STOP, ref(app_id))
    subject = f"in.0.main.{f.function_id}.hi.fc-s-0-1.0-1.1"
    await bus.publisher.publish(subject, b"x", msg_id="1")
    clock.advance(60)
    async with registry(bus, clock):
        with anyio.fail_after(10):
            while await waiting(bus):  # noqa: ASYNC110 - asked of the server
                await anyio.sleep(0.01)


async def test_old_stopped_apps_are_erased(bus: Bus) -> None:
    """A day after its stop nothing of an app is left in the bucket."""
    clock = ManualClock()
    async with registry(bus, clock):
        app_id, _ = await started(bus, "f")
        await bus.call(api.APP_STOP, ref(app_id))
        with anyio.fail_after(10):
            while await registered(bus, ">"):
                clock.advance(SETTINGS.keep_stopped_s)
                await anyio.sleep(0.01)


async def test_registry_survives_a_server_restart(server: NatsServer, bus: Bus) -> None:
    """After the server was killed and is back, the registry answers, and no app has lapsed."""
    clock = ManualClock()
    async with registry(bus, clock):
        app_id, _ = await started(bus, "f")
        clock.advance(40)
        await anyio.to_thread.run_sync(server.restart)
        app = await bus.call(api.APP_GET, ref(app_id), timeout=20)
        assert app.state == "ephemeral"


async def test_lost_store_is_made_again(server: NatsServer, bus: Bus) -> None:
    """When the server comes back with an empty store, the registry creates streams and buckets again."""
    async with registry(bus):
        await started(bus, "f")
        server.kill9()
        shutil.rmtree(server.folder / "store")
        await anyio.to_thread.run_sync(server.start)
        await wait_for_assets(bus, 1)
        made = await bus.call(api.APP_CREATE, create(), timeout=20)
        listed = await bus.call(api.APP_LIST, api.ListApps(ws="main"))
        assert made.app_id in {app.app_id for app in listed.apps}
