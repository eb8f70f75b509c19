"""Decisions on many hosts at once: exactly those that adding everything up, and looking through all of it, would give."""

from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from afield._wire.functions import ContainerRecord, FunctionRecord, Resources, Scaling
from afield_common.devices import take, without
from afield_scheduler.backoff import Backoff
from afield_scheduler.crews import Starting
from afield_scheduler.planner import decide
from afield_scheduler.snapshot import Snapshot
from support import plain_decisions
from support.fleet import container, function, worker

WALL = 1000.0
FUNCTIONS = [f"fu-{n}" for n in range(6)]
"""The last one has no container."""
STRANGE = "fu-strange"
LARGER = Resources(cpu=1.5, memory_mib=1500)


class Has(NamedTuple):
    """One container."""

    function: int
    state: str
    idle_for: float | None
    waits: bool
    started_at: float
    told: bool
    ended: bool
    larger: bool


containers = st.builds(
    Has,
    st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, len(FUNCTIONS)]),
    st.sampled_from(["ready", "ready", "ready", "ready", "starting", "stopping"]),
    st.none() | st.sampled_from([0.0, 0.5, 1.0, 5.0, 90.0]),
    st.booleans(),
    st.sampled_from([900.0, 950.0, 999.0]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([False, False, False, False, True]),
    st.booleans(),
)
sizes = st.sampled_from(
    [
        Resources(cpu=0.25, memory_mib=128),
        Resources(cpu=0.5, memory_mib=512),
        Resources(cpu=1.0, memory_mib=1024),
        Resources(cpu=2.0, memory_mib=2048),
        Resources(cpu=0.25, memory_mib=128, gpu=("H100", "any")),
        Resources(cpu=0.25, memory_mib=128, gpu=("A100:2", "T4")),
    ]
)
functions = st.tuples(sizes, st.sampled_from([0, 0, 0, 1, 2]), st.booleans(), st.sampled_from([(), ("eu",)]))
workers = st.tuples(
    st.lists(containers, max_size=8) | st.lists(containers, min_size=5, max_size=8),
    st.sampled_from([2.0, 2.0, 4.0, 4.5]),
    st.sampled_from([2048, 2048, 3072, 4100]),
    st.sampled_from([(), (), ("A100", "A100", "H100"), ("T4",)]),
    st.sampled_from(["", "eu"]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([0, 0, 6]),
)
marks = st.lists(
    st.tuples(
        st.sampled_from(["start", "refused", "claim"]),
        st.integers(0, len(FUNCTIONS) - 1),
        st.integers(0, 9),
        st.sampled_from([1.0, 2.0, 3.0]),
    ),
    max_size=6,
)


def record_of(
    has: Has, container_id: str, made: list[FunctionRecord], free: tuple[str, ...]
) -> ContainerRecord:
    """A container as its worker would report it. `free`: the devices that it can have."""
    known = has.function < len(made)
    idle = has.state == "ready" and has.idle_for is not None
    size = LARGER if has.larger or not known else made[has.function].spec.resources
    devices = take(free, size.gpu)
    if devices is None:
        size, devices = LARGER, ()
    return container(
        container_id,
        FUNCTIONS[has.function] if known else STRANGE,
        state=has.state,
        resources=size,
        busy=0 if idle else 1,
        idle_since=WALL - (has.idle_for or 0.0) if idle else 0.0,
        waits=has.waits and not idle,
        started_at=has.started_at,
        gpus=devices,
    )


def records_of(
    crew: list[Has], worker_id: str, made: list[FunctionRecord], gpus: tuple[str, ...]
) -> list[ContainerRecord]:
    """The containers of one worker, which has these devices."""
    records: list[ContainerRecord] = []
    for n, has in enumerate(crew):
        record = record_of(has, f"ta-{worker_id}-{n}", made, gpus)
        gpus = without(gpus, record.gpus)
        records.append(record)
    return records


@given(
    st.lists(functions, min_size=len(FUNCTIONS), max_size=len(FUNCTIONS)),
    st.lists(workers, min_size=1, max_size=7),
    marks,
    st.lists(st.tuples(st.sampled_from([0, 1, 4, 5, 5, 5]), st.integers(1, 4)), min_size=1, max_size=4),
)
@example(
    [(Resources(cpu=1.0, memory_mib=1024), 0, False, ())] * len(FUNCTIONS),
    [
        (
            [Has(n % 5, "ready", None, False, 900.0 + n, False, False, False) for n in range(8)],
            2.0,
            2048,
            (),
            "",
            False,
            0,
        )
    ]
    * 7,
    [],
    [(5, 1), (5, 2), (0, 4)],
)
def test_decisions_are_the_plain_ones(
    made: list[tuple[Resources, int, bool, tuple[str, ...]]],
    fleet: list[tuple[list[Has], float, int, tuple[str, ...], str, bool, int]],
    marked: list[tuple[str, int, int, float]],
    asked: list[tuple[int, int]],
) -> None:
    """Whoever asks, one after the other, and whatever was set in motion for those before."""
    snapshot, backoff = Snapshot(), Backoff()
    records = [
        function(
            name,
            resources=size,
            scaling=Scaling(min_containers=least),
            is_generator=endless,
            labels={"region": region} if region else {},
        )
        for name, (size, least, endless, region) in zip(FUNCTIONS, made, strict=True)
    ]
    for each in records:
        snapshot.put_function(each)
    for n, (has, cpus, memory, gpus, region, draining, most) in enumerate(fleet):
        reported = records_of(has, str(n), records, gpus)
        facts = {
            "cpus": cpus,
            "memory_mib": memory,
            "gpus": gpus,
            "draining": draining,
            "max_containers": most,
        }
        labels = {"region": region} if region else {}
        means = dict.fromkeys(FUNCTIONS, 60.0)
        snapshot.put_worker(worker(f"wk-{n}", *reported, pack_seconds=means, labels=labels, **facts))
        for one, record in zip(has, reported, strict=True):
            if one.told:
                snapshot.mark_stopping(record.container_id, 0.0)
            if one.ended:
                snapshot.ended(record.container_id, record.function_id)
    for n, (what, of, where, since) in enumerate(marked):
        worker_id, size = f"wk-{where % len(fleet)}", records[of].spec.resources
        start = Starting(f"ta-new-{n}", FUNCTIONS[of], worker_id, size, since)
        if what == "claim":
            snapshot.claim(FUNCTIONS[of], worker_id, size, since)
        else:
            snapshot.add_start(start)
        if what == "refused":
            snapshot.start_refused(start, "no", since)
    for turn, (of, backlog) in enumerate(asked):
        asks = records[of]
        snapshot.backlog[asks.function_id] = snapshot.count(asks.function_id) + backlog
        decision = decide(snapshot, asks, backoff, now=3.0, wall=WALL)
        plain = plain_decisions.decide(snapshot, asks, backoff, now=3.0, wall=WALL)
        assert plain in (None, decision._replace(again_at=None))
        for placed in (*decision.stop, *decision.evict, *decision.retire):
            snapshot.mark_stopping(placed.record.container_id, 3.0)
        for n, worker_id in enumerate(decision.start_on):
            start = Starting(f"ta-{turn}-new-{n}", asks.function_id, worker_id, asks.spec.resources, 3.0)
            snapshot.add_start(start)
        snapshot.claim(asks.function_id, decision.claim, asks.spec.resources, 3.0 + turn)
