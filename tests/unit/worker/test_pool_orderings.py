"""Orderings that nobody thought of: random events against the pool, with the rules of support.pool.World."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from afield._wire import guest
from afield._wire.messages import InputResult
from support.pool import CALL, World, pack, raised, retries, subject_of


class PoolMachine(RuleBasedStateMachine):
    """One function with up to four containers; every rule is something that can happen at any time."""

    generator = False

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.stream: dict[str, Any] = {}
        """Subject to the pack and how often it was delivered: the inputs that the stream holds."""
        self.containers = 0
        self.packs = 0

    @initialize(retry=st.integers(0, 2), single=st.booleans())
    def configure(self, retry: int, single: bool) -> None:
        """Choose what kind of function it is; begin with a container that runs a pack."""
        self.spec = {
            "retries": retries(retry),
            "single_use": single,
            "is_generator": self.generator,
            "timeout": 5.0,
            "startup_timeout": 5.0,
        }
        self._begin()

    def _begin(self) -> None:
        self.start()
        self.become_ready(0)
        self.deliver(1, "lo", 0, False)

    def _pick(self, names: list[str], choice: int) -> str:
        return names[choice % len(names)]

    def _phase(self, *phases: str) -> list[str]:
        return [c.id for c in self.world.pool.containers.values() if c.phase in phases]

    def _busy(self) -> list[str]:
        return [c.id for c in self.world.pool.containers.values() if c.running is not None]

    @rule()
    def start(self) -> None:
        """The scheduler starts a container."""
        if len(self.world.pool.containers) < 4 and not self.world.pool.draining:
            self.containers += 1
            self.world.container(f"ta-{self.containers}", ready=False, **self.spec)

    @precondition(lambda self: self._phase("starting"))
    @rule(choice=st.integers(0, 3))
    def become_ready(self, choice: int) -> None:
        """A container has loaded its code."""
        container = self._pick(self._phase("starting"), choice)
        self.world.take(self.world.pool.container_ready(container, self.world.now))

    @precondition(lambda self: self._phase("starting"))
    @rule(choice=st.integers(0, 3))
    def fail_to_start(self, choice: int) -> None:
        """A container could not load its code."""
        container = self._pick(self._phase("starting"), choice)
        self.world.take(self.world.pool.container_failed(container, raised("startup"), self.world.now))

    @rule(
        size=st.integers(1, 3),
        lane=st.sampled_from(["hi", "lo"]),
        pending=st.integers(0, 5),
        fetch=st.booleans(),
    )
    def deliver(self, size: int, lane: Any, pending: int, fetch: bool) -> None:
        """A new pack is delivered."""
        size = 1 if self.generator else size
        item = pack(self.packs, size)
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
    @rule(well=st.booleans(), for_good=st.booleans())
    def end_fetch(self, well: bool, for_good: bool) -> None:
        """Arguments arrive, or cannot be had."""
        held, pool, now = self.world.fetching.pop(0), self.world.pool, self.world.now
        if well:
            self.world.take(pool.fetched(held, held.pack.args, now))
        else:
            self.world.take(pool.fetch_failed(held, raised("internal") if for_good else None, now))

    @precondition(lambda self: self._busy())
    @rule(choice=st.integers(0, 3), error=st.sampled_from([None, "exception", "exit", "timeout", "internal"]))
    def report_one(self, choice: int, error: Any) -> None:
        """The guest reports the next input of its pack."""
        container = self._pick(self._busy(), choice)
        running = self.world.pool.containers[container].running
        assert running is not None
        index = running.unfinished()[0]
        if error:
            self.world.fail(container, index, raised(error), run_s=5.0)
        else:
            self.world.answer(container, InputResult(index=index, status="ok", value=b""))

    @precondition(lambda self: self._busy())
    @rule(choice=st.integers(0, 3))
    def report_all(self, choice: int) -> None:
        """The guest reports its whole pack."""
        self.world.answer(self._pick(self._busy(), choice))

    @rule(choice=st.integers(0, 3), calls=st.integers(0, 1))
    def wait_for_calls(self, choice: int, calls: int) -> None:
        """What a container runs waits for calls of its own, or waits no more."""
        names = list(self.world.pool.containers) or ["ta-0"]
        said = self.world.pool.waits(self._pick(names, choice), "s", calls, self.world.now)
        self.world.take(said or [])

    @precondition(lambda self: self.world.pool.containers)
    @rule(choice=st.integers(0, 3))
    def retire(self, choice: int) -> None:
        """A container is to end after what it runs."""
        container = self._pick(list(self.world.pool.containers), choice)
        self.world.take(self.world.pool.retire_container(container, self.world.now))

    @rule(token=st.integers(0, 50))
    def report_stray(self, token: int) -> None:
        """A frame comes with a token that the container does not run."""
        frame = guest.Results(token=token + 10_000, results=(InputResult(index=0, status="ok"),))
        for container in self.world.pool.containers:
            assert not self.world.pool.results(container, frame, self.world.now)

    @precondition(lambda self: self.world.pool.containers)
    @rule(
        choice=st.integers(0, 3),
        how=st.sampled_from([{"exit_code": 0}, {"signal": 9}, {"oom": True}, {"platform": True}]),
    )
    def exit(self, choice: int, how: Any) -> None:
        """A container ends, for whatever reason."""
        self.world.exit(self._pick(list(self.world.pool.containers), choice), **how)

    @precondition(lambda self: self.world.pool.containers)
    @rule(choice=st.integers(0, 3), abort=st.booleans(), grace=st.sampled_from([0.0, 3.0]))
    def stop(self, choice: int, abort: bool, grace: float) -> None:
        """A container is told to stop."""
        container = self._pick(list(self.world.pool.containers), choice)
        self.world.take(self.world.pool.stop_container(container, self.world.now, grace=grace, abort=abort))

    @rule(indices=st.sets(st.integers(0, 5), max_size=2), terminate=st.booleans())
    def cancel(self, indices: set[int], terminate: bool) -> None:
        """The call is cancelled, whole or in part."""
        self.world.take(
            self.world.pool.cancel(CALL, tuple(sorted(indices)), self.world.now, terminate=terminate)
        )

    @rule()
    def store(self) -> None:
        """The stream stores what was published."""
        self.world.store()

    @precondition(lambda self: self.world.settling)
    @rule()
    def fail_to_store(self) -> None:
        """A result cannot be stored."""
        self.world.take(self.world.pool.store_failed(self.world.settling.pop(0).held))

    @rule(seconds=st.sampled_from([0.001, 0.01, 0.1, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.world.wait(seconds)

    @rule()
    def drain(self) -> None:
        """The worker is told to stop; rarely, or nothing else would be seen."""
        if self.packs > 20:
            self.world.take(self.world.pool.drain(self.world.now, grace=1.0))

    @invariant()
    def deadlines_are_watched(self) -> None:
        """The next tick is never later than the earliest deadline."""
        for container in self.world.pool.containers.values():
            assert self.world.pool.next_tick <= container.deadline

    def teardown(self) -> None:
        """In the end, when every container is gone and all is stored, nothing is held."""
        for held in self.world.fetching:
            self.world.take(self.world.pool.fetch_failed(held, None, self.world.now))
        for container in list(self.world.pool.containers):
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
        container = self._pick(self._busy(), choice)
        running = self.world.pool.containers[container].running
        assert running is not None
        frame = guest.Yields(token=running.token, first=running.yielded, values=(b"",) * count)
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


TestOrderings = PoolMachine.TestCase
TestOrderings.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestGeneratorOrderings = GeneratorMachine.TestCase
TestGeneratorOrderings.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
