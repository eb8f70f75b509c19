"""Draw the state diagrams of ARCHITECTURE.md from the transition tables in the code.

    python -m scripts.diagrams            write them
    python -m scripts.diagrams --check    exit with status 1 when they are out of date

A transition table is a module-level name in capitals in a file `states.py`, of the shape `{(state, event): state}`.
Life begins in the states that the module's INITIAL names, else in the table's first; a state without events is an end.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "ARCHITECTURE.md"
BEGIN = "<!-- diagrams: begin (made by `make diagrams`) -->"
END = "<!-- diagrams: end -->"

Table = Mapping[tuple[Any, Any], Any]


class Diagram(NamedTuple):
    """One transition table and where it stands."""

    title: str
    source: str
    table: Table
    initial: tuple[Any, ...]


def main() -> int:
    """Write or check the diagrams; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only tell whether they are up to date")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    drawn = replace(page, render(find_diagrams(ROOT)))
    if drawn == page:
        return 0
    if check:
        print("diagrams: ARCHITECTURE.md is out of date: run `make diagrams`", file=sys.stderr)
        return 1
    PAGE.write_text(drawn, encoding="utf-8")
    return 0


def find_diagrams(root: Path) -> list[Diagram]:
    """Return every transition table under `root`, in the order of the files and of the names in them."""
    files = sorted([*root.glob("client/**/states.py"), *root.glob("services/**/states.py")])
    return [diagram for file in files for diagram in _tables(_load(file), file.relative_to(root))]


def _load(file: Path) -> ModuleType:
    """Import a source file by the name that it has as a part of its package."""
    parts = [file.stem]
    folder = file.parent
    while (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return importlib.import_module(".".join(parts))


def _tables(module: ModuleType, source: Path) -> Iterator[Diagram]:
    for name, value in vars(module).items():
        if name.isupper() and is_table(value):
            first = next(iter(value))[0]
            initial = tuple(getattr(module, "INITIAL", (first,)))
            yield Diagram(_title(name, module), source.as_posix(), value, initial)


def _title(name: str, module: ModuleType) -> str:
    """Return what a table is about: its name, or the first words of the module's docstring when it has no own."""
    if name == "TRANSITIONS":
        return (module.__doc__ or source_name(module)).partition(",")[0].removeprefix("The ").capitalize()
    return name.removesuffix("_TRANSITIONS").replace("_", " ").capitalize()


def source_name(module: ModuleType) -> str:
    """Return the package that a module stands in."""
    return module.__name__.partition(".")[0]


def is_table(value: object) -> bool:
    """Tell whether a value has the shape `{(state, event): state}`."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(key, tuple) and len(key) == 2 for key in value)
    )


def render(diagrams: list[Diagram]) -> str:
    """Return the Markdown of all diagrams."""
    return "\n\n".join(
        f"**{each.title}** (`{each.source}`)\n\n```mermaid\n{draw(each.table, each.initial)}\n```"
        for each in diagrams
    )


def draw(table: Table, initial: tuple[Any, ...]) -> str:
    """Return the mermaid state diagram of one table; events that lead the same way share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, event), target in table.items():
        arrows.setdefault((label(state), label(target)), []).append(label(event))
    lines = ["stateDiagram-v2", *(f"    [*] --> {label(state)}" for state in initial)]
    lines += [f"    {start} --> {end} : {', '.join(events)}" for (start, end), events in arrows.items()]
    starts = {start for start, _ in arrows}
    ends = dict.fromkeys(end for _, end in arrows if end not in starts)
    return "\n".join([*lines, *(f"    {end} --> [*]" for end in ends)])


def label(value: object) -> str:
    """Return what stands for a state or an event in a diagram: mermaid takes letters, digits and `_` only."""
    if isinstance(value, Enum):
        value = value.value if isinstance(value.value, str) else value.name.lower()
    elif isinstance(value, type):
        value = value.__name__
    return "".join(c if c.isalnum() else "_" for c in str(value))


def replace(page: str, body: str) -> str:
    """Return the page with `body` between the markers. Raises SystemExit when they are not there."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"diagrams: ARCHITECTURE.md lacks the lines {BEGIN!r} and {END!r}")
    return f"{head}{BEGIN}\n\n{body}\n\n{END}{tail}" if body else f"{head}{BEGIN}\n{END}{tail}"


if __name__ == "__main__":
    sys.exit(main())
