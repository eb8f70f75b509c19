"""Output of processes: lines, files, echoes."""

import os
from pathlib import Path

import pytest

from afield_platform import output
from afield_platform.output import Echo, Output


def test_lines_are_put_together(tmp_path: Path) -> None:
    """Lines that come in pieces are whole in the file and in the tail; the last needs no newline."""
    out = Output(tmp_path / "x.log")
    assert out.feed(b"one\ntw") == [b"one"]
    assert out.feed(b"o\n\nthree") == [b"two", b""]
    out.close()
    assert (tmp_path / "x.log").read_bytes() == b"one\ntwo\n\nthree\n"
    assert out.tail_text(2) == "\nthree"


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    """Output without newlines takes no more memory than one longest line."""
    out = Output(tmp_path / "x.log")
    lines = [line for _ in range(3) for line in out.feed(b"x" * output.LINE_LIMIT)]
    out.close()
    assert sum(map(len, lines)) >= output.LINE_LIMIT


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full file is kept once under another name, and a new one begun."""
    monkeypatch.setattr(output, "FILE_LIMIT", 100)
    out = Output(tmp_path / "x.log")
    for number in range(100):
        out.feed(b"line %3d of the log\n" % number)
    out.close()
    kept = [path.stat().st_size for path in tmp_path.iterdir()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.log", "x.log.1"]
    assert max(kept) <= 100 + 20
    assert (tmp_path / "x.log").read_text().endswith("line  99 of the log\n")


def test_the_echo_copies() -> None:
    """An echo writes each line to its descriptor."""
    reader, writer = os.pipe()
    echo = Echo(writer)
    echo.write(b"one\n")
    echo.write(b"two\n")
    echo.close()
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == b"one\ntwo\n"


def test_a_stopped_reader_stops_nobody() -> None:
    """With nobody reading, lines beyond the bound are dropped, and that is told once there is room again."""
    reader, writer = os.pipe()
    echo = Echo(writer, bound=2)
    for _ in range(100):
        echo.write(b"x" * 65536 + b"\n")  # the pipe holds one of these, the queue two
    with os.fdopen(reader, "rb") as file:
        assert len(file.readline()) == 65537
        while b"lines dropped" not in file.readline():
            echo.write(b"more\n")
        echo.close()
        os.close(writer)


def test_a_reader_that_left_is_not_missed() -> None:
    """An echo whose reader is gone (`| head`) raises nothing and keeps nobody waiting."""
    reader, writer = os.pipe()
    os.close(reader)
    echo = Echo(writer)
    for _ in range(10):
        echo.write(b"x\n")
    echo.close()
    os.close(writer)
