"""afield_scheduler.planner: one decision, from the whole snapshot."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from afield._wire.functions import Concurrency, FunctionRecord, Resources, Scaling
from afield_scheduler.backoff import Backoff
from afield_scheduler.planner import GROW_S, Decision, decide
from afield_scheduler.snapshot import RETURN_S, Snapshot
from support.fleet import container, function, worker


def decided(
    snapshot: Snapshot,
    f: FunctionRecord | None = None,
    backoff: Backoff | None = None,
    *,
    backlog: int = 0,
    wall: float = 1000.0,
) -> Decision:
    f = f or function()
    snapshot.backlog[f.function_id] = backlog
    snapshot.put_function(f)
    return decide(snapshot, f, backoff or Backoff(), now=0.0, wall=wall)


def fleet(*workers: str) -> Snapshot:
    snapshot = Snapshot()
    for worker_id in workers:
        snapshot.put_worker(worker(worker_id))
    return snapshot


def test_first_input_starts_one_container() -> None:
    """One waiting pack, one container, and no reason to look again early."""
    assert decided(fleet("wk-1"), backlog=1) == Decision(start_on=("wk-1",))


def test_growth_is_looked_after() -> None:
    """While a function of unknown run time still grows, the next look comes soon."""
    decision = decided(fleet("wk-1"), backlog=50)
    assert (decision.start_on, decision.again_at) == (("wk-1",), GROW_S)


def test_mean_that_does_not_hold_counts_as_unknown() -> None:
    """A function that was quick and is slow now gets twice its containers, and more once these are up."""
    snapshot = Snapshot()
    one = container("ta-1", busy=1)
    snapshot.put_worker(worker("wk-1", one, cpus=8.0, pack_seconds={"fu-1": 0.001}))
    assert decided(snapshot, backlog=4) == Decision()
    snapshot.slow.add("fu-1")
    assert decided(snapshot, backlog=4) == Decision(start_on=("wk-1",), again_at=GROW_S)
    two = container("ta-2", state="starting")
    snapshot.put_worker(worker("wk-1", one, two, cpus=8.0, pack_seconds={"fu-1": 0.001}))
    assert decided(snapshot, backlog=4) == Decision(again_at=GROW_S)
    snapshot.put_worker(worker("wk-1", one, replace(two, state="ready"), cpus=8.0))
    assert decided(snapshot, backlog=4).start_on == ("wk-1", "wk-1")


def test_nothing_to_do() -> None:
    """No inputs, no containers: no decision."""
    assert decided(fleet("wk-1")) == Decision()


def test_without_room_there_is_a_reason() -> None:
    """A function that gets no container at all is told why; one that has some is not."""
    snapshot = fleet("wk-1")
    big = function(resources=Resources(cpu=8.0))
    assert "8 are asked for" in decided(snapshot, big, backlog=1).waiting
    assert decided(Snapshot(), backlog=1).waiting == "no worker is there"
    snapshot.put_worker(worker("wk-1", container("ta-1", busy=1, resources=Resources(cpu=2.0))))
    assert decided(snapshot, function(resources=Resources(cpu=2.0)), backlog=2) == Decision(short=True)


GPU = function(resources=Resources(gpu=("H100",)))


def test_what_never_fits_is_told_apart() -> None:
    """When no worker can ever run a function; not when there is none, or one that fits is full."""
    decision = decided(fleet("wk-1", "wk-2"), GPU, backlog=1)
    assert decision.never
    assert "wk-1 has no GPU, H100 is asked for; wk-2 has no GPU" in decision.waiting
    assert not decided(Snapshot(), GPU, backlog=1).never
    snapshot = fleet("wk-1")
    used = container("ta-1", "fu-2", busy=1, resources=GPU.spec.resources)
    snapshot.put_worker(worker("wk-2", used, gpus=("H100",)))
    assert not decided(snapshot, GPU, backlog=1).never


def test_worker_that_left_a_moment_ago_may_come_back() -> None:
    """Its service may be being restarted: for half a minute nothing is given up that it could run."""
    snapshot = fleet("wk-1")
    snapshot.put_worker(worker("wk-2", gpus=("H100",)))
    snapshot.remove_worker("wk-2", now=0.0)
    assert not decided(snapshot, GPU, backlog=1).never
    assert decided(snapshot, GPU, backlog=1).waiting
    assert decide(snapshot, GPU, Backoff(), now=RETURN_S, wall=1000.0).never


def test_whoever_still_runs_is_no_hopeless_case() -> None:
    """A function that was given needs that nobody meets has inputs that run where they are."""
    snapshot = Snapshot()
    snapshot.put_worker(worker("wk-1", container(busy=1)))
    assert not decided(snapshot, GPU, backlog=2).never
    snapshot.put_worker(worker("wk-1", container(busy=1, state="stopping")))
    assert not decided(snapshot, GPU, backlog=2).never
    snapshot.put_worker(worker("wk-1"))
    assert decided(snapshot, GPU, backlog=1).never


def test_lowered_bound_ends_what_is_too_much() -> None:
    """Idle ones at once, then the busy ones that came last, when they have finished."""
    snapshot = Snapshot()
    running = [container(f"ta-{n}", busy=1, started_at=float(n)) for n in range(4)]
    snapshot.put_worker(worker("wk-1", *running, container("ta-idle", idle_since=999.9)))
    decision = decided(snapshot, function(scaling=Scaling(max_containers=2)), backlog=9)
    assert [p.record.container_id for p in decision.stop] == ["ta-idle"]
    assert [p.record.container_id for p in decision.reduce] == ["ta-3", "ta-2"]
    assert decision.start_on == ()


def test_bound_counts_those_that_are_leaving() -> None:
    """A container that was told to stop still runs; its successor comes when it is gone."""
    one = function(scaling=Scaling(max_containers=1))
    snapshot = Snapshot()
    snapshot.put_worker(worker("wk-1", container(state="stopping", busy=1)))
    assert decided(snapshot, one, backlog=1).start_on == ()
    snapshot.put_worker(worker("wk-1"))
    assert decided(snapshot, one, backlog=1).start_on == ("wk-1",)


def test_idle_container_is_looked_at_when_its_window_ends() -> None:
    """Not before, and not a whole look later."""
    snapshot = Snapshot()
    snapshot.put_worker(worker("wk-1", container(idle_since=970.0)))
    decision = decided(snapshot, function(scaling=Scaling(scaledown_window=60.0)))
    assert (decision.stop, decision.again_at) == ((), 30.0)


def test_containers_share_inputs_that_run_at_once() -> None:
    """What is known to be slow gets as many containers as it takes, each with several inputs."""
    shared = function(concurrency=Concurrency(max_inputs=10, target_inputs=5))
    snapshot = Snapshot()
    snapshot.put_worker(worker("wk-1", container(busy=5), pack_seconds={"fu-1": 60.0}))
    assert decided(snapshot, shared, backlog=5) == Decision()
    assert decided(snapshot, shared, backlog=16).start_on == ("wk-1",) * 3


def test_a_shared_container_that_waits_takes_more_until_it_is_full() -> None:
    """Only when all that it can have waits for calls of its own is another one needed beside it."""
    shared = function(concurrency=Concurrency(max_inputs=4))
    snapshot = Snapshot()
    for busy, started in ((3, ()), (4, ("wk-1",))):
        waits = container(busy=busy, waits=True, started_at=900.0)
        snapshot.put_worker(worker("wk-1", waits, pack_seconds={"fu-1": 60.0}))
        assert decided(snapshot, shared, backlog=busy + 1).start_on == started


def test_one_container_tries_for_a_function_that_fails() -> None:
    """However much waits, and however quick its inputs once were."""
    backoff = Backoff()
    backoff.failed("fu-1", was_ready=False, now=-10.0)
    snapshot = Snapshot()
    snapshot.put_worker(worker("wk-1", pack_seconds={"fu-1": 1.0}))
    assert decided(snapshot, backoff=backoff, backlog=50).start_on == ("wk-1",)


def test_failing_functions_wait() -> None:
    """While a function's containers fail, the next one is planned for later."""
    backoff = Backoff()
    backoff.failed("fu-1", was_ready=False, now=0.0)
    decision = decided(fleet("wk-1"), backoff=backoff, backlog=1)
    assert (decision.start_on, decision.again_at) == ((), 0.5)
    assert "fail" in decision.waiting


