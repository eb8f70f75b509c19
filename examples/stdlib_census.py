"""A census of Python's standard library: every source file is parsed in a container, and the counts are put together.

afield run examples/stdlib_census.py
afield run examples/stdlib_census.py --top 20

The files are those of the interpreter that runs this program, found at run time: some 1,800 files with 30 MB of source,
or 700 where the library's tests are a package of their own, as on Debian.
"""

import ast
import sysconfig
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from rich import box
from rich.console import Console
from rich.table import Table

import afield

app = afield.App("stdlib-census")

NOT_STANDARD = {"site-packages", "dist-packages", "__pycache__"}


@dataclass(order=True)
class Longest:
    """A function and how many lines it has."""

    lines: int = 0
    name: str = ""


@dataclass
class Counts:
    """What was counted in one file, or in many: counts can be added."""

    files: int = 0
    lines: int = 0
    classes: int = 0
    functions: int = 0
    longest: Longest = field(default_factory=Longest)
    imports: Counter[str] = field(default_factory=Counter)
    unparsable: list[str] = field(default_factory=list)

    def __iadd__(self, other: "Counts") -> Self:
        self.files += other.files
        self.lines += other.lines
        self.classes += other.classes
        self.functions += other.functions
        self.longest = max(self.longest, other.longest)
        self.imports.update(other.imports)
        self.unparsable += other.unparsable
        return self


@app.function()
def count(name: str, source: bytes) -> Counts:
    """Parse one source file and count what is in it. This runs in a container."""
    counts = Counts(files=1, lines=source.count(b"\n"))
    try:
        with warnings.catch_warnings(action="ignore"):  # the tests of the parser hold what it warns of
            tree = ast.parse(source, name)
    except (SyntaxError, ValueError) as error:
        counts.unparsable.append(f"{name}: {error.msg if isinstance(error, SyntaxError) else error}")
        return counts
    module = name.removesuffix(".py").removesuffix("/__init__").rpartition("/")[2]
    imported: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef():
                counts.classes += 1
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                counts.functions += 1
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                counts.longest = max(counts.longest, Longest(length, f"{module}.{node.name}"))
            case ast.Import():
                imported.update(alias.name.partition(".")[0] for alias in node.names)
            case ast.ImportFrom(module=str(imported_from), level=0):
                imported.add(imported_from.partition(".")[0])
    counts.imports.update(imported)  # once a file, however often it says so
    return counts


def source_files(root: Path) -> Iterator[Path]:
    """Find the source files of the standard library."""
    for path in sorted(root.rglob("*.py")):
        if NOT_STANDARD.isdisjoint(path.relative_to(root).parts):
            yield path


@app.local_entrypoint()
def main(top: int = 12) -> None:
    root = Path(sysconfig.get_paths()["stdlib"])
    names = [path.relative_to(root).as_posix() for path in source_files(root)]
    sources = ((root / name).read_bytes() for name in names)  # read as the map asks for them

    total, packages = Counts(), dict[str, Counts]()
    began = time.perf_counter()
    for name, counts in zip(names, count.map(names, sources), strict=True):
        package = name.partition("/")[0].removesuffix(".py")
        packages.setdefault(package, Counts())
        packages[package] += counts
        total += counts
    seconds = time.perf_counter() - began

    report(total, packages, top)
    print(f"{total.files:,} files in {seconds:.1f} s: {total.files / seconds:,.0f} files/s")


def report(total: Counts, packages: dict[str, Counts], top: int) -> None:
    """Print the census."""
    console = Console()
    console.print(f"The largest of {len(packages)} packages and modules", style="italic")
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("package", no_wrap=True, min_width=12)
    for heading in ("files", "lines", "classes", "functions"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=6 if heading == "files" else 7)
    table.add_column("longest function", no_wrap=True, max_width=17)  # gives way, so that 80 columns do
    table.add_column("lines", justify="right", no_wrap=True, min_width=5)
    largest = sorted(packages.items(), key=lambda item: item[1].lines, reverse=True)
    for name, counts in [*largest[:top], ("all", total)]:
        if counts is total:
            table.add_section()
        figures = (counts.files, counts.lines, counts.classes, counts.functions)
        longest = counts.longest
        table.add_row(name, *(f"{n:,}" for n in figures), longest.name, f"{longest.lines:,}")
    console.print(table)

    console.print("The modules that most files import", style="italic")
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("module")
    table.add_column("by files", justify="right")
    for module, files in total.imports.most_common(top):
        table.add_row(module, f"{files:,}")
    console.print(table)

    if total.unparsable:
        print(
            f"{len(total.unparsable)} files are no valid Python, most of them on purpose: they test parsers."
        )
        for line in sorted(total.unparsable):
            print(f"  {line}")
        print()
