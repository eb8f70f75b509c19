"""enable_output: what containers write, and how far the work has got, shown by the process that waits for it."""

import os
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import anyio
import anyio.to_thread

from afield._log_lines import LogLines, Piece
from afield._progress import PLAIN_EVERY_S, AppState, MapState, Progress
from afield._terminal import Terminal
from afield._wire.ids import base_id
from afield._wire.messages import Event, EventKind, LogBatch

LASTING: Final[frozenset[EventKind]] = frozenset({"container.failed", "container.notice", "function.failing"})
"""What is said on a terminal, too, where the block of lines tells of all else."""

__all__ = [
    "MapProgress",
    "OutputManager",
    "Screen",
    "current",
    "enable_output",
    "map_progress",
    "settle",
    "settle_async",
]


class Screen:
    """What is shown while output is enabled. Its methods never block, unless they say so."""

    def __init__(
        self, terminal: Terminal, progress: Progress, *, plain: bool, shows_progress: bool, timestamps: bool
    ) -> None:
        self._terminal = terminal
        self._progress = progress
        self._plain = plain
        self._shows_progress = shows_progress
        self._timestamps = timestamps
        self._logs: dict[str, LogLines] = {}
        self._names: dict[str, str] = {}
        self._gone: dict[str, anyio.Event] = {}
        self._logs_lock = threading.Lock()
        self._blocked = False
        """Whether whole lines wait for the rest of somebody's unfinished one."""
        self._lost: set[str] = set()
        self._lost_lock = threading.Lock()

    @property
    def idle(self) -> bool:
        """Whether everything has been written."""
        return self._terminal.idle and not self._blocked

    def flush(self) -> None:
        """Block until everything has been written, but for unfinished lines."""
        if self._blocked:
            with self._logs_lock:
                self._put([piece for logs in self._logs.values() for piece in logs.unblock()])
        self._terminal.flush()

    # -- a run --

    def status(self, text: str) -> None:
        """Say what is being waited for, before there is an app; empty for nothing."""
        self._progress.status = text
        if text:
            self._say(text)
        self._terminal.repaint()

    def app_created(self, name: str, app_id: str) -> None:
        """An app is about to run."""
        self._progress.status = ""
        self._progress.apps[app_id] = AppState(name or app_id)
        self._terminal.repaint()

    def app_running(self, app_id: str, functions: dict[str, str]) -> None:
        """An app's functions can be called now; `functions` are their names by id."""
        self._names.update(functions)
        app = self._progress.apps[app_id]
        app.functions, app.status = functions, "running"
        self._say(f"app {app.name} runs ({app_id})")
        self._terminal.repaint()

    def app_ended(self, app_id: str, *, detached: bool) -> None:
        """A run has ended, though a detached app goes on."""
        app = self._progress.apps.pop(app_id, None)
        with self._logs_lock:
            logs = self._logs.pop(app_id, None)
            if logs is not None:
                self._put(logs.finish())
        if app is not None:
            self._say(f"app {app.name} {'goes on without us' if detached else 'has ended'} ({app_id})")
        self._terminal.repaint()

    async def containers_gone(self, app_id: str, within: float) -> None:
        """Wait until all containers that are known to run have ended, `within` seconds at most."""
        gone = self._gone[app_id] = anyio.Event()
        with anyio.move_on_after(within):
            if self._progress.containers(app_id):
                await gone.wait()
        del self._gone[app_id]

    def on_event(self, event: Event) -> None:
        """Something happened to an app."""
        for line in self._progress.on_event(event):
            if event.kind not in LASTING:
                self._say(line)
            elif self._shows_progress:
                self._warn(line)
        gone = self._gone.get(event.app_id)
        if gone is not None and not self._progress.containers(event.app_id):
            gone.set()

    def on_log(self, app_id: str, batch: LogBatch) -> None:
        """A container wrote something."""
        label = f"{self._names.get(base_id(batch.function_id), batch.function_id)} {batch.container_id}"
        now = time.monotonic()
        with self._logs_lock:
            logs = self._logs.get(app_id)
            if logs is None:
                logs = self._logs[app_id] = LogLines(timestamps=self._timestamps)
            pieces: list[Piece] = []
            for record in batch.records:
                pieces += logs.add(batch.container_id, label, record, now)
            self._put(pieces)

    def _put(self, pieces: list[Piece]) -> None:
        """Write these soon, and see to what is held back. With the lock of the logs held."""
        self._terminal.put(pieces)
        self._blocked = any(logs.blocked for logs in self._logs.values())
        dues = [due for logs in self._logs.values() if (due := logs.due()) is not None]
        self._terminal.call_at(min(dues, default=None), self._release)

    def _release(self) -> None:
        now = time.monotonic()
        with self._logs_lock:
            self._put([piece for logs in self._logs.values() for piece in logs.release(now)])

    def no_room(self, name: str) -> None:
        """The platform takes no more inputs of a function for now."""
        if self._shows_progress:
            self._warn(f"{name}: the platform has no room for more inputs; waiting until some have ended")

    # -- the connection --

    def connection_lost(self, session: str) -> None:
        """A client has lost its connection. Said once, however many clients of this process there are."""
        with self._lost_lock:
            first = not self._lost
            self._lost.add(session)
        if first:
            self._warn("connection to the platform lost, reconnecting")

    def connection_back(self, session: str) -> None:
        """A client is connected again."""
        with self._lost_lock:
            last = self._lost == {session}
            self._lost.discard(session)
        if last:
            self._warn("connection to the platform is back")

    # -- a map --

    def map_progress(self, name: str, total: int | None) -> "MapProgress | None":
        """Show a map of a function; None when no progress is shown."""
        if not self._shows_progress:
            return None
        state = MapState(name, total, told_at=time.monotonic())
        self._progress.maps.append(state)
        return MapProgress(self, state)

    def map_changed(self, state: MapState) -> None:
        """A map has got further."""
        if self._plain and time.monotonic() - state.told_at >= PLAIN_EVERY_S:
            state.told_at = time.monotonic()
            self._say(_tell(state))

    def map_closed(self, state: MapState) -> None:
        """A map is over."""
        if state in self._progress.maps:
            self._progress.maps.remove(state)
            self._say(_tell(state))

    def _say(self, line: str) -> None:
        if self._plain and self._shows_progress:
            self._warn(line)

    def _warn(self, line: str) -> None:
        self._terminal.put([Piece("stderr", f"afield: {line}\n")])


