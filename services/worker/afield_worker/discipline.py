"""How a container is stopped, interrupted and killed. Pure."""

from typing import Final

from afield._wire import guest
from afield_worker.alarm import Alarm
from afield_worker.held import Held
from afield_worker.instructions import Instruction, Interrupt, Kill, Send
from afield_worker.slots import Container, Verdict

KILL_GRACE_S: Final = 2.0
"""Seconds between interrupting user code and killing its container."""


class Discipline:
    """Sets deadlines for containers, and says what happens to one that misses them."""

    __slots__ = ("_alarm",)

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm

    def patience(self, container: Container, deadline: float) -> None:
        """Give the container until `deadline` for what it does now."""
        container.deadline = deadline
        self._alarm.at(deadline)

    def stop(self, container: Container, now: float, grace: float, out: list[Instruction]) -> None:
        """Let the container end after what it runs; one that is still starting is killed, it has nothing to lose."""
        starting = container.phase == "starting"
        container.advance("stop")
        if container in container.function.idle:
            container.function.idle.remove(container)
        if not container.verdict:
            container.verdict = "stop"
        if starting:
            self._kill(container, now, out)
            return
        self.patience(container, now + grace + KILL_GRACE_S)
        out.append(Send(container.id, guest.Stop(grace_s=grace)))

    def overdue(self, container: Container, now: float, out: list[Instruction]) -> None:
        """The container took too long for what it does: interrupt first, then kill."""
        if container.phase == "starting":
            self.condemn(container, "startup", now, out)
        elif container.phase == "ready" and container.running is not None and not container.verdict:
            container.verdict = "timeout"
            self.patience(container, now + KILL_GRACE_S)
            out.append(Interrupt(container.id))
        else:
            self.condemn(container, container.verdict, now, out)

    def condemn(self, container: Container, verdict: Verdict, now: float, out: list[Instruction]) -> None:
        """Kill the container, for the reason given."""
        if container.phase != "stopping":
            container.advance("stop")
        container.verdict = verdict
        self._kill(container, now, out)

    def cancel(
        self,
        container: Container,
        held: Held,
        which: frozenset[int],
        now: float,
        out: list[Instruction],
        *,
        kill: bool = False,
    ) -> None:
        """Interrupt inputs of the pack that it runs (all, if empty); it is killed if it does not heed that."""
        which = which.intersection(held.unfinished()) if which else frozenset(held.unfinished())
        if not which:
            return
        held.cancelled |= which
        if kill:
            self.condemn(container, "cancel", now, out)
            return
        out.append(Send(container.id, guest.Cancel(token=held.token, indices=tuple(sorted(which)))))
        # Only the input that runs now needs to be interrupted; the guest skips the others by itself.
        if held.unfinished()[0] in which:
            container.verdict = "cancel"
            self.patience(container, now + KILL_GRACE_S)
            out.append(Interrupt(container.id))

    def _kill(self, container: Container, now: float, out: list[Instruction]) -> None:
        container.killed = True
        self.patience(container, now + KILL_GRACE_S)
        out.append(Kill(container.id))
