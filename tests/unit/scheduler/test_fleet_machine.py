"""The decisions of the scheduler over any history: no bound is exceeded, and nothing is left without an owner.

The workers here take whatever they are asked for, so what keeps the bounds is the scheduler alone.
"""

from dataclasses import replace
from itertools import count, permutations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from afield._wire.functions import ContainerRecord, FunctionRecord, Resources, Scaling, WorkerRecord
from afield._wire.messages import ErrorInfo
from afield_common.devices import take, without
from afield_scheduler.backoff import Backoff
from afield_scheduler.crews import Placed, Starting
from afield_scheduler.placement import LEAST_MEMORY_MIB, Host, occupied
from afield_scheduler.planner import decide
from afield_scheduler.snapshot import Snapshot
from support import plain_decisions
from support.examples import DEPTH
from support.fleet import container, function, worker

FUNCTIONS = ("fu-1", "fu-2")
WALL = 1_000_000.0

needs = st.sampled_from(
    [
        Resources(cpu=0.1, memory_mib=0),
        Resources(cpu=0.1, memory_mib=0),
        Resources(cpu=0.5, memory_mib=300),
        Resources(cpu=2.0, memory_mib=900),
        Resources(cpu=0.1, memory_mib=20, gpu=("H100", "A100")),
        Resources(cpu=0.1, memory_mib=20, gpu=("A100:2", "any")),
        Resources(cpu=64.0),
    ]
)
scalings = st.builds(
    lambda low, more, buffer, window: Scaling(
        min_containers=low,
        max_containers=None if more is None else max(1, low + more),
        buffer_containers=buffer,
        scaledown_window=window,
    ),
    st.integers(0, 2),
    st.none() | st.integers(0, 3),
    st.integers(0, 2),
    st.sampled_from([0.0, 2.0, 60.0]),
)
hosts = st.sampled_from(
    [
        {"cpus": 2.0, "memory_mib": 1000, "max_containers": 5},
        {"cpus": 1.0, "memory_mib": 400, "gpus": ("A100", "A100", "H100"), "max_containers": 8},
        {"cpus": 8.0, "memory_mib": 60, "gpus": ("T4",), "labels": {"region": "eu"}},
    ]
)
labels = st.sampled_from([{}, {}, {}, {"region": ("eu",)}])
picks = st.integers(0, 10**6)


def met(devices: tuple[str, ...], wishes: tuple[tuple[str, ...], ...]) -> bool:
    """Tell whether requests that come in this order all get devices."""
    for wish in wishes:
        taken = take(devices, wish)
        if taken is None:
            return False
        devices = without(devices, taken)
    return True


