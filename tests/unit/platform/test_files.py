"""Files that are whole or not there."""

import stat
from pathlib import Path

from afield_platform.files import read_json, write_json


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A value comes back; the file is for its user alone; nothing else is left in the folder."""
    path = tmp_path / "x.json"
    write_json(path, {"a": [1, "ü"]})
    write_json(path, {"a": [2]})
    assert read_json(path) == {"a": [2]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_no_file_is_none(tmp_path: Path) -> None:
    """A file that is not there has no value."""
    assert read_json(tmp_path / "none.json") is None
