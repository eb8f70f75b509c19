"""The stored run: the table with machine, versions and command; and the page that shows it."""

import json
import os
import platform
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.table import Table, markdown

BEGIN: Final = "<!-- peers: begin (made by `make bench-peers`) -->"
END: Final = "<!-- peers: end -->"


def machine() -> dict[str, Any]:
    """Return what figures depend on besides the programs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(memory / 1e9),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def store(
    path: Path, table: Table, about: Mapping[str, Any], *, rounds: int, took_s: float
) -> dict[str, Any]:
    """Write a run as JSON and return it. `about` has its `machine`, `versions`, `command` and `measured_at`."""
    document = {**about, "rounds": rounds, "took_s": round(took_s, 1), **table.store()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return document


def load(path: Path) -> dict[str, Any]:
    """Return a stored run. Raises FileNotFoundError, saying how to make one."""
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}: run `make bench-peers` first")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def caption(document: Mapping[str, Any]) -> str:
    """Say in a line what a run was measured on."""
    on = document["machine"]
    return (
        f"{document['measured_at']}, {on['cores']} cores ({on['processor']}), {on['memory_gb']} GB, kernel {on['kernel']}, "
        f"Python {on['python']}, load before {on['load']}; {_rounds(document['rounds'])}"
    )


def _rounds(number: int) -> str:
    return "one round" if number == 1 else f"median of {number} rounds, least and largest below"


def section(document: Mapping[str, Any]) -> str:
    """Return a run as Markdown: what it was measured on, the table, and why some cells are empty."""
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    lines = [
        f"`{document['command']}`: {caption(document)}.",
        "xn: afield is n times better.",
        f"Versions: {versions}.",
        "",
        markdown(Table.load(document)),
    ]
    return "\n".join(lines)


def put_into(page: Path, text: str) -> None:
    """Replace what stands between the marks of a page. Raises ValueError when it does not have both."""
    before, found, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"expected the lines {BEGIN!r} and {END!r} in {page}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def now() -> str:
    """Return the time for a document."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
