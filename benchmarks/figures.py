"""Measured figures: what they are, what they should be, and how they are shown and stored."""

import json
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from rich import box
from rich.console import Console
from rich.table import Table

_WIDE: Final = 150
"""Columns from which on there is room for details."""

_COLOURS: Final = {"MISSED": "bold red", "least": "yellow", "aim": "green"}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure. `least` must be reached, `aim` should be; neither says that nobody set one."""

    name: str
    value: float
    unit: str
    least: float | None = None
    aim: float | None = None
    better: Literal["lower", "higher"] = "lower"
    detail: str = ""

    def reaches(self, target: float | None) -> bool:
        """Tell whether the figure is as good as a target; without a target it is."""
        if target is None:
            return True
        return self.value <= target if self.better == "lower" else self.value >= target

    @property
    def verdict(self) -> str:
        """Say how it compares with its targets."""
        if self.least is None and self.aim is None:
            return ""
        if not self.reaches(self.least):
            return "MISSED"
        return "aim" if self.reaches(self.aim) else "least"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of the values do not exceed (nearest rank). Raises ValueError without values."""
    if not values:
        raise ValueError("expected at least one value")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def open_console() -> Console:
    """Return where tables go: as wide as the terminal, or wide enough for everything."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDE)


def show(figures: Sequence[Figure]) -> None:
    """Print the figures as a table; without details where they have no room."""
    console = open_console()
    title = f"afield on {os.cpu_count()} cores, Python {platform.python_version()}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("what", no_wrap=True)
    for heading in ("measured", "at least", "aim"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("reached", no_wrap=True)
    if console.width >= _WIDE:
        table.add_column("detail", style="dim")
    for each in figures:
        cells = [each.name, f"{number(each.value)} {each.unit}", number(each.least), number(each.aim)]
        cells.append(f"[{_COLOURS[each.verdict]}]{each.verdict}[/]" if each.verdict else "")
        table.add_row(*cells, *([each.detail] if console.width >= _WIDE else []))
    console.print(table)


def this_machine() -> dict[str, Any]:
    """Return what figures depend on, as far as it can be told."""
    return {
        "cores": os.cpu_count(),
        "host": platform.node(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def now() -> str:
    """Return the time as it is stored."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def store(figures: Sequence[Figure], path: Path, *, took: float) -> None:
    """Write the figures as JSON, with the machine and the time they were measured at."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "measured_at": now(),
        "took_s": round(took, 1),
        "machine": {**this_machine(), "load": os.getloadavg()[0]},
        "figures": [{**asdict(each), "verdict": each.verdict} for each in figures],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def number(value: float | None) -> str:
    """Return a figure as it is shown; nothing for None."""
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
