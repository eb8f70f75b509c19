"""The thread that writes to the user's streams, and the block of status lines on a terminal."""

import io
import os
import pty
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

import pytest

from afield._log_lines import Piece
from afield._terminal import MOST_WAITING, Terminal


class Screen:
    """A pseudo-terminal: what is written to it, and how it looks in the end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._master, slave = pty.openpty()
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8")
        self.raw = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def attach(self) -> None:
        """Make it this process's standard output and error."""
        self._monkeypatch.setattr(sys, "stdout", self.stream)
        self._monkeypatch.setattr(sys, "stderr", self.stream)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the other end was closed
                return
            self.raw += data

    def close(self) -> None:
        if not self.stream.closed:
            self.stream.close()
            self._reader.join()
            os.close(self._master)

    @property
    def lines(self) -> list[str]:
        """The lines that are left on the screen, after all the erasing."""
        self.close()
        rows = [""]
        text = self.raw.decode().replace("\r\n", "\n")
        while text:
            if text.startswith("\x1b[2K"):
                rows[-1], text = "", text[4:]
            elif text.startswith("\x1b[1A"):
                rows.pop()
                text = text[4:]
            elif text[0] == "\n":
                rows.append("")
                text = text[1:]
            elif text[0] == "\r":
                text = text[1:]
            else:
                rows[-1] += text[0]
                text = text[1:]
        return rows


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """A terminal, to `attach` both streams to: in the test, because pytest sets its own before each."""
    made = Screen(monkeypatch)
    yield made
    made.close()


def test_pieces_go_to_their_streams(capsys: pytest.CaptureFixture[str]) -> None:
    """In order, and all of it before the block ends."""
    with Terminal() as terminal:
        terminal.put([Piece("stdout", "a"), Piece("stderr", "e\n"), Piece("stdout", "b\n")])

    assert capsys.readouterr() == ("ab\n", "e\n")


def test_flush_waits_until_all_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """A result is not seen before the output that came before it."""
    with Terminal() as terminal:
        terminal.put([Piece("stdout", "a\n")] * 100)
        terminal.flush()

        assert terminal.idle
        assert capsys.readouterr().out == "a\n" * 100


class Pipe:
    """A stream into a pipe, without a buffer of its own."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def write(self, text: str) -> int:
        return os.write(self.fd, text.encode())

    def flush(self) -> None:
        """Nothing is kept."""


def test_a_pipe_that_nobody_reads_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever puts something goes on; a reader that goes away is not an error."""
    read_end, write_end = os.pipe()
    monkeypatch.setattr(sys, "stdout", Pipe(write_end))
    with Terminal() as terminal:
        for _ in range(20):
            terminal.put([Piece("stdout", "x" * 100_000)])
        assert not terminal.idle
        os.close(read_end)
        terminal.flush()
    os.close(write_end)

    assert terminal.idle


def test_one_strange_character_does_not_end_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the encoding has no arrow, an escape stands for it; what comes behind it is shown."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with Terminal() as terminal:
        terminal.put([Piece("stdout", "plain\n")])
        terminal.flush()
        terminal.put([Piece("stdout", "ü→\n"), Piece("stdout", "after\n")])

    assert raw.getvalue() == b"plain\n\\xfc\\u2192\nafter\n"


def test_calls_at_a_time() -> None:
    """Once, and the later of two in place of the earlier."""
    late, now = threading.Event(), threading.Event()
    with Terminal() as terminal:
        terminal.call_at(time.monotonic() + 60, late.set)
        terminal.call_at(time.monotonic(), now.set)
        assert now.wait(10)

    assert not late.is_set()


def test_standard_error_that_is_full_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There would be nowhere to say so; standard output goes on."""
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        with Terminal() as terminal:
            terminal.put([Piece("stderr", "lost\n"), Piece("stdout", "kept\n")])
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())

    assert terminal.failure is None
    assert capsys.readouterr().out == "kept\n"


def test_too_much_is_dropped_with_a_notice(capsys: pytest.CaptureFixture[str]) -> None:
    """The bound is stated, and so is the loss."""
    with Terminal() as terminal:
        terminal.put([Piece("stdout", "kept\n"), Piece("stdout", "x" * (MOST_WAITING + 1))])

    out = capsys.readouterr().out
    assert out.startswith("kept\n")
    assert f"{MOST_WAITING + 1:,} characters of output were dropped" in out


def test_block_is_gone_in_the_end(screen: Screen) -> None:
    """What stays on the screen is output."""
    screen.attach()
    painted = threading.Event()

    def paint(_columns: int, _now: float) -> list[str]:
        painted.set()
        return ["status", "more"]

    with Terminal(paint) as terminal:
        terminal.put([Piece("stdout", "one\n")])
        assert painted.wait(10)

    assert screen.lines == ["one", ""]


def test_prints_of_the_user_stay_whole(screen: Screen) -> None:
    """`print` goes above the block, also in pieces."""
    screen.attach()
    painted = threading.Semaphore(0)

    def paint(_columns: int, _now: float) -> list[str]:
        painted.release()
        return ["status"]

    with Terminal(paint):
        painted.acquire(timeout=10)
        print("mine")
        painted.acquire(timeout=10)
        print("half", end="")
        print(" and half")
        painted.acquire(timeout=10)

    assert screen.lines == ["mine", "half and half", ""]


def test_prints_of_the_user_are_shown_in_every_encoding(screen: Screen) -> None:
    """A character that the terminal does not have takes nothing else with it."""
    screen.stream.reconfigure(encoding="latin-1")  # type: ignore[attr-defined]
    screen.attach()
    with Terminal(lambda _columns, _now: ["status"]):
        print("plain")
        print("→")
        print("after")

    assert screen.lines == ["plain", "\\u2192", "after", ""]


def test_block_waits_for_the_end_of_a_line(screen: Screen) -> None:
    """An unfinished line is not torn by the status."""
    screen.attach()
    with Terminal(lambda _columns, _now: ["status"]) as terminal:
        terminal.put([Piece("stdout", "10%")])
        terminal.flush()
        terminal.put([Piece("stdout", " 20%\n")])
        terminal.flush()

    assert screen.lines == ["10% 20%", ""]


def test_streams_are_given_back(screen: Screen) -> None:
    """After the block, print is print."""
    screen.attach()
    with Terminal(lambda _columns, _now: []):
        assert sys.stdout is not screen.stream
        assert sys.stdout.isatty()

    assert sys.stdout is screen.stream
