"""A world for the worker's pool: a clock, a model of what it was told, and the rules that must always hold."""

from collections.abc import Sequence
from math import inf
from typing import Any

from afield._wire import guest
from afield._wire.functions import CodeRef, FunctionRecord, FunctionSpec, RetryPolicy
from afield._wire.messages import BlobRef, ErrorInfo, InputPack, InputResult
from afield._wire.subjects import Lane
from afield_worker.attempts import Exit
from afield_worker.held import Held
from afield_worker.instructions import (
    Ack,
    CancelCalls,
    Fetch,
    Instruction,
    Interrupt,
    Kill,
    Nak,
    Progress,
    Pull,
    Report,
    Send,
    Settle,
    StoreChunk,
    Unpull,
)
from afield_worker.pool import Pool
from afield_worker.slots import PATIENCE_S

CALL = "fc-session-0-1"


def record(function_id: str = "fu-1", **spec: Any) -> FunctionRecord:
    """A function, with any field of its spec set."""
    return FunctionRecord(
        function_id=function_id,
        app_id="ap-1",
        app_name="app",
        ws="main",
        shard=0,
        spec=FunctionSpec(name="square", code=CodeRef(module="m", qualname="square"), **spec),
    )


def retries(count: int, delay: float = 1.0) -> RetryPolicy:
    """A policy of `count` retries, `delay` seconds apart."""
    return RetryPolicy(max_retries=count, initial_delay=delay)


def pack(first: int = 0, size: int = 1, **fields: Any) -> InputPack:
    """A pack of a call with `size` inputs from `first` on."""
    fields = {"call_id": CALL, "function_id": "fu-1", "kind": "map", "sent_at": 0.0, **fields}
    return InputPack(first=first, args=tuple(b"%d" % i for i in range(first, first + size)), **fields)


def subject_of(item: InputPack, lane: Lane = "lo") -> str:
    """The subject that a pack is published under."""
    return f"in.0.main.{item.function_id}.{lane}.{item.call_id}.{item.first}-{len(item.args)}.{item.attempt}"


def raised(kind: Any = "exception") -> ErrorInfo:
    """What the guest reports when user code fails."""
    return ErrorInfo(kind=kind, message="ValueError: no")


