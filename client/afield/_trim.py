"""Tracebacks for users: their own line, then the remote frames, then the error, without our machinery in between.

A bare `raise` keeps the traceback that the exception has at that moment and adds no entry of its own, so what is cut
here stays cut, the frame that cuts included. `AFIELD_DEBUG=1` keeps all frames.
"""

import asyncio
import builtins
import concurrent.futures
import contextlib
import functools
import inspect
import os
import threading
from collections.abc import Callable, Coroutine
from types import ModuleType, TracebackType
from typing import Any, Final, ParamSpec, TypeVar

import anyio

from afield import _frames
from afield._suggest import did_you_mean
from afield.exception import ContainerLostError, Error, InternalFailure

P = ParamSpec("P")
R = TypeVar("R")


def _file(module: ModuleType) -> str:
    return os.path.abspath(module.__file__ or "")


UNWRAP: Final = "unwrap"
"""Name of the method that raises what came from a container (`CallOutcome`)."""

_INNER: Final = (
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
    *(os.path.dirname(_file(module)) + os.sep for module in (anyio, asyncio, concurrent.futures)),
    _file(contextlib),
    _file(threading),
)
"""Where the frames lie that say nothing about the user's code."""


def trim(error: BaseException) -> None:
    """Drop our frames from an error that is meant for the user, and from what it was caused by.

    Those are our errors, what came from a container, and Ctrl-C while we waited. Faults of ours (InternalFailure, or
    anything that our code did not mean to raise) keep everything.
    """
    if os.environ.get("AFIELD_DEBUG", "") not in ("", "0"):
        return
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        each = todo.pop()
        if each is None or id(each) in seen or not isinstance(each, (Exception, KeyboardInterrupt)):
            continue
        seen.add(id(each))
        if _is_fault(each):
            continue
        entries = _entries(each.__traceback__)
        if _is_meant(each, entries):
            each.__traceback__ = _link([entry for entry in entries if not _is_inner(entry)])
        todo += [each.__cause__, each.__context__]


class _Trimming:
    """`with TRIMMED:` around what a user calls. Holds no state, so one serves all."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            trim(error)


TRIMMED: Final = _Trimming()


def trimmed(function: Callable[P, R]) -> Callable[P, R]:
    """Trim the errors of a function that users call."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            _explain_arguments(error, function.__qualname__, function)
            trim(error)
            raise

    return wrapper


def trimmed_async(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Trim the errors of an asynchronous function that users await."""

    @functools.wraps(function)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await function(*args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            _explain_arguments(error, function.__qualname__, function)
            trim(error)
            raise

    return wrapper


_NAMES: Final = {
    "Map": "Function.map",
    "Starmap": "Function.starmap",
    "ForEach": "Function.for_each",
    "SpawnMap": "Function.spawn_map",
    "_Gather": "FunctionCall.gather",
    "_Iter": "FunctionCall.iter",
    "Lookup": "App.lookup",
    "Retries": "afield.Retries",
}
"""Classes behind public methods, which nobody has heard of."""


def _explain_arguments(error: BaseException, qualname: str, function: Callable[..., Any]) -> None:
    """Say a wrong call of `function` itself in the words of the user, who does not know its inner name."""
    trace = error.__traceback__
    if type(error) is not TypeError or trace is None or trace.tb_next is not None or "<locals>" in qualname:
        return  # raised further in, or by what a decorator made
    _reword(error, qualname, function)


def explain_wrong_call(
    error: TypeError,
    qualname: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Do the same for an error that came from another thread, if `function` does not take these arguments."""
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        _reword(error, qualname, function)


def _reword(error: TypeError, qualname: str, function: Callable[..., Any]) -> None:
    public = _public(qualname)
    text = str(error).replace(f"{qualname}()", f"{public}()")
    parameters = {
        name: each
        for name, each in inspect.signature(function).parameters.items()
        if name != "self" and each.kind is not each.VAR_POSITIONAL
    }
    wrong = text.rpartition("unexpected keyword argument ")[2].strip("'")
    if "positional argument" in text and all(each.kind is each.KEYWORD_ONLY for each in parameters.values()):
        text = f"{public}() takes its parameters by name only: {', '.join(parameters)}"
    error.args = (text + did_you_mean(wrong, parameters),)
    error.__traceback__ = None


def _public(qualname: str) -> str:
    owner, _, name = qualname.rpartition(".")
    if not owner:
        return f"afield.{name}"
    owner = _NAMES.get(owner, owner)
    return owner if name in ("__call__", "__init__") else f"{owner}.{name}"


def _is_fault(error: BaseException) -> bool:
    return isinstance(error, InternalFailure) and not isinstance(error, ContainerLostError)


def _is_meant(error: BaseException, entries: list[TracebackType]) -> bool:
    if isinstance(error, (Error, builtins.TimeoutError, KeyboardInterrupt)) or any(
        map(_frames.is_rebuilt, entries)
    ):
        return True
    if not entries:
        return False
    # Raised by code of the user's that ours called here, such as an iterator of inputs; or it came from a container
    # in which no line of the user's had run yet.
    return not _is_inner(entries[-1]) or entries[-1].tb_frame.f_code.co_name == UNWRAP


def _is_inner(entry: TracebackType) -> bool:
    return entry.tb_frame.f_code.co_filename.startswith(_INNER) and not _frames.is_rebuilt(entry)


def _entries(trace: TracebackType | None) -> list[TracebackType]:
    entries = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    return entries


def _link(entries: list[TracebackType]) -> TracebackType | None:
    made: TracebackType | None = None
    for entry in reversed(entries):
        made = TracebackType(made, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return made
