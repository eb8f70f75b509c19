"""afield_scheduler.eviction, through the planner's decisions: who makes room for whom."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._wire.functions import ContainerRecord, FunctionRecord, MethodSpec, Resources, Scaling
from afield_scheduler.backoff import Backoff
from afield_scheduler.crews import Placed
from afield_scheduler.eviction import LOOKED_AT
from afield_scheduler.offers import QUIET_S, SLICE_S, Anybody
from afield_scheduler.placement import OVERCOMMIT, need_of
from afield_scheduler.planner import Decision, decide
from afield_scheduler.snapshot import Snapshot
from support.fleet import container, function, worker

NOW = 1000.0
CORE = Resources(cpu=1.0)
HALF = Resources(memory_mib=2048)
"""Half of the memory of a worker."""


def held(
    container_id: str,
    function_id: str = "fu-a",
    *,
    idle: float | None = None,
    resources: Resources = CORE,
    **more: Any,
) -> ContainerRecord:
    """A container of another function: busy, or idle for so many seconds."""
    state: dict[str, Any] = {"busy": 1} if idle is None else {"idle_since": NOW - idle}
    return container(container_id, function_id, resources=resources, **{"started_at": 900.0, **state, **more})


def fleet(
    *containers: ContainerRecord,
    scaling: Scaling | None = None,
    spec: dict[str, Any] | None = None,
    **record: object,
) -> Snapshot:
    """One worker with two cores and 4 GiB."""
    snapshot = Snapshot()
    for function_id in {c.function_id for c in containers}:
        snapshot.put_function(function(function_id, scaling=scaling, **(spec or {})))
    snapshot.put_worker(worker("wk-1", *containers, **record))
    return snapshot


def ask(snapshot: Snapshot, *, backlog: int = 1, resources: Resources = CORE, wall: float = NOW) -> Decision:
    """Decide about fu-b."""
    asking = function("fu-b", resources=resources)
    snapshot.put_function(asking)
    snapshot.backlog["fu-b"] = backlog
    return decide(snapshot, asking, Backoff(), now=0.0, wall=wall)


def ids(containers: tuple[Placed, ...]) -> list[str]:
    """The ids of containers."""
    return [placed.record.container_id for placed in containers]


def test_longest_idle_makes_room() -> None:
    """On a full host the container that was idle for longest goes, and the new one starts beside its end."""
    decision = ask(fleet(held("ta-1", idle=20.0), held("ta-2", idle=30.0)))
    assert (ids(decision.evict), decision.start_on) == (["ta-2"], ("wk-1",))
    assert not decision.waiting


def test_nobody_goes_where_there_is_room() -> None:
    """Idle containers stay as long as nobody needs their place."""
    assert ask(fleet(held("ta-1", idle=30.0))) == Decision(start_on=("wk-1",))


def test_no_more_go_than_needed() -> None:
    """The longest idle go until there is room, but whoever does not help stays, however long it was idle."""
    small = Resources(cpu=0.25)
    full = [held(f"ta-{n}", idle=90.0 - n, resources=small) for n in range(4)]
    decision = ask(fleet(*full, held("ta-big", "fu-c", idle=10.0)))
    assert ids(decision.evict) == ["ta-0", "ta-1", "ta-2", "ta-3"]
    assert decision.start_on == ("wk-1",)
    device = Resources(cpu=0.25, gpu=("T4",))
    mixed = [held("ta-old", idle=90.0, resources=small), held("ta-gpu", idle=10.0, resources=device)]
    only = ask(fleet(*mixed, gpus=("T4",)), resources=device)
    assert ids(only.evict) == ["ta-gpu"]


def test_minimum_of_others_is_kept() -> None:
    """min_containers were paid for: they are never taken away."""
    kept = fleet(held("ta-1", idle=90.0), held("ta-2", idle=80.0), scaling=Scaling(min_containers=1))
    assert ids(ask(kept, backlog=2).evict) == ["ta-1"]


def test_growth_spares_those_between_two_inputs() -> None:
    """Who has containers does not take those of others that were busy a moment ago."""
    mine = held("ta-mine", "fu-b")
    for idle, gone in ((QUIET_S / 2, []), (QUIET_S, ["ta-1"])):
        decision = ask(fleet(mine, held("ta-1", idle=idle)), backlog=2)
        assert (ids(decision.evict), decision.short) == (gone, not gone)


def test_cores_are_promised_again_before_a_stream_is_broken() -> None:
    """A function that has nobody gets its first one beside busy ones, and beside those busy a moment ago."""
    for other in (held("ta-1", resources=Resources(cpu=2.0)), held("ta-1", idle=0.1)):
        decision = ask(fleet(other, held("ta-2")))
        assert (decision.start_on, ids(decision.evict), ids(decision.retire)) == (("wk-1",), [], [])


def test_cores_are_not_promised_without_end() -> None:
    """The bound holds, and the reason says so; then somebody busy makes room after what it runs."""
    full = [held(f"ta-{n}", f"fu-{n}") for n in range(2 * OVERCOMMIT)]
    decision = ask(fleet(*full))
    assert (decision.start_on, len(decision.retire)) == ((), 1)
    assert "cores free" in decision.waiting


def test_memory_is_never_promised_twice() -> None:
    """Without memory nothing starts before somebody is gone, but the place is kept free for it."""
    snapshot = fleet(held("ta-1", idle=20.0, resources=HALF), held("ta-2", idle=30.0, resources=HALF))
    decision = ask(snapshot, resources=HALF)
    assert (ids(decision.evict), decision.start_on, decision.waiting) == (["ta-2"], (), "")
    snapshot.mark_stopping("ta-2", 0.0)
    assert ask(snapshot, resources=HALF) == Decision(short=True, claim="wk-1")
    snapshot.ended("ta-2", "fu-a")
    assert ask(snapshot, resources=HALF).start_on == ("wk-1",)


def test_one_between_two_inputs_goes_for_a_function_that_has_nobody() -> None:
    """Fairness wins when nobody else is idle and memory is what is short."""
    decision = ask(
        fleet(held("ta-1", resources=HALF), held("ta-2", idle=0.0, resources=HALF)), resources=HALF
    )
    assert ids(decision.evict) == ["ta-2"]


def test_largest_function_gives_up_one_of_its_busy() -> None:
    """A burst never starves a function that has nobody: one of its containers retires after what it runs."""
    third = Resources(memory_mib=1365)
    burst = [held("ta-1", resources=third), held("ta-2", resources=third)]
    decision = ask(fleet(*burst, held("ta-3", "fu-c", resources=third)), resources=third)
    assert ids(decision.retire) == ["ta-1"]
    assert "MiB free" in decision.waiting


@pytest.mark.parametrize(("age", "turn"), [(SLICE_S / 2, []), (SLICE_S, ["ta-1"])])
def test_two_that_do_not_fit_together_take_turns(age: float, turn: list[str]) -> None:
    """The only container of a function has its time, and then makes room for one that has none."""
    whole = Resources(memory_mib=4096)
    snapshot = fleet(held("ta-1", resources=whole, started_at=NOW - age))
    assert ids(ask(snapshot, resources=whole).retire) == turn


def test_whoever_waits_for_its_own_calls_does_not_retire() -> None:
    """What it waits for may be what has no room."""
    snapshot = fleet(held("ta-1", resources=HALF, waits=True), held("ta-2", resources=HALF))
    assert ids(ask(snapshot, resources=HALF).retire) == ["ta-2"]


@pytest.mark.parametrize(
    "spec",
    [{"is_generator": True}, {"methods": {"one": MethodSpec(), "many": MethodSpec(is_generator=True)}}],
    ids=["function", "class"],
)
def test_generators_do_not_retire(spec: dict[str, Any]) -> None:
    """They may never end."""
    snapshot = fleet(held("ta-1", resources=HALF), held("ta-2", resources=HALF), spec=spec)
    assert ask(snapshot, resources=HALF).retire == ()


def test_one_retires_at_a_time() -> None:
    """While somebody is leaving, nobody else is asked to."""
    snapshot = fleet(held("ta-1", resources=HALF, state="stopping"), held("ta-2", resources=HALF))
    assert ask(snapshot, resources=HALF) == Decision(short=True, claim="wk-1")


def test_room_is_kept_for_whom_it_is_made() -> None:
    """What gets free goes to the function that waits for it, not to one that comes later, however small that is."""
    large = Resources(memory_mib=4000)
    snapshot = fleet(held("ta-1", resources=HALF, state="stopping"), held("ta-2", resources=HALF))
    decision = ask(snapshot, resources=large)
    assert ids(decision.retire) == ["ta-2"]
    snapshot.claim("fu-b", decision.claim, large, 1.0)
    snapshot.put_worker(worker("wk-1", held("ta-2", resources=HALF, state="stopping")))
    small = function("fu-c")
    snapshot.put_function(small)
    snapshot.backlog["fu-c"] = 1
    later = decide(snapshot, small, Backoff(), now=2.0, wall=NOW)
    assert (later.start_on, later.short) == ((), True)
    snapshot.put_worker(worker("wk-1"))
    assert ask(snapshot, resources=large).start_on == ("wk-1",)
    snapshot.claim("fu-b", "", large, 3.0)
    assert decide(snapshot, small, Backoff(), now=3.0, wall=NOW).start_on == ("wk-1",)


def test_first_claim_comes_first() -> None:
    """Of two that wait for the same room, the one that has waited for longer gets it."""
    snapshot = fleet()
    whole = Resources(memory_mib=4096)
    for function_id, since in (("fu-b", 1.0), ("fu-c", 2.0)):
        snapshot.put_function(function(function_id, resources=whole))
        snapshot.claim(function_id, "wk-1", whole, since)
        snapshot.claim(function_id, "wk-1", whole, since + 5.0)
    assert [host.memory_free for host in snapshot.view("fu-b").hosts()] == [4096]
    assert [host.memory_free for host in snapshot.view("fu-c").hosts()] == [0]


def test_bound_of_containers_makes_idle_ones_go() -> None:
    """A host with as many containers as it takes gives one up for a function that has none."""
    tiny = Resources(cpu=0.01)
    snapshot = fleet(held("ta-1", idle=9.0, resources=tiny), held("ta-2", resources=tiny), max_containers=2)
    decision = ask(snapshot, resources=tiny)
    assert (ids(decision.evict), decision.start_on) == (["ta-1"], ())


others = st.lists(
    st.tuples(
        st.sampled_from(["fu-a", "fu-c", "fu-d"]),
        st.none() | st.floats(0, 120),
        st.sampled_from([0.125, 0.5, 1.0]),
        st.sampled_from([128, 1024, 2048]),
        st.booleans(),
    ),
    max_size=12,
)


@given(others, st.integers(1, 20), st.sampled_from([0.125, 1.0, 2.0]), st.sampled_from([128, 2048]))
def test_nobody_goes_in_vain(
    drawn: list[tuple[str, float | None, float, int, bool]], backlog: int, cpu: float, memory: int
) -> None:
    """Whoever is evicted is idle, nobody retires while something starts, and with all gone what was planned fits."""
    containers = [
        held(f"ta-{n}", f, idle=idle, resources=Resources(cpu=c, memory_mib=m), waits=idle is None and waits)
        for n, (f, idle, c, m, waits) in enumerate(drawn)
    ]
    asked = Resources(cpu=cpu, memory_mib=memory)
    decision = ask(fleet(*containers), backlog=backlog, resources=asked)
    going = {*ids(decision.evict), *ids(decision.retire)}
    assert len(going) == len(decision.evict) + len(decision.retire)
    assert all(p.record.idle_since for p in decision.evict)
    assert not decision.retire or not decision.start_on
    left = [c for c in containers if c.container_id not in going]
    used = sum(c.resources.memory_mib for c in left) + memory * len(decision.start_on)
    assert not decision.start_on or used <= 4096
    if decision.evict:
        assert ask(fleet(*left), backlog=1, resources=asked).start_on


@given(others, st.sampled_from([0.125, 1.0, 2.0]), st.sampled_from([128, 2048]))
def test_a_function_without_anybody_is_never_stuck(
    drawn: list[tuple[str, float | None, float, int, bool]], cpu: float, memory: int
) -> None:
    """Event by event (those asked to go go, packs end) it gets its first container, unless everybody else waits."""
    left = [
        held(f"ta-{n}", f, idle=idle, resources=Resources(cpu=c, memory_mib=m))
        for n, (f, idle, c, m, _) in enumerate(drawn)
    ]
    for _ in range(len(left) + 1):
        decision = ask(fleet(*left), resources=Resources(cpu=cpu, memory_mib=memory))
        if decision.start_on:
            return
        assert decision.claim
        going = {*ids(decision.evict), *ids(decision.retire)}
        assert going
        left = [c for c in left if c.container_id not in going]
    raise AssertionError("nobody made room")


def test_two_busy_functions_do_not_take_from_each_other() -> None:
    """Both have work for more than the host holds: whoever has a container takes none of the other's."""
    mine = [held("ta-1", "fu-a"), held("ta-2", "fu-b")]
    snapshot = fleet(*mine)
    for asking in ("fu-a", "fu-b"):
        one: FunctionRecord = replace(snapshot.functions[asking])
        snapshot.backlog[asking] = 50
        decision = decide(snapshot, one, Backoff(), now=0.0, wall=NOW)
        assert decision == Decision(short=True)


