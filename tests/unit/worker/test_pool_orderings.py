"""Orderings that nobody thought of: random events against the pool, with the rules of support.pool.World."""

from dataclasses import replace
from math import inf
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from afield._wire import guest
from afield._wire.functions import Batching, Concurrency
from afield._wire.ids import input_id
from afield._wire.messages import Children, InputResult
from afield_worker.held import Held
from support.examples import DEPTH
from support.pool import CALL, World, pack, raised, record, retries, subject_of


class PoolMachine(RuleBasedStateMachine):
    """One function with up to four containers; every rule is something that can happen at any time."""

    generator = False
    kinds: st.SearchStrategy[tuple[Concurrency, Batching | None]] = st.just((Concurrency(), None))
    """What a container may run at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.stream: dict[str, Any] = {}
        """Subject to the pack and how often it was delivered: the inputs that the stream holds."""
        self.containers = 0
        self.packs = 0
        self.version = 1
        self.steps = 0

    @initialize(
        retry=st.integers(0, 2),
        single=st.sampled_from([False, False, False, True]),
        drain_after=st.integers(0, 40),
        data=st.data(),
    )
    def configure(self, retry: int, single: bool, drain_after: int, data: st.DataObject) -> None:
        """Choose what kind of function it is; begin with a container that runs a pack."""
        concurrency, batching = data.draw(self.kinds)
        self.drain_after = drain_after
        self.spec: dict[str, Any] = {
            "retries": retries(retry),
            "single_use": single,
            "is_generator": self.generator,
            "timeout": 5.0,
            "startup_timeout": 5.0,
            "concurrency": concurrency,
            "batching": batching,
        }
        self._begin()

    def _begin(self) -> None:
        self.start()
        self.become_ready(0)
        self.deliver([1, 1, 1], "lo", 0, False, 0)

    def rarely(self) -> bool:
        """Tell whether one of the events may come after which most is over: at every third step."""
        return self.steps % 3 == 0

    def _pick(self, names: list[str], choice: int) -> str:
        return names[choice % len(names)]

    def _phase(self, *phases: str) -> list[str]:
        return [c.id for c in self.world.pool.containers.values() if c.phase in phases]

    def _busy(self) -> list[tuple[str, Held]]:
        """The packs that run, with their containers."""
        containers = self.world.pool.containers.values()
        return [(c.id, held) for c in containers for held in c.running.values()]

    def _interrupted(self) -> list[tuple[str, Held]]:
        """Those of them that were interrupted."""
        return [(name, held) for name, held in self._busy() if held.verdict]

    def _choose(self, choice: int) -> tuple[str, Held]:
        busy = self._busy()
        return busy[choice % len(busy)]

    @rule()
    def start(self) -> None:
        """The scheduler starts a container."""
        if len(self.world.pool.containers) < 4 and not self.world.pool.draining:
            self.containers += 1
            named = f"ta-{self.containers}"
            new = replace(record(**self.spec), version=self.version)
            self.world.take(self.world.pool.lives.requested(named, new, self.world.now))

    @precondition(lambda self: self._phase("starting"))
    @rule(choice=st.integers(0, 3))
    def become_ready(self, choice: int) -> None:
        """A container has loaded its code."""
        container = self._pick(self._phase("starting"), choice)
        self.world.take(self.world.pool.lives.ready(container, self.world.now))

    @precondition(lambda self: self._phase("starting"))
    @rule(choice=st.integers(0, 3))
    def fail_to_start(self, choice: int) -> None:
        """A container could not load its code."""
        container = self._pick(self._phase("starting"), choice)
        self.world.take(self.world.pool.lives.failed(container, raised("startup"), self.world.now))

    @rule(
        sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4),
        lane=st.sampled_from(["hi", "lo"]),
        pending=st.integers(0, 5),
        fetch=st.sampled_from([False, False, True]),
        losses=st.sampled_from([0, 0, 0, 4, 7]),
    )
    def deliver(self, sizes: list[int], lane: Any, pending: int, fetch: bool, losses: int) -> None:
        """New packs are delivered."""
        for size in [1] * len(sizes) if self.generator else sizes:
            item = pack(self.packs, size, losses=losses)
            self.packs += size
            self.stream[subject_of(item, lane)] = [item, lane, 1]
            self.world.deliver(item, lane, pending=pending, fetch=fetch)

    @precondition(lambda self: self.stream)
    @rule(choice=st.integers(0, 100), wait=st.sampled_from([0.0, 0.0, 0.5]))
    def redeliver(self, choice: int, wait: float) -> None:
        """A pack is delivered again, whether it is held or not."""
        entry = self.stream[self._pick(list(self.stream), choice)]
        entry[2] += 1
        self.world.deliver(entry[0], entry[1], times=entry[2], wait=wait)

    @precondition(lambda self: self.world.fetching)
    @rule(how=st.sampled_from(["well", "for now", "for good", "before"]))
    def end_fetch(self, how: str) -> None:
        """Arguments arrive, or cannot be had, or an earlier run of the pack has ended."""
        held, pool, now = self.world.fetching.pop(0), self.world.pool, self.world.now
        match how:
            case "well":
                self.world.take(pool.fetched(held, held.pack.args, now))
            case "before":
                self.world.take(pool.ended_before(held, frozenset({held.pack.first}), now))
            case _:
                error = raised("internal") if how == "for good" else None
                self.world.take(pool.fetch_failed(held, error, now))

    @precondition(lambda self: self._busy())
    @rule(
        choice=st.integers(0, 30),
        status=st.sampled_from(["ok", "exception", "exit", "timeout", "internal"]),
        run_s=st.sampled_from([0.0, 5.0]),
    )
    def report_one(self, choice: int, status: Any, run_s: float) -> None:
        """The guest reports the next input of a pack."""
        container, held = self._choose(choice)
        index = held.unfinished()[0]
        if status == "ok":
            self.world.answer(container, InputResult(index=index, status=status), token=held.token)
        else:
            self.world.fail(container, index, raised(status), run_s=run_s, token=held.token)

    @precondition(lambda self: self._busy())
    @rule(choice=st.integers(0, 30))
    def report_all(self, choice: int) -> None:
        """The guest reports a whole pack."""
        container, held = self._choose(choice)
        self.world.answer(container, token=held.token)

    @precondition(lambda self: self.world.recalls)
    @rule(choice=st.integers(0, 3), begun=st.booleans())
    def answer_recall(self, choice: int, begun: bool) -> None:
        """The guest gives back what it has not begun; what runs may have begun before it was asked, or not."""
        container = self._pick(list(self.world.recalls), choice)
        runs = self.world.packs(container)
        self.world.give_back(container, begun=runs[0].token if runs and begun else 0)

    @precondition(lambda self: self._interrupted())
    @rule(choice=st.integers(0, 30), run_s=st.sampled_from([0.0, 5.0]))
    def heed(self, choice: int, run_s: float) -> None:
        """The guest heeds an interruption."""
        container, held = self._interrupted()[choice % len(self._interrupted())]
        if held.verdict == "timeout":
            index = held.unfinished()[0]
            self.world.fail(container, index, raised("timeout"), run_s=run_s, token=held.token)
            return
        which = held.unfinished() if held.verdict == "return" else held.cancelled & {*held.unfinished()}
        ended = [InputResult(index=index, status="cancelled") for index in sorted(which)]
        self.world.answer(container, *ended, token=held.token)

    @rule(choice=st.integers(0, 3), calls=st.integers(0, 3))
    def wait_for_calls(self, choice: int, calls: int) -> None:
        """What a container runs waits for calls of its own, or waits no more."""
        names = list(self.world.pool.containers) or ["ta-0"]
        said = self.world.pool.lives.waits(self._pick(names, choice), "s", calls, self.world.now)
        self.world.take(said or [])

    @precondition(lambda self: self._busy())
    @rule(choice=st.integers(0, 30), spawned=st.booleans())
    def call_others(self, choice: int, spawned: bool) -> None:
        """An input makes a call of its own."""
        container, held = self._choose(choice)
        parent = input_id(held.pack.call_id, held.unfinished()[0])
        message = Children(
            container_id=container, parent=parent, ws="main", call_ids=("fc-a-0-1",), spawned=spawned
        )
        self.world.take(self.world.pool.children(message))

    @precondition(lambda self: self.world.pool.containers and self.rarely())
    @rule()
    def publish_again(self) -> None:
        """A new version of the function is published, and a container of it is started."""
        if not self.world.pool.draining:
            self.version += 1
            self.start()

    @precondition(lambda self: self.world.pool.containers and self.rarely())
    @rule(choice=st.integers(0, 3))
    def retire(self, choice: int) -> None:
        """A container is to end after what it runs."""
        container = self._pick(list(self.world.pool.containers), choice)
        self.world.take(self.world.pool.lives.retire(container, self.world.now))

    @rule(token=st.integers(0, 50))
    def report_stray(self, token: int) -> None:
        """A frame comes with a token that the container does not run."""
        frame = guest.Results(token=token + 10_000, results=(InputResult(index=0, status="ok"),))
        for container in self.world.pool.containers:
            assert not self.world.pool.results(container, frame, self.world.now)

    @precondition(lambda self: self.world.pool.containers and self.rarely())
    @rule(
        choice=st.integers(0, 3),
        how=st.sampled_from([{"exit_code": 0}, {"signal": 9}, {"oom": True}, {"platform": True}]),
    )
    def exit(self, choice: int, how: Any) -> None:
        """A container ends, for whatever reason."""
        self.world.exit(self._pick(list(self.world.pool.containers), choice), **how)

    @precondition(lambda self: self.world.pool.containers and self.rarely())
    @rule(choice=st.integers(0, 3), abort=st.booleans(), grace=st.sampled_from([0.0, 3.0]))
    def stop(self, choice: int, abort: bool, grace: float) -> None:
        """A container is told to stop."""
        container = self._pick(list(self.world.pool.containers), choice)
        self.world.take(self.world.pool.lives.stop(container, self.world.now, grace=grace, abort=abort))

    @precondition(lambda self: self.rarely())
    @rule(indices=st.sets(st.integers(0, 5), max_size=2), terminate=st.booleans())
    def cancel(self, indices: set[int], terminate: bool) -> None:
        """The call is cancelled, whole or in part."""
        self.world.take(
            self.world.pool.cancels.call(CALL, tuple(sorted(indices)), self.world.now, terminate=terminate)
        )

    @rule()
    def store(self) -> None:
        """The stream stores what was published."""
        self.world.store()

    @precondition(lambda self: self.world.settling)
    @rule()
    def fail_to_store(self) -> None:
        """A result cannot be stored."""
        self.world.take(self.world.pool.store_failed(self.world.settling.pop(0).held, self.world.now))

    @rule(seconds=st.sampled_from([0.001, 0.01, 0.1, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.world.wait(seconds)

    @rule()
    def drain(self) -> None:
        """The worker is told to stop; not too early, or nothing else would be seen."""
        if self.packs > self.drain_after:
            self.world.take(self.world.pool.drain(self.world.now, grace=1.0))

    @invariant()
    def a_step_is_done(self) -> None:
        """Count."""
        self.steps += 1

    @invariant()
    def deadlines_are_watched(self) -> None:
        """The next tick is never later than the earliest deadline."""
        for container in self.world.pool.containers.values():
            assert self.world.pool.next_tick <= container.deadline
            for held in container.running.values():
                assert container.killed or self.world.pool.next_tick <= held.deadline

    @invariant()
    def room_is_asked_for(self) -> None:
        """A container that could run something, and has nothing, has asked for it."""
        for slots in self.world.pool.functions.values():
            room = slots.capacity(self.world.now, 0.0) - slots.queued
            if slots.alive and not self.world.pool.draining and room > 0:
                assert slots.pulling
                assert any(slots.outstanding.values()) or slots.backlog

    @invariant()
    def suspects_run_alone(self) -> None:
        """Nothing else is lost with what was lost too often."""
        for container in self.world.pool.containers.values():
            if any(held.suspect for held in container.running.values()):
                assert len(container.running) == 1

    @invariant()
    def what_runs_has_a_clock(self) -> None:
        """No input runs for ever, and nothing that does not run has a deadline to miss."""
        for _, held in self._busy():
            assert held.deadline < inf

    def teardown(self) -> None:
        """In the end every container is told to go; when all is stored, nothing is held and no input is without an end."""
        self.world.take(self.world.pool.drain(self.world.now, grace=1.0))
        self.world.wait(100.0)
        for held in self.world.fetching:
            self.world.take(self.world.pool.fetch_failed(held, None, self.world.now))
        for container in list(self.world.pool.containers):
            assert container in self.world.killed, "a container was left without an end"
            self.world.exit(container, platform=True)
        while self.world.chunks:
            self.world.store_chunk()
        self.world.store()
        assert not self.world.pool.held
        assert not self.world.open


class GeneratorMachine(PoolMachine):
    """The same with a generator."""

    generator = True

    @precondition(lambda self: self._busy())
    @rule(choice=st.integers(0, 3), count=st.integers(1, 200))
    def yield_values(self, choice: int, count: int) -> None:
        """A generator yields."""
        container, held = self._choose(choice)
        frame = guest.Yields(token=held.token, first=held.yielded, values=(b"",) * count)
        self.world.take(self.world.pool.generators.yields(container, frame, self.world.now))

    @precondition(lambda self: self.world.chunks)
    @rule(how=st.sampled_from(["stored", "stored", "stored", "refused", "failed"]))
    def end_chunk(self, how: str) -> None:
        """A chunk is stored, or refused, or cannot be stored."""
        held, generators = self.world.chunks.pop(0), self.world.pool.generators
        if how == "stored":
            self.world.take(generators.chunk_stored(held))
        else:
            error = raised("internal") if how == "failed" else None
            self.world.take(generators.chunk_refused(held, self.world.now, error))

    @rule(consumed=st.integers(0, 500))
    def give_credit(self, consumed: int) -> None:
        """The caller took values."""
        self.world.take(self.world.pool.generators.credit(CALL, consumed, self.world.now))


class ConcurrentMachine(PoolMachine):
    """The same with containers that run several packs at once."""

    kinds = st.tuples(st.builds(Concurrency, max_inputs=st.integers(2, 4)), st.none())


class ConcurrentGeneratorMachine(GeneratorMachine):
    """Generators side by side."""

    kinds = ConcurrentMachine.kinds


class BatchedMachine(PoolMachine):
    """The same with a function that gets its inputs in batches."""

    kinds = st.tuples(
        st.builds(Concurrency, max_inputs=st.integers(1, 2)),
        st.builds(Batching, max_batch_size=st.integers(1, 3), wait_ms=st.just(100)),
    )

    @precondition(lambda self: self._busy())
    @rule(choices=st.lists(st.integers(0, 30), min_size=1, max_size=3))
    def begin(self, choices: list[int]) -> None:
        """The guest hands packs to user code."""
        container, _ = self._choose(choices[0])
        mine = [held.token for name, held in self._busy() if name == container]
        tokens = tuple({mine[choice % len(mine)] for choice in choices})
        frame = guest.Began(tokens=tokens)
        self.world.take(self.world.pool.began(container, frame, self.world.now))


TestOrderings = PoolMachine.TestCase
TestOrderings.settings = settings(max_examples=150 * DEPTH, stateful_step_count=40)
TestGeneratorOrderings = GeneratorMachine.TestCase
TestGeneratorOrderings.settings = settings(max_examples=150 * DEPTH, stateful_step_count=40)
TestConcurrentOrderings = ConcurrentMachine.TestCase
TestConcurrentOrderings.settings = settings(max_examples=150 * DEPTH, stateful_step_count=40)
TestConcurrentGenerators = ConcurrentGeneratorMachine.TestCase
TestConcurrentGenerators.settings = settings(max_examples=100 * DEPTH, stateful_step_count=40)
TestBatchedOrderings = BatchedMachine.TestCase
TestBatchedOrderings.settings = settings(max_examples=150 * DEPTH, stateful_step_count=40)
