"""Leases."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import anyio.to_thread
import pytest

from afield._bus import Bus, BusAddress
from afield._bus.kv import Bucket
from afield._bus.lease import Lease
from afield._wire.streams import LEASE
from support.nats import NatsServer
from support.streams import make_asset
from support.waiting import until, until_true

pytestmark = pytest.mark.anyio


class Candidate:
    """A lease and what happened to it."""

    def __init__(
        self,
        bus: Bus,
        name: str,
        *,
        key: str,
        ttl: float,
        renew: float,
        is_dead: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.lease = Lease(Bucket(bus, "LEASE"), key, name, ttl=ttl, renew=renew, is_dead=is_dead)
        self.events: list[str] = []
        self.scope = anyio.CancelScope()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Compete until `scope` is cancelled."""
        with self.scope:
            await self.lease.run(
                lambda: self.events.append("acquired"),
                lambda: self.events.append("lost"),
                task_status=task_status,
            )


@asynccontextmanager
async def competing(
    bus: Bus, *names: str, key: str, ttl: float = 2, renew: float = 0.5
) -> AsyncIterator[list[Candidate]]:
    """Candidates that compete, the first one holding the lease."""
    await make_asset(bus, LEASE)
    candidates = [Candidate(bus, name, key=key, ttl=ttl, renew=renew) for name in names]
    async with anyio.create_task_group() as tasks:
        for candidate in candidates:
            await tasks.start(candidate.run)
            await until(lambda: candidates[0].lease.held)
        yield candidates
        tasks.cancel_scope.cancel()


async def test_one_candidate_holds_it_and_keeps_it(bus: Bus) -> None:
    """Of several candidates one gets the lease, and keeps it by renewing beyond its time to live."""
    async with competing(bus, "a", "b", "c", key="keep", ttl=1, renew=0.3) as (a, b, c):
        await anyio.sleep(2.5)
        assert (a.events, b.events, c.events) == (["acquired"], [], [])
        assert a.lease.revision > 0


async def test_lease_given_back_is_taken_at_once(bus: Bus) -> None:
    """A holder that stops gives the lease back; the other has it long before it would have lapsed, with a higher fence."""
    async with competing(bus, "a", "b", key="back", ttl=300, renew=100) as (a, b):
        fence = a.lease.revision
        a.scope.cancel()
        await until(lambda: b.lease.held)
        assert a.events == ["acquired", "lost"]
        assert not a.lease.held
        assert b.lease.revision > fence


async def test_lease_of_a_dead_holder_lapses(bus: Bus) -> None:
    """A holder that vanishes without a word is followed by another after the time to live, not after a marker's."""
    await make_asset(bus, LEASE)
    await Bucket(bus, "LEASE").create("dead", b"gone", ttl=1)
    candidate = Candidate(bus, "b", key="dead", ttl=2, renew=0.5)
    async with anyio.create_task_group() as tasks:
        await tasks.start(candidate.run)
        await until(lambda: candidate.lease.held, timeout=5)
        candidate.scope.cancel()


async def test_lease_that_the_server_keeps_too_long_is_taken_over(bus: Bus) -> None:
    """A lease that a server brought back without its time to live is taken when nobody renewed it for that long."""
    await make_asset(bus, LEASE)
    revision = await Bucket(bus, "LEASE").put("kept", b"gone")
    candidate = Candidate(bus, "b", key="kept", ttl=1, renew=0.3)
    async with anyio.create_task_group() as tasks:
        await tasks.start(candidate.run)
        await until(lambda: candidate.lease.held, timeout=5)
        assert candidate.lease.revision > revision
        candidate.scope.cancel()


async def test_lease_of_a_holder_known_to_be_dead_is_taken_at_once(bus: Bus) -> None:
    """Who is certain that the holder is no more does not wait for the lease to lapse; others do."""
    await make_asset(bus, LEASE)
    await Bucket(bus, "LEASE").put("certain", b"gone", ttl=300)
    other = Candidate(bus, "b", key="certain", ttl=300, renew=100)
    heir = Candidate(bus, "c", key="certain", ttl=300, renew=100, is_dead=lambda holder: holder == "gone")
    async with anyio.create_task_group() as tasks:
        await tasks.start(other.run)
        await tasks.start(heir.run)
        await until(lambda: heir.lease.held)
        assert not other.lease.held
        tasks.cancel_scope.cancel()


async def test_holder_that_cannot_renew_gives_up_in_time(own_server: NatsServer, own_bus: Bus) -> None:
    """Without a server the holder counts the lease as lost before anybody else could get it, and takes it again later."""
    async with competing(own_bus, "a", key="cut", ttl=1.2, renew=0.3) as (a,):
        await anyio.to_thread.run_sync(own_server.kill9)
        await until(lambda: a.events == ["acquired", "lost"], timeout=5)
        assert not a.lease.held
        await anyio.to_thread.run_sync(own_server.start)
        await until(lambda: a.lease.held)


async def test_holder_survives_a_short_restart(own_server: NatsServer, own_bus: Bus) -> None:
    """A restart of the server shorter than the lease changes nothing."""
    async with competing(own_bus, "a", key="short", ttl=10, renew=0.2) as (a,):
        await anyio.to_thread.run_sync(own_server.restart)
        async with Bus.open(BusAddress(own_server.url), name="other") as other:
            before = await Bucket(other, "LEASE").get("short")
            assert before is not None

            async def renewed() -> bool:
                entry = await Bucket(other, "LEASE").get("short")
                return entry is not None and entry.revision > before.revision

            await until_true(renewed)
        assert a.events == ["acquired"]


async def test_lease_taken_by_force_is_lost(bus: Bus) -> None:
    """When somebody else writes the key, the holder learns it at the next renewal."""
    async with competing(bus, "a", key="force", ttl=5, renew=0.2) as (a,):
        await Bucket(bus, "LEASE").put("force", b"thief", ttl=1)
        await until(lambda: a.events[:2] == ["acquired", "lost"])


async def test_renewing_too_late_is_refused(bus: Bus) -> None:
    """A renewal period that leaves no time before the lease lapses is an error."""
    with pytest.raises(ValueError, match="renew"):
        Lease(Bucket(bus, "LEASE"), "k", "a", ttl=1, renew=1)