def test_crashes_of_ready_containers_hold_up_no_inputs() -> None:
    """However many there were; containers that nobody has inputs for wait for the next try."""
    backoff = Backoff()
    for _ in range(100):
        backoff.failed("fu-1", was_ready=True, now=0.0)
    assert decided(fleet("wk-1"), backoff=backoff, backlog=1).start_on == ("wk-1",)
    kept = function(scaling=Scaling(min_containers=1))
    assert "fail" in decided(fleet("wk-1"), kept, backoff=backoff).waiting


def test_idle_containers_are_stopped() -> None:
    """After the scaledown window an idle container goes; busy and starting ones stay."""
    snapshot = fleet()
    snapshot.put_worker(
        worker(
            "wk-1",
            container("ta-idle", idle_since=900.0),
            container("ta-fresh", idle_since=999.0),
            container("ta-busy", busy=1),
            container("ta-new", state="starting"),
        )
    )
    decision = decided(snapshot)
    assert [p.record.container_id for p in decision.stop] == ["ta-idle"]
    assert decision.start_on == ()


def test_minimum_is_kept() -> None:
    """min_containers are started without any input, and stay however idle."""
    kept = function(scaling=Scaling(min_containers=2))
    assert decided(fleet("wk-1", "wk-2"), kept).start_on == ("wk-1", "wk-2")
    snapshot = Snapshot()
    snapshot.put_worker(worker("wk-1", *(container(f"ta-{n}", idle_since=1.0) for n in range(2))))
    assert decided(snapshot, kept) == Decision()