def test_room_is_found_wherever_it_is() -> None:
    """However many containers are looked at in vain before: those that wait for calls of their own, on other hosts."""
    snapshot = fleet()
    small = Resources(cpu=0.01, memory_mib=32)
    for n in range(9):
        waits = n < 8
        crew = [
            held(f"ta-{n}-{m}", f"fu-{m}", resources=small, waits=waits, started_at=1.0 + waits)
            for m in range(100)
        ]
        snapshot.put_worker(worker(f"wk-{n}", *crew, memory_mib=3200))
    for m in range(100):
        snapshot.put_function(function(f"fu-{m}"))
    assert LOOKED_AT < 8 * 100
    decision = ask(snapshot, resources=small)
    assert [placed.worker_id for placed in decision.retire] == ["wk-8"]


def test_where_nobody_can_go_nobody_is_looked_at() -> None:
    """On no host, however many there are: those that wait for calls of their own, or must stay, cannot make room."""
    crew = [held(f"ta-{n}", resources=HALF, waits=True) for n in range(2)]
    must_stay = Scaling(min_containers=2)
    for snapshot in (fleet(*crew), fleet(*(replace(c, waits=False) for c in crew), scaling=must_stay)):
        asking = function("fu-b", resources=HALF)
        offered = Anybody(snapshot, asking, snapshot.view("fu-b"), NOW)
        assert list(offered.hosts(need_of(asking.spec))) == []
        assert ask(snapshot, resources=HALF).short


def test_a_crowd_is_not_looked_through() -> None:
    """Where every host has a way, the best of some is good enough; nobody goes in vain on it."""
    snapshot = Snapshot()
    small = Resources(cpu=0.01, memory_mib=32)
    for n in range(20):
        crew = [held(f"ta-{n}-{m}", f"fu-{m}", resources=small, idle=90.0 + n) for m in range(100)]
        snapshot.put_worker(worker(f"wk-{n:02}", *crew, memory_mib=3200, cpus=1.0))
    for m in range(100):
        snapshot.put_function(function(f"fu-{m}"))
    decision = ask(snapshot, resources=Resources(cpu=0.01, memory_mib=320))
    assert len(decision.evict) == 10
    assert {placed.worker_id for placed in decision.evict} == {"wk-19"}