class Fleets(RuleBasedStateMachine):
    """Functions come, change and go; so do workers, inputs and containers."""

    def __init__(self) -> None:
        super().__init__()
        self.snapshot = Snapshot()
        self.backoff = Backoff()
        self.now = 0.0
        self.ids = count()
        self.truth: dict[str, WorkerRecord] = {}
        """What really runs, by worker."""
        self.asked: list[tuple[str, ContainerRecord]] = []
        """Containers that workers were asked for, and have not made yet."""

    # -- what really is -------------------------------------------------------------------------------

    def running(self) -> list[Placed]:
        return [Placed(w.worker_id, c) for w in self.truth.values() for c in w.containers]

    def change(self, pick: int, **changes: object) -> Placed | None:
        """Change one of the containers that run; returns it as it was."""
        placed = self.running()
        if not placed:
            return None
        one = placed[pick % len(placed)]
        record = self.truth[one.worker_id]
        new = [replace(c, **changes) if c is one.record else c for c in record.containers]  # type: ignore[arg-type]
        self.truth[one.worker_id] = replace(record, containers=tuple(new))
        return one

    def remove(self, one: Placed) -> None:
        record = self.truth[one.worker_id]
        kept = tuple(c for c in record.containers if c.container_id != one.record.container_id)
        self.truth[one.worker_id] = replace(record, containers=kept)

    # -- functions ------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(FUNCTIONS), scaling=scalings, asks=needs, where=labels, single=st.booleans())
    def publish(
        self,
        name: str,
        scaling: Scaling,
        asks: Resources,
        where: dict[str, tuple[str, ...]],
        single: bool,
    ) -> None:
        known = self.snapshot.functions.get(name)
        changes = {"resources": asks, "labels": where, "single_use": single}
        version = 1 if known is None else known.version + 1
        self.snapshot.put_function(function(name, scaling=scaling, version=version, **changes))
        self.backoff.forget(name)

    @rule(name=st.sampled_from(FUNCTIONS), scaling=scalings, stops=st.sampled_from([False, False, True]))
    def scale(self, name: str, scaling: Scaling, stops: bool) -> None:
        known = self.snapshot.functions.get(name)
        if stops:
            self.snapshot.remove_function(name)
        elif known is not None:
            self.snapshot.put_function(replace(known, spec=replace(known.spec, scaling=scaling)))

    # -- workers ----------------------------------------------------------------------------------------

    @initialize(has=hosts, asks=st.tuples(needs, needs), most=st.sampled_from([None, 1, 3]))
    def begin(self, has: dict[str, object], asks: tuple[Resources, ...], most: int | None) -> None:
        for name, resources in zip(FUNCTIONS, asks, strict=True):
            scaling = Scaling(max_containers=most)
            self.snapshot.put_function(function(name, resources=resources, scaling=scaling))
        self.come(has)

    def come(self, has: dict[str, object]) -> None:
        worker_id = f"wk-{next(self.ids)}"
        # Slow inputs: each is worth a container, so that bounds are what decides.
        self.truth[worker_id] = worker(worker_id, **has, pack_seconds=dict.fromkeys(FUNCTIONS, 60.0))
        self.snapshot.put_worker(self.truth[worker_id])

    @rule(pick=picks, fate=st.sampled_from(["come", "come", "die", "drain"]), has=hosts)
    def change_fleet(self, pick: int, fate: str, has: dict[str, object]) -> None:
        if fate == "come" or not self.truth:
            self.come(has)
            return
        worker_id = sorted(self.truth)[pick % len(self.truth)]
        if fate == "drain":
            self.truth[worker_id] = replace(self.truth[worker_id], draining=True)
            self.snapshot.put_worker(self.truth[worker_id])
        else:
            del self.truth[worker_id]
            self.asked = [(where, record) for where, record in self.asked if where != worker_id]
            self.snapshot.remove_worker(worker_id, self.now)
            assert not self.snapshot.remove_worker(worker_id, self.now), "something was left of a worker"

    @rule(seconds=st.sampled_from([60.0, 60.0, 0.001, None]))
    def report(self, seconds: float | None) -> None:
        """All workers tell what they have; how long inputs take may have changed."""
        means = {} if seconds is None else dict.fromkeys(FUNCTIONS, seconds)
        for worker_id, record in self.truth.items():
            self.truth[worker_id] = replace(record, pack_seconds=means)
            self.snapshot.put_worker(self.truth[worker_id])

    # -- containers -------------------------------------------------------------------------------------

    @precondition(lambda self: self.asked)
    @rule(pick=picks, fate=st.sampled_from(["all", "one", "refused"]), told=st.booleans())
    def take(self, pick: int, fate: str, told: bool) -> None:
        """Workers make containers that they were asked for, and may tell of them; or they refuse one."""
        for _ in range(len(self.asked) if fate == "all" else 1):
            worker_id, record = self.asked.pop(pick % len(self.asked))
            old = self.truth[worker_id]
            held = [device for each in old.containers for device in each.gpus]
            devices = take(without(old.gpus, held), record.resources.gpu)
            if fate == "refused" or devices is None:
                start = self.snapshot.starting.get(record.container_id)
                if start is not None:
                    self.snapshot.start_refused(start, "no", self.now)
                continue
            self.truth[worker_id] = replace(old, containers=(*old.containers, replace(record, gpus=devices)))
            if told:
                self.snapshot.put_worker(self.truth[worker_id])

    @rule(
        pick=picks,
        state=st.sampled_from(["ready", "ready", "stopping"]),
        busy=st.booleans(),
        idle_for=st.sampled_from([0.1, 1.5, 90.0]),
        waits=st.booleans(),
        told=st.booleans(),
    )
    def work(self, pick: int, state: str, busy: bool, idle_for: float, waits: bool, told: bool) -> None:
        idle = state == "ready" and not busy
        since = WALL + self.now - idle_for if idle else 0.0
        one = self.change(pick, state=state, busy=int(busy), idle_since=since, waits=busy and waits)
        if one is not None and told:
            self.snapshot.put_worker(self.truth[one.worker_id])

    @rule(pick=picks, heard=st.booleans(), fails=st.booleans(), blame=st.booleans())
    def end(self, pick: int, heard: bool, fails: bool, blame: bool) -> None:
        one = self.change(pick)
        if one is None:
            return
        self.remove(one)
        if heard:
            self.snapshot.ended(one.record.container_id, one.record.function_id)
            assert not self.snapshot.ended(one.record.container_id, one.record.function_id), "it ended twice"
        if fails:
            error = ErrorInfo(kind="startup", message="no") if blame else None
            ready = one.record.state == "ready"
            self.backoff.failed(one.record.function_id, was_ready=ready, now=self.now, error=error)

    # -- the scheduler ----------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.1, 1.0, 11.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        if seconds > 10.0:
            self.asked.clear()  # what was asked for so long ago is lost,
            for record in self.truth.values():  # and everybody has reported
                self.snapshot.put_worker(record)
        self.now += seconds
        self.snapshot.expire(self.now, 10.0)

    @precondition(lambda self: not self.asked)
    @rule()
    def lead_again(self) -> None:
        """The lead was lost, and came back: all that is known of what was set in motion is what workers report."""
        for record in self.truth.values():
            self.snapshot.put_worker(record)
        self.snapshot.forget_plans()

    @rule(packs=st.lists(st.sampled_from([0, 1, 5, 20]), min_size=2, max_size=2))
    def look(self, packs: list[int]) -> None:
        """Look at all functions, with fresh figures."""
        for name, backlog in zip(FUNCTIONS, packs, strict=True):
            f = self.snapshot.functions.get(name)
            if f is not None:
                self.snapshot.backlog[name] = backlog
                self.decide(f)

    def decide(self, f: FunctionRecord) -> None:
        decision = decide(self.snapshot, f, self.backoff, now=self.now, wall=WALL + self.now)
        plain = plain_decisions.decide(self.snapshot, f, self.backoff, now=self.now, wall=WALL + self.now)
        assert plain in (None, decision._replace(again_at=None)), "an index is not what it is an index of"
        for placed in (*decision.stop, *decision.evict, *decision.retire, *decision.reduce):
            assert placed.record.container_id not in self.snapshot._crews.stopping
            self.snapshot.mark_stopping(placed.record.container_id, self.now)
        for worker_id in decision.start_on:
            self.ask(f, worker_id)
        self.snapshot.claim(f.function_id, decision.claim, f.spec.resources, self.now)
        if decision.start_on:
            self.check_number(f)
        assert not (decision.never and decision.start_on)

    def ask(self, f: FunctionRecord, worker_id: str) -> None:
        assert worker_id in self.truth, "a container is asked of a worker that is gone"
        assert not self.truth[worker_id].draining, "a container is asked of a worker that drains"
        region = f.spec.labels.get("region", ())
        assert not region or self.truth[worker_id].labels.get("region") in region
        container_id = f"ta-{next(self.ids)}"
        start = Starting(container_id, f.function_id, worker_id, f.spec.resources, self.now)
        self.snapshot.add_start(start)
        record = container(
            container_id,
            f.function_id,
            state="starting",
            resources=f.spec.resources,
            started_at=WALL + self.now,
        )
        self.asked.append((worker_id, record))

    def check_number(self, f: FunctionRecord) -> None:
        """All that run, that stop, and that were asked for: never more than there may be."""
        most = f.spec.scaling.max_containers
        all_of_it = [p.record for p in self.running()] + [record for _, record in self.asked]
        number = sum(record.function_id == f.function_id for record in all_of_it)
        assert most is None or number <= most

    # -- what holds at any time -----------------------------------------------------------------------

    @invariant()
    def hosts_are_not_overfull(self) -> None:
        for worker_id, has in self.truth.items():
            coming = [record for where, record in self.asked if where == worker_id]
            everyone = [c.resources for c in (*has.containers, *coming)]
            assert sum(max(r.memory_mib, LEAST_MEMORY_MIB) for r in everyone) <= has.memory_mib
            assert not has.max_containers or len(everyone) <= has.max_containers
            wishes = [r.gpu for r in everyone if r.gpu]
            # In some order: if requests overtake each other, the worker, which owns the devices, refuses the last one.
            assert len(wishes) <= len(has.gpus), "more devices are promised than there are"
            assert any(met(has.gpus, order) for order in permutations(wishes)), "promised, and cannot be had"

    @invariant()
    def everything_has_an_owner(self) -> None:
        snapshot = self.snapshot
        assert {start.worker_id for start in snapshot.starting.values()} <= snapshot.workers.keys()
        assert snapshot._claims._claims.keys() <= snapshot.functions.keys()
        strays = {placed.record.container_id for placed in snapshot.strays()}
        for container_id, placed in snapshot._crews.placed.items():
            assert placed.record.function_id in snapshot.functions or container_id in strays

    @invariant()
    def hosts_are_counted_right(self) -> None:
        """What is kept of hosts from one decision to the next is what would be counted anew."""
        for function_id in self.snapshot.functions:
            anew = plain_decisions.hosts(self.snapshot, function_id)
            assert [*map(rounded, self.snapshot.view(function_id).hosts())] == [*map(rounded, anew)]

    @invariant()
    def sums_are_right(self) -> None:
        """So is what is kept of functions."""
        snapshot = self.snapshot
        means = plain_decisions.pack_seconds(snapshot)
        assert {f: snapshot.pack_seconds(f) for f in means} == means
        ledger = snapshot._ledger
        ledger.refresh()
        for hosts in ledger._all_hosts:
            assert hosts.ids() == sorted(snapshot.workers)
        for worker_id in snapshot.workers:
            account = ledger[worker_id]
            assert account == ledger.anew(worker_id)
            promised = [*ledger.coming(worker_id), *snapshot._claims.on(worker_id)]
            for hosts, host in zip(ledger._all_hosts, account, strict=False):
                assert hosts[worker_id] == occupied(host, promised)  # type: ignore[arg-type]
        shares = {f: -standing.share for standing, f in ledger.shares}
        assert shares == {f: number for f in snapshot.functions if (number := snapshot.count(f))}
        assert snapshot._crews.starting.keys() == {
            c for worker_id in self.truth for c in snapshot._crews.coming(worker_id)
        }


def rounded(host: Host) -> Host:
    return replace(host, cpus_free=round(host.cpus_free, 6))


TestFleets = Fleets.TestCase
TestFleets.settings = settings(max_examples=200 * DEPTH, stateful_step_count=50)
