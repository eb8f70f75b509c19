"""Headers, subjects and frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._bus.msg import (
    Msg,
    check_subject,
    encode_headers,
    frame,
    no_responders,
    parse_headers,
    status_of,
    ttl_header,
)

keys = st.text("abcXYZ-09", min_size=1, max_size=8)
values = st.text(st.characters(exclude_categories=("C", "Z")), max_size=20)


@given(st.dictionaries(keys, values))
def test_headers_come_back(headers: dict[str, str]) -> None:
    """What is encoded is parsed back."""
    assert parse_headers(encode_headers(headers) or None) == headers


@pytest.mark.parametrize(
    ("raw", "status", "description"),
    [
        (b"NATS/1.0 503\r\n\r\n", "503", None),
        (b"NATS/1.0 404 No Messages\r\n\r\n", "404", "No Messages"),
        (b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 7\r\n\r\n", "100", "Idle Heartbeat"),
        (b"NATS/1.0\r\nA: b\r\n\r\n", "", None),
    ],
)
def test_inline_status(raw: bytes, status: str, description: str | None) -> None:
    """The server's status line is found with and without a description, and with headers behind it."""
    assert status_of(raw) == status
    headers = parse_headers(raw)
    assert headers.get("Status", "") == status
    assert headers.get("Description") == description


def test_no_responders_is_only_an_empty_503() -> None:
    """A 503 without data is the server's; with data it is an answer."""
    assert no_responders(b"NATS/1.0 503\r\n\r\n", b"")
    assert not no_responders(b"NATS/1.0 503\r\n\r\n", b"x")
    assert not no_responders(None, b"")


@pytest.mark.parametrize("subject", ["", " ", "a b", "a\r\nPUB x", "a\tb", "a\x00"])
def test_subject_cannot_smuggle_commands(subject: str) -> None:
    """A subject with white space or control characters is refused."""
    with pytest.raises(ValueError, match="expected a subject"):
        check_subject(subject)


@pytest.mark.parametrize("headers", [{"": "x"}, {"a b": "x"}, {"a:": "x"}, {"a": "x\ny"}, {"a": "\r"}])
def test_header_cannot_smuggle_lines(headers: dict[str, str]) -> None:
    """A key or value that would break out of its line is refused."""
    with pytest.raises(ValueError, match="expected a header"):
        encode_headers(headers)


@pytest.mark.parametrize(("ttl", "text"), [(0.001, "1"), (1, "1"), (1.2, "2"), (3600, "3600")])
def test_time_to_live_is_rounded_up(ttl: float, text: str) -> None:
    """Times to live are whole seconds on the wire, never less than asked for."""
    assert ttl_header(ttl) == text


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
def test_no_time_to_live_is_an_error(ttl: float) -> None:
    """A time to live of nothing is refused."""
    with pytest.raises(ValueError, match="above 0 s"):
        ttl_header(ttl)


def test_frames() -> None:
    """A frame counts its headers and its payload as the protocol wants."""
    assert frame("a.b", "", b"", b"xyz") == b"PUB a.b  3\r\nxyz\r\n"
    assert (
        frame("a.b", "r", b"NATS/1.0\r\n\r\n", memoryview(b"xyz"))
        == b"HPUB a.b r 12 15\r\nNATS/1.0\r\n\r\nxyz\r\n"
    )


def test_message_parses_headers_once() -> None:
    """Headers are parsed when they are first asked for, and kept."""
    msg = Msg("a", "r", b"NATS/1.0\r\nA: b\r\n\r\n", b"x")
    assert msg.headers == {"A": "b"}
    assert msg.headers is msg.headers
    assert "a" in repr(msg)
