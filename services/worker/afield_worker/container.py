"""One container, as the pool knows it: its phase, the packs that it runs, and until when it may. Pure."""

from math import inf
from typing import TYPE_CHECKING, Final, Literal

from afield._wire.functions import FunctionSpec
from afield_worker.held import Held
from afield_worker.states import ContainerEvent, ContainerPhase, next_container

if TYPE_CHECKING:
    from afield_worker.slots import Slots

PREPARATION_S: Final = 30.0
"""Seconds that this worker may take to have its process: to fetch the code, to start a template. They are not the
function's, whose `startup_timeout` counts from its first moment."""

Verdict = Literal["", "timeout", "cancel", "return", "stop", "startup"]
"""Why this worker killed or stopped a container, or is about to."""


class Container:
    """One container. Each pack that it runs has a clock of its own; this one's is for starting and stopping."""

    __slots__ = (
        "ahead",
        "alone",
        "deadline",
        "free",
        "function",
        "heard",
        "id",
        "idle_since",
        "killed",
        "phase",
        "pid",
        "places",
        "recalled",
        "retiring",
        "rings",
        "running",
        "since",
        "verdict",
        "version",
        "waits",
    )

    def __init__(self, container_id: str, function: "Slots", now: float) -> None:
        self.id = container_id
        self.function = function
        self.version = function.record.version
        """Of the function; one of an older version ends after what it runs."""
        spec = function.record.spec
        self.places = places_of(spec)
        """Packs that it may have at the same time."""
        self.rings = spec.concurrency.max_inputs <= 1 and spec.batching is None
        """Whether it runs one input at a time, so that its guest must be rung to look at its link meanwhile."""
        self.phase: ContainerPhase = "starting"
        self.pid = 0
        self.since = now
        self.running: dict[int, Held] = {}
        """The packs that it has, by token, oldest first."""
        self.ahead: dict[int, Held] = {}
        """The packs that it was sent ahead of time, by token, in the order in which it will begin them."""
        self.recalled = False
        """Whether it was asked to give those back, and has not answered."""
        self.alone = False
        """Whether it takes nothing beside what it runs until that has ended."""
        self.free = False
        """Whether it stands among its function's free containers."""
        self.heard = now
        """When its guest last said that something began or ended."""
        self.idle_since = inf
        """When it ran out of work; infinity while it works or starts."""
        self.deadline = now + PREPARATION_S + spec.startup_timeout
        """When it must be ready, or gone; infinity otherwise."""
        self.verdict: Verdict = ""
        self.killed = False
        self.retiring = False
        """Whether it ends after what it runs."""
        self.waits: dict[str, int] = {}
        """The clients inside it that wait for calls of their own, while it runs a pack, and for how many."""

    def advance(self, event: ContainerEvent) -> None:
        """Change the phase. Raises TransitionError, and changes nothing, when the event does not fit."""
        self.phase = next_container(self.phase, event)

    @property
    def outdated(self) -> bool:
        """Whether its function has a newer version."""
        return self.version != self.function.record.version

    @property
    def latest(self) -> Held:
        """The pack that it got last. It must have one."""
        return next(reversed(self.running.values()))

    def young(self, now: float, patience: float) -> bool:
        """Tell whether the pack that it got last has run for less than `patience` seconds. It must have one."""
        return now - self.latest.since < patience

    @property
    def waiting(self) -> bool:
        """Whether all that it runs waits for calls of its own, so that it needs no core."""
        return bool(self.waits) and sum(self.waits.values()) >= len(self.running)

    @property
    def inputs_running(self) -> int:
        """How many inputs its user code has at this moment."""
        if self.function.record.spec.batching is None:
            return len(self.running)  # the inputs of a pack run one after the other
        return sum(held.remaining for held in self.running.values() if held.begun)


def places_of(spec: FunctionSpec) -> int:
    """Return how many packs a container of a function may have at the same time."""
    if spec.single_use:
        return 1
    inputs = max(1, spec.concurrency.max_inputs)
    return inputs * spec.batching.max_batch_size if spec.batching is not None else inputs
