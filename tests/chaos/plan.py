"""What is done to which part, and when: drawn from a seed. Pure."""

import random
from typing import Final, Literal, NamedTuple

from afield._wire.streams import ACK_WAIT, LEASE_TTL, WORKER_TTL

Target = Literal[
    "container", "worker", "scheduler", "registry", "gateway", "nats-server", "meta-leader", "clock"
]
Action = Literal["kill", "pause", "step"]

Range = tuple[float, float]


class Fault(NamedTuple):
    """One kind of fault, done again and again in a round."""

    target: Target
    action: Action
    gap: Range
    """Seconds from one strike to the next; the first one comes within the shorter time."""
    hold: Range = (0.0, 0.0)
    """Seconds that a pause lasts: longer than whatever would hide it. Of a step of the clock: by how much it goes wrong."""
    most: int = 100
    """Strikes in a round."""


class Strike(NamedTuple):
    """One fault at its time."""

    at: float
    """Seconds after the first result."""
    target: Target
    action: Action
    hold: float
    choice: float
    """Chooses one of those there are: 0 the first, just below 1 the last."""


def _pause(target: Target, longer_than: float, most: int = 2) -> Fault:
    return Fault(target, "pause", (2.0, 6.0), (longer_than + 1.0, longer_than + 3.0), most)


def _kill(target: Target, least: float, most: float, times: int) -> Fault:
    # Not too often: the supervisor waits longer and longer before it starts again what keeps dying.
    return Fault(target, "kill", (least, most), most=times)


FAULTS: Final[dict[str, tuple[Fault, ...]]] = {
    "none": (),
    "kill-container": (Fault("container", "kill", (0.3, 2.0)),),
    "kill-worker": (_kill("worker", 4.0, 12.0, 5),),
    "kill-scheduler": (_kill("scheduler", 4.0, 10.0, 4),),
    "kill-registry": (_kill("registry", 2.0, 6.0, 5),),
    "kill-gateway": (_kill("gateway", 2.0, 6.0, 5),),
    "kill-nats-server": (_kill("nats-server", 4.0, 10.0, 4),),
    "pause-container": (_pause("container", float(ACK_WAIT), 3),),
    "pause-worker": (_pause("worker", float(WORKER_TTL)),),
    "pause-scheduler": (_pause("scheduler", float(LEASE_TTL)),),
    "pause-registry": (_pause("registry", float(ACK_WAIT)),),
    "pause-gateway": (_pause("gateway", float(ACK_WAIT)),),
    "pause-nats-server": (_pause("nats-server", float(ACK_WAIT)),),
    "clock-steps": (Fault("clock", "step", (2.0, 5.0), (-3600.0, 3600.0), 5),),
    "everything": (
        Fault("container", "kill", (1.0, 4.0)),
        _kill("worker", 8.0, 25.0, 3),
        _kill("scheduler", 6.0, 20.0, 3),
        _kill("registry", 6.0, 20.0, 3),
        _kill("gateway", 6.0, 20.0, 3),
        _kill("nats-server", 10.0, 30.0, 3),
    ),
}
"""By name. `everything` kills all kinds of parts in one round."""

CLUSTER_FAULTS: Final[dict[str, tuple[Fault, ...]]] = {
    **{name: faults for name, faults in FAULTS.items() if not name.endswith("nats-server")},
    "kill-one-node": (_kill("nats-server", 6.0, 14.0, 4),),
    "kill-meta-leader": (_kill("meta-leader", 6.0, 14.0, 4),),
    "pause-one-node": (_pause("nats-server", float(ACK_WAIT)),),
}
"""The same on three nats-servers, of which one at a time is away."""


def make_plan(faults: tuple[Fault, ...], seed: int, length: float) -> tuple[Strike, ...]:
    """Return the strikes of one round of up to `length` seconds, in order. The same seed gives the same ones."""
    strikes: list[Strike] = []
    for number, fault in enumerate(faults):
        rng = random.Random(f"{seed}/{number}/{fault.target}/{fault.action}")
        at = rng.uniform(0.0, fault.gap[0])
        for _ in range(fault.most):
            if at >= length:
                break
            hold = rng.uniform(*fault.hold)
            strikes.append(Strike(at, fault.target, fault.action, hold, rng.random()))
            at += (hold if fault.action == "pause" else 0.0) + rng.uniform(*fault.gap)
    return tuple(sorted(strikes))
