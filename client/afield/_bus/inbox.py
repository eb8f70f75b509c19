"""One wildcard inbox for everything that answers: acks of publishes, replies to requests, pages of direct gets."""

from collections.abc import Callable
from itertools import count

ReplyHandler = Callable[[bytes | None, bytes], None]
"""Called inline with the raw headers (or None) and the data of a reply."""


class Inbox:
    """Gives out reply subjects and routes what arrives under them.

    A subscription per request would cost the server and us two commands each; nats-py's own multiplexer costs a queue,
    a task switch and two random numbers each. Here a reply subject is the inbox's prefix and a counter.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix + "."
        self.wildcard = prefix + ".*"
        self._skip = len(self.prefix)
        self._handlers: dict[str, ReplyHandler] = {}
        self._numbers = count(1)

    def __len__(self) -> int:
        return len(self._handlers)

    def open(self, handler: ReplyHandler) -> str:
        """Return a fresh token; what is sent to `prefix + token` reaches `handler` until `close(token)`. From any thread."""
        token = str(next(self._numbers))
        self._handlers[token] = handler
        return token

    def close(self, token: str) -> None:
        """Stop listening under `token`; late replies are dropped."""
        self._handlers.pop(token, None)

    def on_message(self, subject: str, _reply: str, raw_headers: bytes | None, data: bytes) -> None:
        """Route one message (the handler of the wildcard subscription)."""
        handler = self._handlers.get(subject[self._skip :])
        if handler is not None:
            handler(raw_headers, data)