class World:
    """Drives a pool, keeps what it said, and checks after each event that no rule is broken."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.now = 100.0
        self.said: list[Instruction] = []
        """Instructions of the last event."""
        self.running: dict[str, set[int]] = {}
        """Container to the tokens that it was told to run and has not answered."""
        self.recalls: dict[str, tuple[int, ...]] = {}
        """Container to the tokens that it was asked to give back, until it answers."""
        self.settling: list[Settle] = []
        self.fetching: list[Held] = []
        self.chunks: list[Held] = []
        """For each chunk that was published and is not stored yet, its pack."""
        self.open: dict[object, str] = {}
        """Deliveries that were neither acknowledged nor sent back, with their subject."""
        self.ended: dict[object, str] = {}
        self.stored: set[str] = set()
        """Subjects whose result was stored."""
        self.asked: dict[tuple[str, Lane], int] = {}
        self.killed: set[str] = set()
        self.cancelled_calls: list[str] = []
        self._delivery = 0

    # -- events ----------------------------------------------------------------------------------------

    def container(
        self, container_id: str = "ta-1", *, begun: bool = True, ready: bool = True, **spec: Any
    ) -> None:
        """Start a container, have its process, and let it become ready."""
        self.take(self.pool.lives.requested(container_id, record(**spec), self.now))
        if begun:
            self.pool.lives.begun(container_id, 1, self.now)
        if begun and ready:
            self.take(self.pool.lives.ready(container_id, self.now))

    def deliver(
        self, item: InputPack, lane: Lane = "lo", *, times: int = 1, pending: int = 0, **more: Any
    ) -> list[Instruction]:
        """Deliver a pack."""
        self._delivery += 1
        subject = subject_of(item, lane)
        twin = self.pool.held.get(subject)
        if twin is not None:
            del self.open[twin.delivery]  # its handle is replaced
        self.open[self._delivery] = subject
        said = self.pool.delivery(
            self._delivery,
            subject,
            lane,
            item,
            num_delivered=times,
            pending=pending,
            now=self.now,
            **more,
        )
        return self.take(said + self.pool.go_on())

    def packs(self, container_id: str = "ta-1") -> list[Held]:
        """The packs that a container has, oldest first."""
        return list(self.pool.containers[container_id].running.values())

    def token(self, container_id: str = "ta-1") -> int:
        """The token of the oldest pack that a container has."""
        return self.packs(container_id)[0].token

    def answer(self, container_id: str = "ta-1", *results: InputResult, token: int = 0) -> list[Instruction]:
        """Let the guest report results of a pack (the oldest); without any, all its inputs end well."""
        held = self.pool.containers[container_id].running[token or self.token(container_id)]
        made = results or tuple(InputResult(index=i, status="ok", value=b"") for i in held.unfinished())
        frame = guest.Results(token=held.token, results=made)
        said = self.pool.results(container_id, frame, self.now) + self.pool.go_on()
        if held.token not in self.pool.containers[container_id].running:
            self.running[container_id].discard(held.token)
        return self.take(said)

    def give_back(self, container_id: str = "ta-1", *, begun: int = 0) -> list[Instruction]:
        """Let the guest answer a recall; the pack with the token `begun` has begun meanwhile."""
        container = self.pool.containers[container_id]
        there = (*container.running, *container.ahead)
        asked = self.recalls.pop(container_id)
        tokens = tuple(token for token in asked if token in there and token != begun)
        self.running[container_id].difference_update(tokens)
        return self.take(self.pool.recalled(container_id, guest.Recalled(tokens=tokens), self.now))

    def fail(
        self, container_id: str, index: int, error: ErrorInfo, run_s: float = 0.0, token: int = 0
    ) -> list[Instruction]:
        """Let the guest report that an input failed."""
        result = InputResult(index=index, status="error", error=error, run_s=run_s)
        return self.answer(container_id, result, token=token)

    def exit(self, container_id: str = "ta-1", **how: Any) -> list[Instruction]:
        """End a container."""
        self.running.pop(container_id, None)
        self.recalls.pop(container_id, None)
        return self.take(self.pool.lives.exited(container_id, Exit(**how), self.now))

    def store(self) -> list[Instruction]:
        """Let the stream store everything that was published."""
        said: list[Instruction] = []
        while self.settling:
            settle = self.settling.pop(0)
            self.stored.add(settle.held.subject)
            said += self.take(self.pool.stored(settle.held, self.now))
        return said

    def store_chunk(self) -> list[Instruction]:
        """Let the stream store the oldest chunk that was published."""
        return self.take(self.pool.generators.chunk_stored(self.chunks.pop(0)))

    def wait(self, seconds: float) -> list[Instruction]:
        """Let time pass, with every tick that is due on the way."""
        until = self.now + seconds
        said: list[Instruction] = []
        while self.pool.next_tick <= until:
            self.now = max(self.now, self.pool.next_tick)
            said += self.take(self.pool.tick(self.now))
        self.now = until
        self.said = said
        return said

    # -- the model ---------------------------------------------------------------------------------------

    def take(self, said: Sequence[Instruction]) -> list[Instruction]:
        """Carry instructions out on the model, and check the rules."""
        self.said = list(said)
        for item in said:
            self._carry_out(item)
        self.check()
        return self.said

    def _carry_out(self, item: Instruction) -> None:
        match item:
            case Send(container_id, guest.Run() as run):
                container = self.pool.containers[container_id]
                assert run.token not in set().union(*self.running.values()), "a pack runs once at a time"
                assert container.phase == "ready", "a stopping container is let alone"
                assert run.token in container.running or run.token in container.ahead, (
                    "it is the container's own"
                )
                tokens = self.running.setdefault(container_id, set())
                tokens.add(run.token)
                most = container.places + container.function.depth()
                assert len(tokens) <= most, "a container has so many packs at a time"
            case Send(container_id, guest.Recall() as recall):
                assert container_id not in self.recalls, "one question at a time"
                assert set(recall.tokens) <= self.running[container_id], "it has them"
                self.recalls[container_id] = recall.tokens
            case Settle(held, (), ()):
                assert held.subject not in self.stored, "a pack has one result"
                assert not held.remaining, "an earlier run ended it whole"
                self.settling.append(item)
            case Settle(held, results, moved):
                assert held.subject not in self.stored, "a pack has one result"
                ended_well = all(r.status == "ok" for r in results)
                indices = [r.index for r in results] or [m.input_index for m in moved]
                assert indices == list(range(held.pack.first, held.pack.first + held.size)), "one end each"
                gone_on = {r.index for r in results if r.status == "moved"} if results else set(indices)
                assert gone_on == {m.input_index for m in moved}, "what is said to move moves"
                ended = {r.index for r in results if r.status == "cancelled"}
                assert ended <= held.cancelled, "only what was cancelled ends as cancelled"
                for each in moved:
                    assert held.size > 1 or each.attempt > held.pack.attempt, "a message of its own"
                assert held not in self.chunks or not ended_well, (
                    "the end was told before the values were stored"
                )
                self.settling.append(item)
            case Fetch(held):
                self.fetching.append(held)
            case Ack(delivery):
                assert self.open[delivery] in self.stored, "acknowledged before the result was stored"
                self.ended[delivery] = self.open.pop(delivery)
            case Nak(delivery, delay, _):
                assert delay >= 0
                self.ended[delivery] = self.open.pop(delivery)
            case Progress(deliveries):
                assert set(deliveries) <= set(self.open), "progress on a delivery that has ended"
            case Pull(function_id, lane, count):
                assert count > 0
                self.asked[function_id, lane] = self.asked.get((function_id, lane), 0) + count
            case Unpull(function_id):
                self.asked = {key: n for key, n in self.asked.items() if key[0] != function_id}
            case StoreChunk(held):
                self.chunks.append(held)
            case Kill(container_id):
                self.killed.add(container_id)
            case CancelCalls(_, call_ids):
                self.cancelled_calls += call_ids
            case Interrupt() | Report() | Send():
                pass

    def check(self) -> None:
        """Every delivery is open exactly if the pool holds it; every pack is in one place only."""
        held = self.pool.held
        assert {h.delivery for h in held.values()} == set(self.open)
        waiting = [h for s in self.pool.functions.values() for h in s.waits()]
        containers = self.pool.containers.values()
        running = [h for c in containers for h in (*c.running.values(), *c.ahead.values())]
        storing = [h for h in held.values() if h.phase == "storing"]
        places = [*waiting, *running, *storing]
        assert len(places) == len({h.token for h in places}) == len(held)
        for slots in self.pool.functions.values():
            could_start = slots.capacity(self.now - 0.01)  # it is looked at a moment after it is due
            sent = sum(len(container.ahead) for container in slots.containers.values())
            assert slots.sent == sent, "those are counted that were sent ahead"
            assert slots.queued <= max(sent, could_start), "more waits than can start soon"
            assert not (slots.free and (slots.waiting["hi"] or slots.waiting["lo"])), (
                "a pack waits beside a free container"
            )
            assert len(set(slots.free)) == len(slots.free)
            for container in slots.containers.values():
                assert len(container.running) <= container.places
                if container.ahead and not container.killed:
                    assert container.running, "the first that it has runs"
                    late = self.now - container.latest.since > PATIENCE_S + 0.01
                    assert not late or container.recalled, "nothing waits for long behind another"
                takes = container.phase == "ready" and not (container.retiring or container.alone)
                has_room = len(container.running) < container.places
                assert container.free == (takes and has_room) == (container in slots.free)
                idle = container.phase == "ready" and not container.running
                assert (container.idle_since < inf) == idle or container.phase == "stopping"

    # -- questions ---------------------------------------------------------------------------------------

    def of(self, kind: type[Any]) -> list[Any]:
        """The instructions of one kind that the last event gave."""
        return [item for item in self.said if isinstance(item, kind)]

    def naks(self) -> list[Nak]:
        """What the last event sent back."""
        return [Nak(item.delivery, item.delay) for item in self.of(Nak)]

    def runs(self) -> list[guest.Run]:
        """The packs that the last event started."""
        return [s.frame for s in self.of(Send) if isinstance(s.frame, guest.Run)]


FILE = BlobRef(tier="stream", name="big", size=300_000)
