"""The outcome of many rounds as a table. Pure."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

HEAD = ("fault", "rounds", "strikes", "inputs", "lost", "duplicated", "wrong", "run again", "longest stall")


@dataclass
class Row:
    """All rounds of one fault."""

    fault: str
    servers: int = 1
    rounds: int = 0
    strikes: int = 0
    inputs: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    """Wrong values, wrong places, executions that nothing explains, and what was left over."""
    repeats: int = 0
    """Executions that a fault made necessary: of the same attempt, since a loss costs none."""
    stall_s: float = 0.0
    """Longest time without a result around a fault, in seconds."""

    def cells(self) -> tuple[str, ...]:
        """Return the row as texts."""
        return (
            self.fault,
            str(self.rounds),
            str(self.strikes),
            f"{self.inputs:,}",
            str(self.lost),
            str(self.duplicated),
            str(self.wrong),
            str(self.repeats),
            f"{self.stall_s:.1f} s" if self.strikes else "-",
        )


def render(rows: Iterable[Row]) -> str:
    """Return a table in Markdown, which reads well on a terminal, too."""
    cells = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEAD))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def as_json(rows: Iterable[Row]) -> list[dict[str, object]]:
    """Return the rows as JSON objects."""
    return [asdict(row) for row in rows]
