"""The standard streams: of a process that was started without some of them (`<&-`), or with a small alphabet."""

import os
from typing import Any


def open_standard_streams() -> None:
    """Open on /dev/null what a careless parent closed: else files of ours get the numbers 0 to 2, and children lose them.

    To be called while one thread runs: a file that another one opens meanwhile could get such a number first.
    """
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def write_replaced(stream: Any, text: str) -> None:
    """Write to a text stream; what its encoding does not have becomes an escape (`\\u2192`)."""
    try:
        stream.write(text)
    except UnicodeEncodeError as error:  # before anything of it was taken
        stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))


def can_encode(stream: Any, text: str) -> bool:
    """Tell whether a text stream's encoding has all these characters."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
