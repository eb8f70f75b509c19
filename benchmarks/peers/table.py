"""What was measured: medians, spreads, ratios to afield, and how they are shown."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from rich import box
from rich import table as rich_table

from benchmarks.peers.works import Better, Work

REASON_LENGTH = 160


@dataclass(kw_only=True)
class Cell:
    """What the rounds gave for one figure of one peer.

    `values` has a value for each round that went well, `failed` what went wrong in others, `na` why there is none.
    """

    values: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    na: str = ""

    @property
    def median(self) -> float | None:
        """Return the median of the rounds, None when there is no value."""
        return statistics.median(self.values) if self.values else None

    def __str__(self) -> str:
        if self.median is None:
            return "n/a" if self.na else "failed" if self.failed else ""
        return number(self.median)

    @property
    def spread(self) -> str:
        """Return the least and the largest value, where there are several."""
        if len(self.values) < 2:
            return ""
        return f"{number(min(self.values))}-{number(max(self.values))}"


@dataclass(kw_only=True)
class Row:
    """One figure: its cells by the name of the peer."""

    work: str
    key: str
    title: str
    unit: str
    better: Better
    cells: dict[str, Cell] = field(default_factory=dict)

    def ratio(self, peer: str, base: str) -> float | None:
        """Return how many times better `base` is than `peer`; less than one: it is worse."""
        ours, theirs = (self.cells.get(name, Cell()).median for name in (base, peer))
        if not ours or not theirs:
            return None
        return theirs / ours if self.better == "lower" else ours / theirs


@dataclass(kw_only=True)
class Table:
    """All figures of a run. `peers` maps the names of the columns to their titles, `base` is the one compared with."""

    base: str
    peers: dict[str, str]
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def of(cls, works: Sequence[Work], peers: Mapping[str, str], base: str) -> Self:
        """Return an empty table."""
        rows = [
            Row(work=work.name, key=each.key, title=each.title, unit=each.unit, better=each.better)
            for work in works
            for each in work.figures
        ]
        return cls(base=base, peers=dict(peers), rows=rows)

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> Self:
        """Return the table that `stored` was made of. Raises KeyError or TypeError when it is none."""
        rows = [
            Row(**{**row, "cells": {name: _cell(cell) for name, cell in row["cells"].items()}})
            for row in stored["rows"]
        ]
        return cls(base=stored["base"], peers=dict(stored["peers"]), rows=rows)

    def store(self) -> dict[str, Any]:
        """Return the table as data for JSON; medians, extremes and ratios are there for readers."""
        document = asdict(self)
        for row, stored in zip(self.rows, document["rows"], strict=True):
            for name, cell in row.cells.items():
                if cell.values:
                    stored["cells"][name] |= {
                        "median": cell.median,
                        "min": min(cell.values),
                        "max": max(cell.values),
                        "ratio": row.ratio(name, self.base),
                    }
        return document

    def add(self, work: Work, peer: str, answer: Mapping[str, Any]) -> None:
        """Take a program's answer for a work. Raises ValueError for an answer without the figures of the work."""
        for figure in work.figures:
            cell = self._row(work.name, figure.key).cells.setdefault(peer, Cell())
            if "na" in answer:
                cell.na = answer["na"]
            elif "failed" in answer:
                cell.failed.append(answer["failed"])
            elif figure.key in answer.get("figures", {}):
                cell.values.append(float(answer["figures"][figure.key]))
            else:
                raise ValueError(f"expected the figure {figure.key!r} of {work.name}, got {dict(answer)!r}")

    def _row(self, work: str, key: str) -> Row:
        return next(row for row in self.rows if (row.work, row.key) == (work, key))

    def lines(self) -> Iterator[tuple[Row, list[tuple[str, str, str]]]]:
        """Yield each row with its cells: value, ratio to the base, spread."""
        for row in self.rows:
            cells = []
            for peer in self.peers:
                cell = row.cells.get(peer, Cell())
                ratio = row.ratio(peer, self.base) if peer != self.base else None
                cells.append((str(cell), "" if ratio is None else f"x{number(ratio)}", cell.spread))
            yield row, cells

    def reasons(self) -> list[str]:
        """Return why cells have no value, or fewer than there were rounds, each reason once for a work."""
        found: dict[str, None] = {}
        for row in self.rows:
            for peer, cell in row.cells.items():
                where = f"{row.work}, {self.peers.get(peer, peer)}"
                if cell.na:
                    found[f"{where}: n/a: {cell.na}"] = None
                if cell.failed:
                    times = f"{len(cell.failed)} of {len(cell.failed) + len(cell.values)} rounds"
                    found[f"{where}: failed in {times}: {_short(cell.failed[-1])}"] = None
        return list(found)


def number(value: float) -> str:
    """Return a value with three digits that count, and all of those before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def show(table: Table, title: str) -> rich_table.Table:
    """Return the table for a terminal: in each cell the median, its ratio to the base, and the spread below."""
    shown = rich_table.Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    shown.add_column("work")
    shown.add_column("unit")
    for heading in table.peers.values():
        shown.add_column(heading, justify="right", no_wrap=True)
    for row, cells in table.lines():
        texts = []
        for value, ratio, spread in cells:
            first = f"{value} [bold]{ratio}[/]" if ratio else value
            texts.append(f"{first}\n[dim]{spread}[/]" if spread else first)
        shown.add_row(row.title, row.unit, *texts)
    return shown


def markdown(table: Table) -> str:
    """Return the table and the reasons below it in Markdown."""
    header = ["work", "unit", *table.peers.values()]
    lines = [_line(header), _line(["---", "---", *("--:" for _ in table.peers)])]
    for row, cells in table.lines():
        texts = []
        for value, ratio, spread in cells:
            first = " ".join(part for part in (f"**{value}**" if value else "", ratio) if part)
            texts.append(f"{first}<br>{spread}" if spread else first)
        lines.append(_line([row.title, row.unit, *texts]))
    reasons = [f"- {reason}" for reason in table.reasons()]
    return "\n".join([*lines, *(["", *reasons] if reasons else [])])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= REASON_LENGTH else words[: REASON_LENGTH - 1] + "…"


def _cell(stored: Mapping[str, Any]) -> Cell:
    return Cell(values=list(stored["values"]), failed=list(stored["failed"]), na=stored["na"])
