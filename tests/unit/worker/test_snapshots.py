"""afield_worker.runners.snapshots: which snapshots there are, and when they go."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from afield._wire.functions import Scaling
from afield._wire.guest import Forked, Start
from afield_worker.runners import snapshots
from afield_worker.runners.snapshots import Snapshot, Snapshots
from support.guests import make_start
from support.waiting import until

pytestmark = pytest.mark.anyio


class FakeTemplate:
    """Notes what it is told to kill."""

    def __init__(self) -> None:
        self.killed: list[str] = []

    def kill(self, container_id: str, signum: int, *, tree: bool = False) -> None:  # noqa: ARG002
        self.killed.append(container_id)


class Bench:
    """Snapshots, and what they were told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.template = FakeTemplate()
        self.snapshots = Snapshots()
        self.made: list[Snapshot] = []

    def start(self, **spec: Any) -> Start:
        return make_start(self.folder / "home", "", snapshot=True, **spec)

    def make(self, start: Start) -> Snapshot:
        """Begin a snapshot."""
        template: Any = self.template
        snapshot = Snapshot(start, template, lambda _: None, self.on_forked, lambda _: None)
        self.made.append(snapshot)
        self.snapshots.add(snapshot)
        return snapshot

    def on_forked(self, snapshot: Snapshot, frame: Forked) -> None:
        self.snapshots.made(snapshot, frame.pid)
        self.snapshots.container_began(snapshot)

    def finish(self, snapshot: Snapshot) -> None:
        """It became a template, with one container."""
        snapshot.on_forked(Forked(container_id=snapshot.first, pid=7))


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """A bench whose idle snapshots go at once."""
    monkeypatch.setattr(snapshots, "LEAST_IDLE_S", 0.0)
    bench = Bench(tmp_path)
    yield bench
    for snapshot in bench.made:
        bench.snapshots.ended(snapshot, "ended")
        os.close(snapshot.descriptor)


async def test_one_is_made_for_each_version(bench: Bench) -> None:
    """It is found while it is being made, and when it is; another version's is another."""
    first, other = bench.start(), bench.start(version=2)
    assert bench.snapshots.wanted(first.function)
    snapshot = bench.make(first)
    assert bench.snapshots.find(first.function) is snapshot
    assert not snapshot.ready

    bench.finish(snapshot)

    assert (snapshot.ready, snapshot.pid, snapshot.settled.is_set()) == (True, 7, True)
    assert bench.snapshots.find(other.function) is None


async def test_a_refusal_is_remembered_for_its_version(bench: Bench) -> None:
    """The function's next version tries again."""
    start, other = bench.start(), bench.start(version=2)
    snapshot = bench.make(start)

    bench.snapshots.refuse(snapshot)

    assert snapshot.settled.is_set()
    assert bench.snapshots.find(start.function) is None
    assert not bench.snapshots.wanted(start.function)
    assert bench.snapshots.wanted(other.function)
    assert bench.snapshots.by_id(snapshot.id) is snapshot


async def test_refusals_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten first."""
    monkeypatch.setattr(snapshots, "_MOST_REFUSALS", 2)
    starts = [bench.start() for _ in range(3)]
    for number, start in enumerate(starts):
        object.__setattr__(start.function, "function_id", f"fu-{number}")
        bench.snapshots.refuse(bench.make(start))

    assert [bench.snapshots.wanted(start.function) for start in starts] == [True, False, False]


async def test_an_idle_one_goes_unless_it_is_needed_again(bench: Bench) -> None:
    """The wait begins anew with each last container."""
    start = bench.start(scaling=Scaling(scaledown_window=0.05))
    snapshot = bench.make(start)
    bench.finish(snapshot)
    bench.snapshots.container_gone(snapshot)
    bench.snapshots.container_began(snapshot)
    await anyio.sleep(0.1)
    assert bench.template.killed == []

    bench.snapshots.container_gone(snapshot)

    await until(lambda: bench.template.killed == [snapshot.id])
    assert bench.snapshots.find(start.function) is None


async def test_an_outdated_one_goes_with_its_last_container(bench: Bench) -> None:
    """At once; until then it is kept for those that it has."""
    snapshot = bench.make(bench.start())
    bench.finish(snapshot)

    bench.make(bench.start(version=2))

    assert bench.snapshots.find(bench.start().function) is None
    assert bench.template.killed == []
    bench.snapshots.container_gone(snapshot)
    await until(lambda: bench.template.killed == [snapshot.id])


async def test_an_older_version_outdates_none(bench: Bench) -> None:
    """A start that comes late must not end what is current."""
    current = bench.make(bench.start(version=2))
    bench.finish(current)

    bench.make(bench.start(version=1))

    assert bench.snapshots.find(bench.start(version=2).function) is current


async def test_one_that_is_retired_while_it_is_made_goes_later(bench: Bench) -> None:
    """When it has been made, and its first container has gone."""
    snapshot = bench.make(bench.start())
    bench.snapshots.retire("ap-1", "")
    bench.finish(snapshot)
    assert bench.template.killed == []

    bench.snapshots.container_gone(snapshot)

    await until(lambda: bench.template.killed == [snapshot.id])
