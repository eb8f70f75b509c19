"""The supervisor: starts nats-server and the services of one host, restarts what dies, and leaves nothing behind."""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Literal

from afield import _cgroups, _marks
from afield._launch import PlatformFolder
from afield_platform import linux
from afield_platform.child import Child
from afield_platform.early import Early
from afield_platform.files import write_json
from afield_platform.fleet import Fleet
from afield_platform.full_disk import FullDisk
from afield_platform.ground import Ground
from afield_platform.launcher import Launcher
from afield_platform.options import Options
from afield_platform.output import Echo, Output
from afield_platform.paths import Paths
from afield_platform.reactor import Reactor
from afield_platform.record import make_record
from afield_platform.roles import SERVICES

START_TIMEOUT: Final = 50.0
"""Seconds for the first start; less than a launcher waits, so that the reason reaches it."""

NATS_TIMER_SLACK: Final = 0.001
"""Seconds that timers of nats-server may be late. A thread of Go's runtime wakes each 20 µs while there is work, and looks for
goroutines that hang: a fifth of the server's processor time in warm calls, and each wake-up takes a core from somebody. With
this slack it wakes each millisecond; a warm call takes 6 to 15 % less. More gives no more, and one call of 1,000 then waits for
a thread of Go's that meant to sleep for 3 µs: with 10 ms, the 99.9th percentile doubles (docs/performance.md). Nothing that we
ask of the server is timed more finely than that.
"""

PORT_TRIES: Final = 5
PATIENCE_PRIVATE: Final = 45.0
PATIENCE_SHARED: Final = 60.0
"""Seconds from SIGTERM to SIGKILL of the services. Exit hooks of containers have 30 of them, after what runs had its time."""

PATIENCE_STARTING: Final = 3.0
"""The same for services that were never ready: nobody has asked anything of them."""

_READY_LINE: Final = b"Server is ready"
_PORT_TAKEN: Final = "address already in use"


