"""Lines of several containers."""

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from afield._log_lines import HOLD_S, MOST_HELD, LogLines, Piece
from afield._wire.messages import LogRecord


def record(text: str | bytes, stream: Literal["stdout", "stderr"] = "stdout") -> LogRecord:
    return LogRecord(at=0.0, stream=stream, data=text if isinstance(text, bytes) else text.encode())


def joined(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def shown(lines: LogLines, *writes: tuple[str, str], now: float = 0.0) -> str:
    """What a terminal shows after these (container, text) writes."""
    return "".join(joined(lines.add(container, container, record(text), now)) for container, text in writes)


def test_single_container_is_passed_on_as_it_came() -> None:
    """No label, no buffering, carriage returns and all."""
    assert shown(LogLines(), ("a", "10%"), ("a", "\r20%"), ("a", "\ndone\n")) == "10%\r20%\ndone\n"


def test_labels_from_the_second_container_on() -> None:
    """As soon as two talk, each line says who wrote it."""
    text = shown(LogLines(), ("a", "one\n"), ("b", "two\nthree\n"), ("a", "four\n"))

    assert text == "one\n[b] two\n[b] three\n[a] four\n"


def test_open_line_is_ended_for_another_container_after_a_moment() -> None:
    """A whole line waits for the rest of an unfinished one, but not for long."""
    lines = LogLines()

    assert shown(lines, ("a", "one"), ("b", "two\n")) == "one"
    assert lines.due() == HOLD_S
    assert joined(lines.release(HOLD_S)) == "\n[b] two\n"
    assert lines.due() is None


def test_line_that_was_cut_between_pieces_stays_whole() -> None:
    """The rest of a line comes with its container's next piece; what others wrote meanwhile comes behind it."""
    lines = LogLines()

    assert shown(lines, ("a", "one\nfo"), ("b", "two\n"), ("a", "ur\n")) == "one\nfour\n[b] two\n"
    assert shown(lines, ("a", "fi"), ("b", "seven\nei"), ("a", "ve\nsi")) == "[b] seven\n[a] five\n"
    assert shown(lines, ("b", "ght\n"), ("a", "x\n")) == "[b] eight\n[a] six\n"


def test_what_waits_for_an_open_line_can_be_had_at_once() -> None:
    """A result is not seen before the lines that came before it."""
    lines = LogLines()
    shown(lines, ("a", "one"), ("b", "two\nthr"))

    assert joined(lines.unblock()) == "\n[b] two\n"
    assert lines.unblock() == []
    assert shown(lines, ("b", "ee\n")) == "[b] three\n"


def test_prompt_among_several_is_shown_after_a_moment() -> None:
    """And its container goes on writing that line, with one label."""
    lines = LogLines()
    shown(lines, ("a", "x\n"), ("b", "y\n"))

    assert shown(lines, ("a", "1"), now=1.0) == ""
    assert shown(lines, ("a", "2"), now=1.1) == ""
    assert joined(lines.release(1.0 + HOLD_S)) == "[a] 12"
    assert shown(lines, ("a", "3"), ("a", "4\n"), now=2.0) == "34\n"


def test_piece_is_held_while_another_line_is_open() -> None:
    """Two unfinished lines cannot be shown at the same time; the second comes when it is whole."""
    lines = LogLines()
    shown(lines, ("a", "x\n"), ("b", "y\n"), ("a", "1"), ("b", "2"))

    assert joined(lines.release(1.0)) == "[a] 1"
    assert lines.due() is None
    assert shown(lines, ("b", "3\n"), now=1.0) == "\n[b] 23\n"


def test_held_pieces_are_bounded() -> None:
    """A line without an end is broken rather than kept for ever."""
    lines = LogLines()
    shown(lines, ("a", "x\n"), ("b", "y\n"), ("a", "open"))

    assert shown(lines, ("b", "z" * (MOST_HELD + 1))).endswith("z\n")


def test_many_lines_behind_an_open_one_are_bounded() -> None:
    """They come at once, whole."""
    lines = LogLines()
    text = shown(lines, ("a", "open"), ("b", "z\n" * MOST_HELD + "rest"))

    assert text.startswith("open\n[b] z\n")
    assert text.endswith("[b] z\n")
    assert shown(lines, ("b", "!\n")) == "[b] rest!\n"


def test_finish_shows_what_is_held_and_ends_the_line() -> None:
    """Nothing is lost at the end of a run."""
    lines = LogLines()
    shown(lines, ("a", "x\n"), ("b", "y\n"), ("a", "open"), ("b", "held"))
    lines.release(1.0)

    assert lines.finish() == [Piece("stdout", "\n"), Piece("stdout", "[b] held\n")]


def test_streams_are_kept_apart() -> None:
    """What was written to stderr goes to stderr."""
    assert LogLines().add("a", "a", record("oops\n", "stderr"), 0.0) == [Piece("stderr", "oops\n")]


def test_characters_split_between_pieces_are_put_together() -> None:
    """The container's pipe knows bytes, not characters."""
    lines = LogLines()
    first, second = "é".encode()[:1], "é".encode()[1:]

    assert lines.add("a", "a", record(first), 0.0) == []
    assert lines.add("a", "a", record(second), 0.0) == [Piece("stdout", "é")]


def test_timestamps_stand_before_each_line() -> None:
    """With timestamps, lines of a single container are taken apart, too."""
    lines = LogLines(timestamps=True)

    text = "".join(piece.text for piece in lines.add("a", "a", record("1\n2\n"), 0.0))

    assert [line[4] + line[-1] for line in text.splitlines()] == ["-1", "-2"]


def test_prompt_of_a_lone_container_is_shown_live_with_timestamps() -> None:
    """Nobody else could finish its line."""
    lines = LogLines(timestamps=True)

    assert joined(lines.add("a", "a", record("1\nname: "), 0.0)).endswith(" name: ")


_WRITE = st.tuples(
    st.sampled_from("ab"), st.text(alphabet="01\n", min_size=1, max_size=5), st.floats(0.0, 2 * HOLD_S)
)


@given(st.lists(_WRITE, max_size=30))
def test_no_line_mixes_containers_and_nothing_is_lost(writes: list[tuple[str, str, float]]) -> None:
    """Whatever the order of pieces: each shown line is of one container, and each character is shown once."""
    lines = LogLines()
    shown(lines, ("a", "x\n"), ("b", "y\n"))
    text, now = "", 0.0
    for container, written, pause in writes:
        while (due := lines.due()) is not None and due <= now + pause:
            text += (released := joined(lines.release(due)))
            assert released, "a time at which nothing happens would come again and again"
        now += pause
        text += shown(lines, (container, written), now=now)
    text += joined(lines.finish())

    for name in "ab":
        written = "".join(t for container, t, _ in writes if container == name).replace("\n", "")
        seen = ""
        owner = ""
        for line in text.splitlines():
            owner = line[1] if line.startswith("[") else owner
            if owner == name:
                seen += line.removeprefix(f"[{name}] ")
        assert seen == written


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), min_size=1, max_size=60))
def test_lines_cut_anywhere_stay_whole(cuts: list[tuple[str, int]]) -> None:
    """As long as the rest of each comes soon."""
    lines = LogLines()
    left = {name: f"line of {name}\n" * 50 for name in "abc"}
    text = ""
    for name, size in cuts:
        piece, left[name] = left[name][:size], left[name][size:]
        text += shown(lines, (name, piece))
    text += "".join(shown(lines, (name, rest)) for name, rest in left.items())

    assert {line.removeprefix(f"[{line[1]}] ") for line in text.splitlines()} == {
        f"line of {name}" for name in "abc"
    }
