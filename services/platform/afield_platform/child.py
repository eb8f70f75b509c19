"""One process of the platform: started, listened to, restarted by its supervisor."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from signal import Signals

from afield_platform.backoff import Backoff
from afield_platform.early import READY_FD, Early
from afield_platform.linux import die_with_parent, set_timer_slack
from afield_platform.output import Output
from afield_platform.reactor import Reactor

_CHUNK = 2**16
_REST = 2**20


class Child:
    """A process that runs for as long as the platform does.

    `on_line` gets each line that it writes, `on_ready(role, address)` each readiness line on its own pipe. Its timers may be
    late by `timer_slack` seconds (0: what the kernel gives, 50 µs).
    """

    def __init__(
        self,
        name: str,
        roles: Sequence[str],
        output: Output,
        reactor: Reactor,
        *,
        on_line: Callable[["Child", bytes], None] | None = None,
        on_ready: Callable[["Child", str, str], None] | None = None,
        timer_slack: float = 0.0,
    ) -> None:
        self.name = name
        self.roles = tuple(roles)
        self.output = output
        self.backoff = Backoff()
        self.pid = 0
        """0 while it does not run."""
        self.started_at = 0.0
        """Unix time."""
        self.starts = 0
        self.early: Early | None = None
        """A process that waits to be this one, for its first start."""
        self.addresses: dict[str, str] = {}
        """Role to address, for each role that has said it is ready since the last start."""
        self._reactor = reactor
        self._on_line = on_line
        self._on_ready = on_ready
        self._timer_slack = timer_slack
        self._started = 0.0
        self._consumers: dict[int, Callable[[bytes], None]] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def ready(self) -> bool:
        """Whether all its roles are ready."""
        return self.pid != 0 and set(self.roles) <= set(self.addresses)

    @property
    def lived(self) -> float:
        """Seconds since the last start."""
        return time.monotonic() - self._started

    def start(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Start it. Raises OSError when the program cannot be started."""
        assert self.pid == 0
        early, self.early = self.early, None
        if early is None:
            self._process, output, ready = _spawn(argv, env, self._timer_slack)
            self.pid = self._process.pid
        else:
            self.pid, output, ready = early.pid, early.output, early.ready
            early.go(argv, env)
        self.output.tail.clear()  # last words are those of this life
        self.starts += 1
        self.started_at = time.time()
        self._started = time.monotonic()
        self.addresses = {}
        self._listen(output, self._heard)
        self._listen(ready, _Lines(self._told).feed)

    def signal(self, signum: int) -> None:
        """Send it a signal; harmless when it does not run."""
        if self.pid:
            os.kill(self.pid, signum)  # not reaped yet, so the number is still its own

    def ended(self, status: int) -> str:
        """Note that it was reaped with this wait status; return how it ended, in words."""
        code = os.waitstatus_to_exitcode(status)
        if self._process is not None:
            self._process.returncode = code  # reaped by us, so Popen must not wait
            self._process = None
        for fd in list(self._consumers):
            self._read_rest(fd)
        self.pid = 0
        self.addresses = {}
        return f"exit code {code}" if code >= 0 else f"signal {Signals(-code).name}"

    def _listen(self, fd: int, consume: Callable[[bytes], None]) -> None:
        os.set_blocking(fd, False)
        self._consumers[fd] = consume
        self._reactor.on_readable(fd, partial(self._read, fd))

    def _read(self, fd: int) -> bool:
        """Read once; return whether there may be more."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        if data:
            self._consumers[fd](data)
            return True
        self._close(fd)
        return False

    def _read_rest(self, fd: int) -> None:
        """Read what is in a pipe. A grandchild may hold it open, or write, for ever: its end is not waited for."""
        for _ in range(_REST // _CHUNK):
            if not self._read(fd):
                break
        if fd in self._consumers:
            self._close(fd)

    def _close(self, fd: int) -> None:
        del self._consumers[fd]
        self._reactor.forget(fd)

    def _heard(self, data: bytes) -> None:
        for line in self.output.feed(data):
            if self._on_line is not None:
                self._on_line(self, line)

    def _told(self, line: bytes) -> None:
        try:
            news = json.loads(line)
            role, address = str(news["ready"]), str(news["address"])
        except (ValueError, KeyError, TypeError):
            self.output.feed(b"(not a readiness line, ignored: " + line + b")\n")
            return
        self.addresses[role] = address
        if self._on_ready is not None:
            self._on_ready(self, role, address)


def _spawn(
    argv: Sequence[str], env: Mapping[str, str], timer_slack: float
) -> tuple["subprocess.Popen[bytes]", int, int]:
    """Start a process; return it with the reading ends of its output and of its readiness lines."""
    out_r, out_w = os.pipe()
    ready_r, ready_w = os.pipe()
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out_w,
            stderr=out_w,
            env={**env, READY_FD: str(ready_w)},
            cwd="/",
            pass_fds=(ready_w,),
            preexec_fn=_before_exec(timer_slack),  # noqa: PLW1509 - no other thread holds a lock: echo only writes
            start_new_session=True,  # a Ctrl-C on the terminal is for the supervisor alone
        )
    except BaseException:
        os.close(out_r)
        os.close(ready_r)
        raise
    finally:
        os.close(out_w)
        os.close(ready_w)
    return process, out_r, ready_r


def _before_exec(timer_slack: float) -> Callable[[], None]:
    die_with_us = die_with_parent()

    def after_fork() -> None:
        die_with_us()
        if timer_slack:
            set_timer_slack(timer_slack)

    return after_fork


class _Lines:
    """Cuts a stream of bytes into lines."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._partial = b""

    def feed(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._take(line)
