"""Where this code runs, and for which input.

In a container the environment says so, and subprocesses of user code inherit it; the input is a context variable.
"""

import os
from contextvars import ContextVar, Token
from typing import NamedTuple

from afield._wire.ids import input_id


class ContainerInfo(NamedTuple):
    """The container that this code runs in."""

    container_id: str
    function_id: str
    app_id: str
    worker_id: str


class CurrentInput(NamedTuple):
    """The input that this code runs for."""

    call_id: str
    number: int


_current: ContextVar[CurrentInput | None] = ContextVar("afield_current_input", default=None)


def is_remote() -> bool:
    """Tell whether this code runs in a container."""
    return "AFIELD_CONTAINER_ID" in os.environ


def is_local() -> bool:
    """Tell whether this code runs on the caller's side, not in a container."""
    return not is_remote()


def current_container() -> ContainerInfo | None:
    """Return the container that this code runs in, or None outside of one."""
    env = os.environ
    if "AFIELD_CONTAINER_ID" not in env:
        return None
    names = ("AFIELD_CONTAINER_ID", "AFIELD_FUNCTION_ID", "AFIELD_APP_ID", "AFIELD_WORKER_ID")
    return ContainerInfo(*(env.get(name, "") for name in names))


def current_input_id() -> str | None:
    """Return the id of the input that this code runs for, or None outside of one (a thread of the user's own, too).

    In a batched function: that of the first input of the batch.
    """
    current = _current.get()
    return None if current is None else input_id(current.call_id, current.number)


def current_function_call_id() -> str | None:
    """Return the id of the call that this code runs for, or None outside of one. In a batch: that of its first input."""
    current = _current.get()
    return None if current is None else current.call_id


def enter_input(call_id: str, index: int) -> "Token[CurrentInput | None]":
    """Say that what follows in this context runs for an input. For the guest; undo it with `leave_input`."""
    return _current.set(CurrentInput(call_id, index))


def leave_input(token: "Token[CurrentInput | None]") -> None:
    """Take back what `enter_input` said."""
    _current.reset(token)
