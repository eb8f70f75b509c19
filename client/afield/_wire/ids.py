"""Identifiers: short, random where they must be, and safe as one token of a NATS subject.

An id is `<kind>-<body>`. A call id also says where its result is kept: `fc-<session>-<shard>-<n>`,
so anybody who holds the id can find the result without a look-up.
"""

import base64
import re
import secrets
from typing import Final, NamedTuple

KINDS: Final = {
    "ap": "app",
    "fu": "function",
    "cs": "class",
    "fc": "function call",
    "in": "input",
    "ta": "container",
    "wk": "worker",
    "im": "image",
    "vo": "volume",
    "st": "secret",
    "di": "dict",
    "qu": "queue",
    "sb": "sandbox",
    "en": "environment",
}

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\Z")
_APP_ID = re.compile(r"ap-[a-z2-7]{16}\Z")
_OBJECT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


class CallId(NamedTuple):
    """The parts of a call id: the client's session, the shard of the result, the call's number."""

    session: str
    shard: int
    number: int

    def __str__(self) -> str:
        return f"fc-{self.session}-{self.shard}-{self.number}"


def random_body(bits: int = 80) -> str:
    """Return `bits` random bits as lower-case base32 (80 bits are 16 characters)."""
    return base64.b32encode(secrets.token_bytes(bits // 8)).decode().rstrip("=").lower()


def new_id(kind: str) -> str:
    """Return a fresh id of `kind`, one of KINDS.

    Raises KeyError for an unknown kind.
    """
    KINDS[kind]
    return f"{kind}-{random_body()}"


def base_id(function_id: str) -> str:
    """Return the id of the function that a variant was made from; that of any other function as it is.

    A variant's id is its base's, and a digest: `cs-<body>-<digest>`.
    """
    return "-".join(function_id.split("-", 2)[:2])


def new_session() -> str:
    """Return a fresh session token: the part of every call id that names its client connection."""
    return random_body(50 // 8 * 8)


def parse_call_id(call_id: str) -> CallId:
    """Split a call id into its parts.

    Raises ValueError, saying what was expected, for anything else.
    """
    parts = call_id.split("-") if isinstance(call_id, str) else []
    if len(parts) != 4 or parts[0] != "fc" or not parts[2].isdecimal() or not parts[3].isdecimal():
        raise ValueError(f"expected a call id like 'fc-k3j9x2abcd-0-17', got {call_id!r}")
    if not is_token(parts[1]):
        raise ValueError(f"expected a call id like 'fc-k3j9x2abcd-0-17', got {call_id!r}")
    return CallId(parts[1], int(parts[2]), int(parts[3]))


def input_id(call_id: str, index: int) -> str:
    """Return the id of one input of a call: `in-<session>-<shard>-<n>-<index>`."""
    return f"in{call_id[2:]}-{index}"


def is_token(text: str) -> bool:
    """Tell whether `text` may stand as one token of a NATS subject."""
    return bool(_TOKEN.match(text))


def is_object_name(text: str) -> bool:
    """Tell whether `text` may name an app or a function: 1 to 64 of `A-Z a-z 0-9 - _ .`, no app id."""
    return bool(_OBJECT_NAME.match(text)) and not is_app_id(text)


def is_app_id(text: str) -> bool:
    """Tell whether `text` is the id of an app, as `new_id` makes it."""
    return bool(_APP_ID.match(text))
