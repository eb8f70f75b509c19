"""A message as it came from the bus, and the headers of one to be sent."""

import re
from collections.abc import Callable, Mapping
from math import ceil

HEADER_LINE = b"NATS/1.0"

STATUS = "Status"
DESCRIPTION = "Description"

Handler = Callable[[str, str, bytes | None, bytes], None]
"""Called on the loop, inline, for each message: subject, reply subject, raw headers (or None), data."""

_BAD_SUBJECT = re.compile(r"[\s\x00-\x20]|^$")
_BAD_KEY = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]|^$")
_GOOD_KEYS = frozenset({"Nats-Msg-Id", "Nats-TTL"})


class Msg:
    """A message. Headers are parsed when somebody asks for them, which on the hot path nobody does."""

    __slots__ = ("_headers", "data", "raw_headers", "reply", "subject")

    def __init__(self, subject: str, reply: str, raw_headers: bytes | None, data: bytes) -> None:
        self.subject = subject
        self.reply = reply
        self.raw_headers = raw_headers
        self.data = data
        self._headers: dict[str, str] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers; an inline status of the server is under `Status` and `Description`."""
        if self._headers is None:
            self._headers = parse_headers(self.raw_headers)
        return self._headers

    def __repr__(self) -> str:
        return f"Msg({self.subject!r}, reply={self.reply!r}, headers={self.headers}, {len(self.data)} bytes)"


def parse_headers(raw: bytes | None) -> dict[str, str]:
    """Return the headers in a raw header block, none for None."""
    headers: dict[str, str] = {}
    if not raw:
        return headers
    first, _, rest = raw.decode("utf-8", "replace").partition("\r\n")
    inline = first[len(HEADER_LINE) :].strip()
    if inline:
        headers[STATUS], _, description = inline.partition(" ")
        if description:
            headers[DESCRIPTION] = description
    for line in rest.split("\r\n"):
        key, colon, value = line.partition(":")
        if colon:
            headers[key.strip()] = value.strip()
    return headers


def status_of(raw: bytes | None) -> str:
    """Return the inline status of a raw header block (`503`, `404`, …), empty if it has none."""
    if raw is None or raw[8:9] != b" ":
        return ""
    return raw[9:12].decode("ascii", "replace")


def no_responders(raw: bytes | None, data: bytes) -> bool:
    """Tell whether this reply is the server's word that nobody listens."""
    return raw is not None and not data and raw.startswith(b"NATS/1.0 503")


def encode_headers(headers: Mapping[str, str] | None) -> bytes:
    """Return the raw header block for `headers`, empty bytes for none.

    Raises ValueError for a key or value that would break out of its line.
    """
    if not headers:
        return b""
    block = "NATS/1.0\r\n"
    for key, value in headers.items():
        if (key not in _GOOD_KEYS and _BAD_KEY.search(key)) or "\n" in value or "\r" in value:
            raise ValueError(f"expected a header of printable characters on one line, got {key!r}: {value!r}")
        block += f"{key}: {value}\r\n"
    return (block + "\r\n").encode()


def check_subject(subject: str) -> None:
    """Raise ValueError for a subject that is empty or holds white space (it could smuggle in commands)."""
    if _BAD_SUBJECT.search(subject):
        raise ValueError(f"expected a subject without white space, got {subject!r}")


def ttl_header(ttl: float) -> str:
    """Return the value of `Nats-TTL` for a time to live in seconds, rounded up to whole seconds.

    The server knows none below one second (error 10165), and rounding down would lose messages early.
    Raises ValueError for zero and less.
    """
    if not ttl > 0:
        raise ValueError(f"expected a time to live above 0 s, got {ttl!r}")
    return str(ceil(ttl))


def frame(subject: str, reply: str, header: bytes, payload: bytes | bytearray | memoryview) -> bytes:
    """Return the whole protocol frame that publishes one message."""
    if header:
        head = f"HPUB {subject} {reply} {len(header)} {len(header) + len(payload)}\r\n".encode()
        return b"".join((head, header, payload, b"\r\n"))
    return b"".join((f"PUB {subject} {reply} {len(payload)}\r\n".encode(), payload, b"\r\n"))
