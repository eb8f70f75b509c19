"""Measured figures: what they are, what they should be, and how they are shown and stored."""

import json
import math
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table


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
        return "aim" if self.reaches(self.aim) else "ok"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of the values do not exceed (nearest rank). Raises ValueError without values."""
    if not values:
        raise ValueError("expected at least one value")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def show(figures: Sequence[Figure]) -> None:
    """Print the figures as a table."""
    table = Table(
        title=f"afield on {os.cpu_count()} cores, Python {platform.python_version()}", title_justify="left"
    )
    table.add_column("what", no_wrap=True)
    for heading in ("measured", "at least", "aim"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("detail", style="dim")
    colours = {"MISSED": "bold red", "ok": "yellow", "aim": "green", "": ""}
    for each in figures:
        verdict = each.verdict
        table.add_row(
            each.name,
            f"{_number(each.value)} {each.unit}",
            _number(each.least),
            _number(each.aim),
            f"[{colours[verdict]}]{verdict}[/]" if verdict else "",
            each.detail,
        )
    Console().print(table)


def store(figures: Sequence[Figure], path: Path, *, took: float) -> None:
    """Write the figures as JSON, with the machine and the time they were measured at."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "took_s": round(took, 1),
        "machine": {
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "kernel": platform.release(),
            "machine": platform.machine(),
            "python": platform.python_version(),
        },
        "figures": [{**asdict(each), "verdict": each.verdict} for each in figures],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