class Supervisor:
    """One platform. `run` returns the exit status when all of it is gone."""

    make_ground: ClassVar[type[Ground]] = Ground
    """What the processes stand on; a test may have other ground."""

    def __init__(self, options: Options, early: Early | None = None) -> None:
        self._options = options
        self._early = early
        self._paths = Paths(options.folder)
        self._state: Literal["starting", "ready", "stopping"] = "starting"
        self._failure = ""
        self._gone = False
        self._started_at = time.time()
        self._began = time.monotonic()
        self._port_tries = 0
        self._reactor = Reactor()
        self._launcher = Launcher(options, self._reactor, self._owner_gone)
        self._ground: Ground | None = None
        self._fleet: Fleet | None = None
        self._echo: Echo | None = None
        self._disk = FullDisk(self._reactor, self._paths.store, self.note, self._restart_nats)

    def run(self) -> int:
        """Supervise until told to stop, or until the owner is gone; return the exit status.

        Whatever happens, nothing of the platform is left when this returns or raises.
        """
        try:
            self._start()
            self._reactor.run(lambda: self._gone)
        except OSError as error:
            self._failure = self._failure or f"cannot run a platform in {self._paths.root}: {error}"
        except BaseException as error:
            self._failure = f"the supervisor failed: {type(error).__name__}: {error}"
            raise
        finally:
            self._remove_all()
        return 1 if self._failure else 0

    def _start(self) -> None:
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup has its way
                self._reactor.on_signal(signum, self.stop)
        linux.become_subreaper()
        self._paths.create()
        self.changed()
        self._launcher.tell({"progress": "starting a platform"})
        if self._options.foreground:
            self._echo = Echo(2)
        self._ground = ground = self.make_ground(self._options, self._paths)
        nats = self._child(
            "nats-server", ["nats-server"], on_line=self._nats_said, timer_slack=NATS_TIMER_SLACK
        )
        groups = [[role] for role in SERVICES] if self._options.separate else [list(SERVICES)]
        services = [self._child(g[0] if len(g) == 1 else "services", g, echo=self._echo) for g in groups]
        if self._early is not None:
            services[0].early = self._early
        self._fleet = Fleet(nats, services, ground, self._reactor, self, self._options.id)
        self._reactor.on_signal(signal.SIGCHLD, self._fleet.reap)
        self._reactor.call_later(START_TIMEOUT, self._start_is_late)
        self._fleet.start_all()
        if self._early is not None:
            self._fleet.reap()  # it may have ended before anybody listened for that

    def _child(
        self,
        name: str,
        roles: Sequence[str],
        *,
        on_line: Callable[[Child, bytes], None] | None = None,
        echo: Echo | None = None,
        timer_slack: float = 0.0,
    ) -> Child:
        output = Output(self._paths.logs / f"{name}.log", echo)
        return Child(
            name,
            roles,
            output,
            self._reactor,
            on_line=on_line,
            on_ready=self._on_ready,
            timer_slack=timer_slack,
        )

    # -- readiness --------------------------------------------------------------------------------

    def _nats_said(self, child: Child, line: bytes) -> None:
        if line.endswith(_READY_LINE) and self._ground is not None:
            self._on_ready(child, "nats-server", self._ground.server.partition("://")[2])
        self._disk.heard(line)

    def _restart_nats(self) -> None:
        if self._fleet is not None and self._state != "stopping":
            self._fleet.nats.signal(signal.SIGKILL)  # its last words are on disk, as far as there was room

    def _on_ready(self, child: Child, role: str, address: str) -> None:
        assert self._fleet is not None
        child.addresses[role] = address
        waiting = self._fleet.waiting()
        if self._state == "starting" and waiting:
            self._launcher.tell({"progress": f"waiting for {', '.join(waiting)}"})
        elif self._state == "starting":
            self._state = "ready"
            record = make_record(self._options, self._state, self._started_at, self._ground, self._fleet)
            write_json(self._paths.record, record)
            self._launcher.tell({"ready": record})
            self._say_ready()
            return
        self.changed()

    def _start_is_late(self) -> None:
        if self._state == "starting" and self._fleet is not None:
            logs = "\n".join(c.output.tail_text(25) for c in self._fleet.children if not c.ready)
            waiting = ", ".join(self._fleet.waiting())
            self._fail(f"not ready after {START_TIMEOUT:g} s: waiting for {waiting}. Last words:\n{logs}")

    # -- what the fleet tells -----------------------------------------------------------------------

    def ended(self, child: Child, how: str, lived: float) -> bool:
        """A process ended: fatal during the first start, save for a port that somebody else has taken."""
        assert self._fleet is not None
        assert self._ground is not None
        said = child.output.tail_text(25)
        starting = self._state == "starting"
        taken = _PORT_TAKEN in said.lower() and self._port_tries < PORT_TRIES
        if taken and child is not self._fleet.nats:
            self._ground.take_another_port("gateway")
        elif taken and starting:  # later it keeps its port, which clients know, and waits until it is free
            self._ground.take_another_port("nats-server")
        if not starting:
            self.changed()
            return True
        if taken:
            self._port_tries += 1
            self._fleet.start_over()  # with what the others need to know
        else:
            self._fail(
                f"{child.name} ended with {how} {lived:.1f} s after its start. Its last words:\n{said}"
            )
        return False

    def changed(self) -> None:
        """Write the record anew."""
        record = make_record(self._options, self._state, self._started_at, self._ground, self._fleet)
        try:
            write_json(self._paths.record, record)
        except OSError as error:
            if self._state == "starting":
                raise
            # A full disk: the platform goes on, and the next change is written again.
            self.note(f"cannot write {self._paths.record}: {error}")

    def note(self, text: str) -> None:
        """Say something worth keeping: on the terminal, or in the supervisor's own log."""
        line = f"{time.strftime('%H:%M:%S')} afield: {text}\n".encode()
        if self._echo is not None:
            self._echo.write(line)
        else:
            os.write(2, line)

    def all_stopped(self) -> None:
        """Let `run` end."""
        self._gone = True

    # -- stop -------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin to stop; when that has begun, stop without waiting for anybody."""
        assert self._fleet is not None
        if self._state == "stopping":
            self._fleet.kill()
            return
        was_ready, self._state = self._state == "ready", "stopping"
        if self._options.foreground:
            self.note("stopping")
        self.changed()
        if self._options.private:
            # What it stored goes with it, so the server need not put it in order.
            patience, nats_signal = PATIENCE_PRIVATE, signal.SIGKILL
        else:
            patience, nats_signal = PATIENCE_SHARED, signal.SIGTERM
        self._fleet.stop(patience if was_ready else PATIENCE_STARTING, nats_signal)

    def _owner_gone(self) -> None:
        if self._state != "stopping":
            self.stop()

    def _fail(self, message: str) -> None:
        self._failure = message
        self.stop()

    def _remove_all(self) -> None:
        """Kill whatever is left of the platform, remove its files, tell the reason of a failure."""
        me = os.getpid()
        _marks.kill_all(lambda: (_marks.marked(self._options.id) | _marks.descendants(me)) - {me})
        _cgroups.sweep()  # of workers that were killed
        for child in self._fleet.children if self._fleet else ():
            child.output.close()
        if self._options.private:
            PlatformFolder(self._paths.root).remove()
        else:
            self._paths.record.unlink(missing_ok=True)
        if self._failure:
            self._launcher.tell({"failed": self._failure})
            if self._options.foreground:
                self.note(self._failure)
        if self._echo is not None:
            self._echo.close()
        self._reactor.close()

    def _say_ready(self) -> None:
        if not self._options.foreground or self._ground is None:
            return
        seconds = time.monotonic() - self._began
        text = (
            f"afield is up after {seconds:.1f} s (process {os.getpid()}); Ctrl-C stops it.\n"
            f"  server   {self._ground.server}\n"
            f"  gateway  http://127.0.0.1:{self._ground.ports['gateway']}\n"
            f"  files    {self._paths.root}\n"
        )
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:  # nobody reads it, or the disk is full
            self.note(text)
