"""One message of a work queue, to be acknowledged."""

from typing import TYPE_CHECKING

from afield._bus.msg import parse_headers

if TYPE_CHECKING:
    from afield._bus.connection import Bus


def message_of(reply: str) -> str:
    """Return what names the message, in all its deliveries, of the delivery with this reply subject."""
    stream, _, _, seq, *_ = _fields(reply)
    return f"{stream}.{seq}"


def _fields(reply: str) -> list[str]:
    # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>; the second version puts
    # domain and account in front and a random token at the end.
    fields = reply.split(".")
    return fields[2:] if len(fields) == 9 else fields[4:]


class Delivery:
    """A message that a consumer delivered.

    `ack`, `nak`, `progress` and `term` are plain functions: what they say is sent at the end of the loop step, or after
    the reconnect. The server counts acks by message, not by delivery, and a lost one leads to a redelivery. Once
    `ack`, `nak` or `term` was said, further ones (and progress) are ignored, except an `ack` after a `nak`.
    """

    __slots__ = ("_bus", "_fields", "_headers", "_raw_headers", "_said", "data", "reply", "subject")

    def __init__(self, bus: "Bus", subject: str, reply: str, raw_headers: bytes | None, data: bytes) -> None:
        self._bus = bus
        self.subject = subject
        self.reply = reply
        self._raw_headers = raw_headers
        self.data = data
        self._fields: list[str] | None = None
        self._headers: dict[str, str] | None = None
        self._said = ""

    @property
    def headers(self) -> dict[str, str]:
        """The message's headers."""
        if self._headers is None:
            self._headers = parse_headers(self._raw_headers)
        return self._headers

    def _field(self, number: int) -> int:
        if self._fields is None:
            self._fields = _fields(self.reply)[2:]
        return int(self._fields[number])

    @property
    def num_delivered(self) -> int:
        """How often the message has been delivered, this time included."""
        return self._field(0)

    @property
    def seq(self) -> int:
        """The message's sequence in its stream."""
        return self._field(1)

    @property
    def stored_ns(self) -> int:
        """When the message was stored, in Unix nanoseconds: later messages of its stream have later times."""
        return self._field(3)

    @property
    def pending(self) -> int:
        """How many messages wait behind it in the consumer."""
        return self._field(4)

    def ack(self) -> None:
        """It is done: remove it from the queue."""
        if self._said not in ("+ACK", "+TERM"):
            self._say("+ACK")

    def nak(self, delay: float = 0) -> None:
        """Deliver it again, at once or after `delay` seconds; the delay survives restarts of the server."""
        if not self._said:
            self._say("-NAK" if delay <= 0 else f'-NAK {{"delay":{int(delay * 1e9)}}}')

    def progress(self) -> None:
        """It is being worked on: restart the clock of the consumer's ack wait."""
        if not self._said:
            self._write("+WPI")

    def term(self) -> None:
        """Never deliver it again, though it was not done."""
        if not self._said:
            self._say("+TERM")

    @property
    def settled(self) -> bool:
        """Tell whether `ack`, `nak` or `term` was said."""
        return bool(self._said)

    def _say(self, word: str) -> None:
        self._write(word)
        self._said = word

    def _write(self, word: str) -> None:
        self._bus.write(f"PUB {self.reply}  {len(word)}\r\n{word}\r\n".encode())

    def __repr__(self) -> str:
        return f"Delivery({self.subject!r}, delivered={self.num_delivered}, {len(self.data)} bytes)"
