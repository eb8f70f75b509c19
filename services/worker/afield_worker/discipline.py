"""How inputs are interrupted, and containers stopped and killed. Pure."""

from typing import Final

from afield._wire import guest
from afield_worker.alarm import Alarm
from afield_worker.container import Container, Verdict
from afield_worker.held import Held, Interruption
from afield_worker.instructions import Instruction, Interrupt, Kill, Send

KILL_GRACE_S: Final = 2.0
"""Seconds between interrupting user code and killing its container."""

EXIT_GRACE_S: Final = 30.0
"""Seconds that the exit hooks of a container get."""


class Discipline:
    """Sets deadlines for containers and for what they run, and says what happens to those that miss them."""

    __slots__ = ("_alarm",)

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm

    # -- containers ------------------------------------------------------------------------------------

    def patience(self, container: Container, deadline: float) -> None:
        """Give the container until `deadline` to be ready, or gone."""
        container.deadline = deadline
        self._alarm.at(deadline)

    def stop(self, container: Container, now: float, grace: float, out: list[Instruction]) -> None:
        """Let the container end after what it runs; one that is still starting is killed, it has nothing to lose."""
        starting = container.phase == "starting"
        container.advance("stop")
        container.function.close(container)
        if not container.verdict:
            container.verdict = "stop"
        if starting:
            self._kill(container, now, out)
            return
        self.patience(container, now + grace + KILL_GRACE_S)
        out.append(Send(container.id, guest.Stop(grace_s=grace)))

    def overdue(self, container: Container, now: float, out: list[Instruction]) -> None:
        """The container is not ready, or not gone, in time."""
        self.condemn(container, "startup" if container.phase == "starting" else container.verdict, now, out)

    def condemn(self, container: Container, verdict: Verdict, now: float, out: list[Instruction]) -> None:
        """Kill the container, for the reason given. Only what had its grace is at fault; the rest runs elsewhere."""
        if container.phase != "stopping":
            container.advance("stop")
        container.function.close(container)
        container.verdict = verdict
        if not container.killed:
            for held in container.running.values():
                if held.deadline > now:
                    held.verdict = ""
        self._kill(container, now, out)

    def _kill(self, container: Container, now: float, out: list[Instruction]) -> None:
        container.killed = True
        self.patience(container, now + KILL_GRACE_S)
        out.append(Kill(container.id))

    # -- what they run ---------------------------------------------------------------------------------

    def allow(self, held: Held, deadline: float) -> None:
        """Give the input that a pack runs until `deadline`."""
        held.deadline = deadline
        self._alarm.at(deadline)

    def time(self, container: Container, held: Held, now: float) -> None:
        """Start the clock of the input that is next in a pack. Of a batched function it may wait for others first."""
        if held.verdict == "return":
            return  # none is next
        held.verdict = ""
        spec = container.function.record.spec
        if spec.batching is None:
            held.begun = True
            deadline = now + spec.timeout
        else:
            held.begun = False
            deadline = now + spec.batching.wait_ms / 1000 + spec.timeout
        held.deadline = deadline
        self._alarm.at(deadline)

    def began(self, container: Container, held: Held, now: float) -> None:
        """User code has the inputs of a pack now."""
        held.begun = True
        if held.verdict == "return":
            return
        held.verdict = ""
        self.allow(held, now + container.function.record.spec.timeout)

    def look(self, container: Container, now: float, out: list[Instruction]) -> None:
        """Interrupt what runs for too long; kill the container when something did not heed that."""
        for held in list(container.running.values()):
            if container.killed:
                return
            if now >= held.deadline and not self._waits_its_turn(container, held, now):
                if held.verdict:
                    self.condemn(container, held.verdict, now, out)
                else:
                    self.interrupt(container, held, "timeout", now, out)
            self._alarm.at(held.deadline)

    def interrupt(
        self, container: Container, held: Held, why: Interruption, now: float, out: list[Instruction]
    ) -> None:
        """Interrupt the input that a pack runs; its container is killed if it does not heed that.

        For anything but a timeout, a Cancel that says which inputs are meant must have been sent.
        """
        if held.verdict != "return":  # of which the guest says what it says of a cancellation
            held.verdict = why
        self.allow(held, now + KILL_GRACE_S)
        if container.rings:
            out.append(Interrupt(container.id))
        elif why == "timeout":
            out.append(Send(container.id, guest.Cancel(token=held.token, why="timeout")))

    def _waits_its_turn(self, container: Container, held: Held, now: float) -> bool:
        """Tell whether inputs that have not begun only wait for others, as long as something begins or ends."""
        if held.begun or held.verdict:
            return False
        batching = container.function.record.spec.batching
        wait = batching.wait_ms / 1000 if batching is not None else 0.0
        deadline = container.heard + wait + container.function.record.spec.timeout
        if deadline <= now:
            return False
        self.allow(held, deadline)
        return True
