"""What a run is doing, and how it looks: a block of lines on a terminal, a few plain lines elsewhere.

The state is changed from event loops and read by the terminal's thread; each field is replaced as a whole.
"""

import threading
from dataclasses import dataclass, field
from typing import Final

from afield._wire.ids import base_id
from afield._wire.messages import Event

BAR_WIDTH: Final = 40
PLAIN_EVERY_S: Final = 10.0
"""Seconds between plain lines about the same map."""
MOST_MAPS: Final = 8
"""Maps that are shown at a time."""

_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN_SPINNER: Final = "|/-\\"
_DRAWN: Final = _SPINNER + "━╸╺…"
"""Characters that the block is drawn with, where the terminal's encoding has them."""


@dataclass
class AppState:
    """A run, as far as it is shown."""

    name: str
    status: str = "starting"
    functions: dict[str, str] = field(default_factory=dict)
    """Function id to name."""
    starting: dict[str, str] = field(default_factory=dict)
    """Container id to function id."""
    ready: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    """Function id to the reason why no container starts."""
    seen_ready: set[str] = field(default_factory=set)


@dataclass
class MapState:
    """A map, as far as it is shown."""

    name: str
    total: int | None
    done: int = 0
    told_at: float = 0.0


class Progress:
    """The state of all runs and maps that output is enabled for. Methods that change it may return plain lines.

    `encoding` is what the block of lines must be encoded with.
    """

    def __init__(self, *, encoding: str = "utf-8") -> None:
        self._encoding = encoding
        self._plain = _DRAWN.encode(encoding, "ignore").decode(encoding) != _DRAWN
        self._lock = threading.Lock()
        self.apps: dict[str, AppState] = {}
        self.maps: list[MapState] = []
        self.status = ""
        """What is being waited for before there is an app."""

    def on_event(self, event: Event) -> list[str]:
        """Take in an event; return what to say of it where there is no block."""
        with self._lock:
            app = self.apps.get(event.app_id)
            if app is None:
                return []
            name = app.functions.get(base_id(event.function_id), event.function_id)
            container = event.container_id
            match event.kind:
                case "container.starting":
                    app.starting[container] = event.function_id
                    app.waiting.pop(event.function_id, None)
                case "container.ready":
                    app.starting.pop(container, None)
                    app.ready[container] = event.function_id
                    function = base_id(event.function_id)
                    if function not in app.seen_ready:
                        app.seen_ready.add(function)
                        return [f"{name}: the first container is ready"]
                case "container.stopped":
                    app.starting.pop(container, None)
                    app.ready.pop(container, None)
                case "container.failed":
                    app.starting.pop(container, None)
                    app.ready.pop(container, None)
                    return [f"{name}: container {container} failed: {event.detail}"]
                case "container.notice":
                    return [f"{name}: {event.detail}"]
                case "function.failing":
                    app.waiting[event.function_id] = event.detail
                    return [f"{name}: {event.detail}"]
                case "function.waiting" if app.waiting.get(event.function_id) != event.detail:
                    app.waiting[event.function_id] = event.detail
                    return [f"{name}: waiting: {event.detail}"]
                case _:
                    pass
        return []

    def containers(self, app_id: str) -> int:
        """Return how many containers of an app are known to run or start."""
        with self._lock:
            app = self.apps.get(app_id)
            return len(app.starting) + len(app.ready) if app is not None else 0

    def containers_of(self, app_id: str) -> set[str]:
        """Return the containers of an app that are known to run or start."""
        with self._lock:
            app = self.apps.get(app_id)
            return {*app.starting, *app.ready} if app is not None else set()

    def lines(self, width: int, now: float) -> list[str]:
        """Return the block for a terminal of `width` columns; none when nothing goes on."""
        spinner = _PLAIN_SPINNER if self._plain else _SPINNER
        turning = spinner[int(now * 10) % len(spinner)]
        with self._lock:
            texts = [f"{turning} {self.status}"] if self.status else []
            for app in self.apps.values():
                texts.append(f"{turning} {_describe(app)}")
                texts += [
                    f"  {app.functions.get(base_id(function_id), function_id)} is waiting: {reason}"
                    for function_id, reason in app.waiting.items()
                ]
            maps = [(each.name, each.done, each.total) for each in self.maps[:MOST_MAPS]]
        lines = _render(texts, maps, width, plain=self._plain) if texts or maps else []
        return [self._encodable(line) for line in lines]

    def _encodable(self, line: str) -> str:
        """Return a line without characters that the encoding does not have, and no longer for that."""
        if self._plain:
            line = line.replace("…", ".")
        return line.encode(self._encoding, "replace").decode(self._encoding)


def _describe(app: AppState) -> str:
    parts = [f"{app.name}: {app.status}"]
    if app.ready:
        parts.append(f"{len(app.ready)} container{'s' if len(app.ready) != 1 else ''} ready")
    if app.starting:
        parts.append(f"{len(app.starting)} starting")
    return ", ".join(parts)


def _render(
    texts: list[str], maps: list[tuple[str, int, int | None]], width: int, *, plain: bool
) -> list[str]:
    import io

    from rich.console import Console
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    class Ascii(io.StringIO):
        encoding = "ascii"  # rich draws with what this has

    out = Ascii() if plain else io.StringIO()
    console = Console(
        file=out, width=max(20, width - 1), force_terminal=True, color_system="standard", highlight=False
    )
    for text in texts:
        console.print(Text(text), no_wrap=True, overflow="ellipsis", crop=True)
    if maps:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=30)
        grid.add_column(width=min(BAR_WIDTH, max(5, width // 3)))
        grid.add_column(no_wrap=True)
        for name, done, total in maps:
            bar = ProgressBar(total=total, completed=done, pulse=total is None)
            grid.add_row(Text(name), bar, Text(f"{done:,}" if total is None else f"{done:,}/{total:,}"))
        console.print(grid)
    return out.getvalue().splitlines()