def _tell(state: MapState) -> str:
    of = "" if state.total is None else f" of {state.total:,}"
    return f"{state.name}: {state.done:,}{of} inputs done"


class MapProgress:
    """Tells the screen how far a map is."""

    def __init__(self, screen: Screen, state: MapState) -> None:
        self._screen = screen
        self._state = state

    def update(self, done: int, total: int | None) -> None:
        """So many inputs are done, of so many in all, if that is known by now."""
        self._state.done = done
        if total is not None:
            self._state.total = total
        self._screen.map_changed(self._state)

    def close(self) -> None:
        """The map is over."""
        self._screen.map_closed(self._state)


OutputManager = Screen

_current: Screen | None = None


@contextmanager
def enable_output(
    show_progress: bool = True, *, quiet: bool = False, timestamps: bool = False
) -> Generator[None, None, None]:
    """Show what containers write, and progress, inside the `with` block.

    Output goes to the stream that it was written to, live. Lines carry the name of the container when several talk.
    Progress is a block of lines at the bottom of a terminal; where standard error is none, a few plain lines on it.
    `show_progress=False` or `quiet` leaves progress away, `timestamps` puts the time before each line. Characters that
    a stream's encoding does not have are shown as escapes.

    Raises OSError at the end of a block that went well, when standard output could not be written (a full disk).
    """
    global _current
    previous = _current
    shows_progress = show_progress and not quiet
    painted = shows_progress and _is_terminal()
    progress = Progress(encoding=getattr(sys.stderr, "encoding", None) or "utf-8")
    with Terminal(progress.lines if painted else None) as terminal:
        _current = Screen(
            terminal, progress, plain=not painted, shows_progress=shows_progress, timestamps=timestamps
        )
        try:
            yield
        finally:
            _current = previous
    if terminal.failure is not None:
        raise terminal.failure


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def current() -> Screen | None:
    """Return the screen, if output is enabled."""
    return _current


def map_progress(name: str, total: int | None) -> MapProgress | None:
    """Show a map of a function, if output is enabled."""
    return None if _current is None else _current.map_progress(name, total)


def settle() -> None:
    """Block until what came from containers so far is on the screen: a result is not seen before its output."""
    if _current is not None and not _current.idle:
        _current.flush()


async def settle_async() -> None:
    """As `settle`, without blocking the loop."""
    screen = _current
    if screen is not None and not screen.idle:
        await anyio.to_thread.run_sync(screen.flush)