def test_growth_waits_for_the_first_container() -> None:
    """Beside a container that is coming up none is started, for half a second; then it is."""
    snapshot = Snapshot()
    for age, started in ((0.4, ()), (0.6, ("wk-1",))):
        snapshot.put_worker(worker("wk-1", container(state="starting", started_at=1000.0 - age)))
        decision = decided(snapshot, backlog=50)
        assert (decision.start_on, decision.again_at) == (started, GROW_S)


def test_one_that_waits_for_its_own_calls_needs_no_core() -> None:
    """A host full of containers that wait takes as many more as there are packs beyond theirs."""
    waiting = [
        container(f"ta-{n}", busy=1, waits=True, resources=Resources(cpu=1.0), started_at=900.0)
        for n in range(2)
    ]
    snapshot = Snapshot()
    snapshot.put_worker(worker("wk-1", *waiting, pack_seconds={"fu-1": 9.0}))
    asks = function(resources=Resources(cpu=1.0))
    assert decided(snapshot, asks, backlog=2) == Decision()
    assert decided(snapshot, asks, backlog=4).start_on == ("wk-1", "wk-1")


@given(
    st.integers(0, 300),
    st.integers(0, 12),
    st.none() | st.integers(1, 10),
    st.floats(0.05, 2.0),
    st.none() | st.floats(0, 5),
)
def test_limits_hold_over_many_looks(
    backlog: int, existing: int, most: int | None, cpu: float, seconds: float | None
) -> None:
    """Look after look: never above max_containers for what was started, never above the host's cores."""
    resources = Resources(cpu=cpu)
    f = function(scaling=Scaling(max_containers=most), resources=resources)
    running = [container(f"ta-{n}", busy=1, resources=resources) for n in range(existing)]
    known = {} if seconds is None else {"fu-1": seconds}
    snapshot = Snapshot()
    for look in range(6):
        snapshot.put_worker(worker("wk-1", *running, pack_seconds=known))
        started = decided(snapshot, f, backlog=backlog).start_on
        running += [container(f"ta-{look}-{n}", busy=1, resources=resources) for n, _ in enumerate(started)]
        assert not started or most is None or len(running) <= most
        assert not started or cpu * len(running) <= 2.0 + 1e-6
        assert not started or len(running) <= backlog
