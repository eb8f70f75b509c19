"""Files that others read while we write them: whole or not at all, and for this user alone."""

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON, atomically, mode 0600."""
    new = path.with_name(f".{path.name}.new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.write("\n")
    os.replace(new, path)


def read_json(path: Path) -> Any:
    """Return the value in `path`, or None when there is no such file. Raises ValueError for a damaged one."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
