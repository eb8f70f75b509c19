"""Lines of several containers."""

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from afield._log_lines import MOST_HELD, LogLines, Piece
from afield._wire.messages import LogRecord


def record(text: str | bytes, stream: Literal["stdout", "stderr"] = "stdout") -> LogRecord:
    return LogRecord(at=0.0, stream=stream, data=text if isinstance(text, bytes) else text.encode())


def shown(lines: LogLines, *writes: tuple[str, str]) -> str:
    """What a terminal shows after these (container, text) writes."""
    pieces = [piece for container, text in writes for piece in lines.add(container, container, record(text))]
    return "".join(piece.text for piece in pieces)


def test_single_container_is_passed_on_as_it_came() -> None:
    """No label, no buffering, carriage returns and all."""
    assert shown(LogLines(), ("a", "10%"), ("a", "\r20%"), ("a", "\ndone\n")) == "10%\r20%\ndone\n"


def test_labels_from_the_second_container_on() -> None:
    """As soon as two talk, each line says who wrote it."""
    text = shown(LogLines(), ("a", "one\n"), ("b", "two\nthree\n"), ("a", "four\n"))

    assert text == "one\n[b] two\n[b] three\n[a] four\n"


def test_open_line_is_ended_before_another_container_talks() -> None:
    """A whole line does not wait for somebody's unfinished one."""
    assert shown(LogLines(), ("a", "one"), ("b", "two\n")) == "one\n[b] two\n"


def test_pieces_of_an_open_line_are_shown_at_once() -> None:
    """A container that holds the line goes on writing it, with one label."""
    lines = LogLines()
    shown(lines, ("a", "x\n"), ("b", "y\n"))

    assert shown(lines, ("a", "1"), ("a", "2"), ("a", "3\n")) == "[a] 123\n"


def test_piece_is_held_while_another_line_is_open() -> None:
    """Two unfinished lines cannot be shown at the same time; the second comes when it is whole."""
    lines = LogLines()
    shown(lines, ("a", "x\n"), ("b", "y\n"))

    assert shown(lines, ("a", "1"), ("b", "2")) == "[a] 1"
    assert shown(lines, ("b", "3\n")) == "\n[b] 23\n"


def test_held_pieces_are_bounded() -> None:
    """A line without an end is broken rather than kept for ever."""
    lines = LogLines()
    shown(lines, ("a", "x\n"), ("b", "y\n"), ("a", "open"))

    assert shown(lines, ("b", "z" * (MOST_HELD + 1))).endswith("z\n")


def test_finish_shows_what_is_held_and_ends_the_line() -> None:
    """Nothing is lost at the end of a run."""
    lines = LogLines()
    shown(lines, ("a", "x\n"), ("b", "y\n"), ("a", "open"), ("b", "held"))

    assert lines.finish() == [Piece("stdout", "\n"), Piece("stdout", "[b] held\n")]


def test_streams_are_kept_apart() -> None:
    """What was written to stderr goes to stderr."""
    assert LogLines().add("a", "a", record("oops\n", "stderr")) == [Piece("stderr", "oops\n")]


def test_characters_split_between_pieces_are_put_together() -> None:
    """The container's pipe knows bytes, not characters."""
    lines = LogLines()
    first, second = "é".encode()[:1], "é".encode()[1:]

    assert lines.add("a", "a", record(first)) == []
    assert lines.add("a", "a", record(second)) == [Piece("stdout", "é")]


def test_timestamps_stand_before_each_line() -> None:
    """With timestamps, lines of a single container are taken apart, too."""
    lines = LogLines(timestamps=True)

    text = "".join(piece.text for piece in lines.add("a", "a", record("1\n2\n")))

    assert [line[4] + line[-1] for line in text.splitlines()] == ["-1", "-2"]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.text(alphabet="01\n", min_size=1, max_size=5)), max_size=30)
)
def test_no_line_mixes_containers_and_nothing_is_lost(writes: list[tuple[str, str]]) -> None:
    """Whatever the order of pieces: each shown line is of one container, and each character is shown once."""
    lines = LogLines()
    start = [("a", "x\n"), ("b", "y\n")]
    text = shown(lines, *start)

    text = shown(lines, *writes) + "".join(piece.text for piece in lines.finish())

    for name in "ab":
        written = "".join(t for container, t in writes if container == name).replace("\n", "")
        seen = ""
        owner = ""
        for line in text.splitlines():
            owner = line[1] if line.startswith("[") else owner
            if owner == name:
                seen += line.removeprefix(f"[{name}] ")
        assert seen == written
