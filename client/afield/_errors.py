"""Exceptions of user code to ErrorInfo, and back to exceptions.

What is carried over: the class, its arguments and attributes, notes, the chain of causes and contexts, the members of
groups, and tracebacks. The text of the traceback travels too, for what cannot be rebuilt on the other side.
"""

import os
import re
import sys
import textwrap
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from afield import _frames
from afield._wire.messages import Attempt, ErrorInfo, ErrorKind
from afield.exception import (
    CallCancelledError,
    ContainerLostError,
    DeserializationError,
    Error,
    ExecutionError,
    FunctionTimeoutError,
    InternalFailure,
    OutOfMemoryError,
    ResourceExhaustedError,
    SerializationError,
)
from afield.serialization import dumps, loads

_LONGEST_MESSAGE: Final = 16 * 1024
_LONGEST_TRACEBACK: Final = 64 * 1024
_LONGEST_ATTEMPT: Final = 500
_MOST_NODES: Final = 256
"""Exceptions of one chain or group that are kept."""


class _Node(NamedTuple):
    """One exception of a chain. Other exceptions are named by their place in the list of nodes."""

    exception: bytes | None
    """Serialised; of a group: `(class, message, attributes)`. None if that was not possible."""
    failure: str
    type_name: str
    message: str
    trace: _frames.Trace
    cause: int | None
    context: int | None
    suppress_context: bool
    members: tuple[int, ...] | None
    """Of a group, else None."""


class _Report(NamedTuple):
    nodes: tuple[_Node, ...]
    """The exception itself comes first."""
    homes: tuple[str, ...]
    """Names of the folder that stands for the caller's own."""


# -- to ErrorInfo -----------------------------------------------------------------------------------


def to_error_info(
    exc: BaseException,
    *,
    kind: ErrorKind = "exception",
    container_id: str = "",
    home: str | None = None,
    log_tail: Sequence[str] = (),
) -> ErrorInfo:
    """Return what a caller needs to know about `exc`.

    `home`: the folder that holds the caller's source (default: the first of sys.path); file names below it are mapped
    back on the other side. A SystemExit becomes kind `exit`. Never raises: what cannot be pickled is told in words.
    """
    exit_code = None
    if isinstance(exc, SystemExit):
        kind = "exit" if kind == "exception" else kind
        exit_code = _exit_code(exc)
    home = (sys.path[0] if sys.path else "") if home is None else home
    report = _Report(_collect(exc), tuple(sorted({home, os.path.realpath(home)})) if home else ())
    return ErrorInfo(
        kind=kind,
        message=_message(exc),
        type_name=_type_name(exc),
        traceback=_text(exc),
        exception=dumps(report).join(),
        exit_code=exit_code,
        log_tail=tuple(log_tail),
        container_id=container_id,
    )


def _exit_code(exc: SystemExit) -> int:
    """Return the exit status that the interpreter would make of it."""
    if exc.code is None:
        return 0
    return exc.code if isinstance(exc.code, int) else 1


def _collect(exc: BaseException) -> tuple[_Node, ...]:
    """Return `exc` and all that it refers to, each once, at most _MOST_NODES."""
    order = {id(exc): 0}
    waiting = [exc]

    def number(other: BaseException | None) -> int | None:
        if other is None:
            return None
        if id(other) not in order:
            if len(order) >= _MOST_NODES:
                return None
            order[id(other)] = len(order)
            waiting.append(other)
        return order[id(other)]

    nodes = []
    for each in waiting:  # grows while it is walked
        members = each.exceptions if isinstance(each, BaseExceptionGroup) else None
        numbers = None if members is None else tuple(n for n in map(number, members) if n is not None)
        packed, failure = _pack(each)
        nodes.append(
            _Node(
                exception=packed,
                failure=failure,
                type_name=_type_name(each),
                message=_message(each),
                trace=_frames.capture(each.__traceback__),
                cause=number(each.__cause__),
                context=number(each.__context__),
                suppress_context=each.__suppress_context__,
                members=numbers,
            )
        )
    return tuple(nodes)


def _pack(exc: BaseException) -> tuple[bytes | None, str]:
    """Return the exception alone as bytes, or None and why not."""
    what: Any = exc
    if isinstance(exc, BaseExceptionGroup):
        what = (type(exc), exc.message, exc.__dict__)
    try:
        return dumps(what, what="exception").join(), ""
    except SerializationError as error:
        return None, str(error)


def _type_name(exc: BaseException) -> str:
    cls = type(exc)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _message(exc: BaseException) -> str:
    try:
        text = str(exc)
    except Exception as error:
        return f"<its __str__ raised {type(error).__qualname__}>"
    return _encodable(text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + " …")


def _encodable(text: str) -> str:
    """Return `text` without lone surrogates, which UTF-8 does not have."""
    return text.encode("utf-8", "backslashreplace").decode()


def _text(exc: BaseException) -> str:
    try:
        stack = traceback.TracebackException(type(exc), exc, _frames.strip(exc.__traceback__), compact=True)
        text = "".join(stack.format())
    except Exception as error:  # attributes that the formatter looks at may be properties that raise
        text = f"{_type_name(exc)}: {_message(exc)}\n(its traceback could not be formatted: {error!r})\n"
    if len(text) > _LONGEST_TRACEBACK:
        half = _LONGEST_TRACEBACK // 2
        text = f"{text[:half]}\n  … {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return _encodable(text)


# -- from ErrorInfo -----------------------------------------------------------------------------------


def from_error_info(
    info: ErrorInfo, *, function_name: str = "", local_root: str = "", attempts: int = 0
) -> Exception:
    """Return the exception to raise for `info`.

    That is the remote exception itself, with its chain and traceback, where it can be rebuilt. Otherwise, and for
    exceptions that would end the caller's process or loop (SystemExit, KeyboardInterrupt, StopIteration and the like),
    an error of `afield.exception` by the kind of `info`, with the remote traceback in its text.
    `local_root`: the folder here that the container's source came from (CodeRef.local_root).
    `attempts`: how many the function may have in all, 0 if that is not known. What became of the earlier ones is told in
    notes, one each.
    `info.exception` must be bytes by now: TypeError if it is still a reference to a blob.
    """
    if info.exception is not None and not isinstance(info.exception, bytes):
        raise TypeError(
            "expected info.exception as bytes: fetch the blob first, then dataclasses.replace() it in"
        )
    if function_name and info.method:
        function_name = f"{function_name}.{info.method}"
    notes = [_note(info, function_name), *(_attempt_note(each, attempts) for each in info.history)]
    rebuilt: BaseException | None = None
    if info.exception is not None:
        rebuilt, info = _rebuild_report(info, local_root)
    if (
        isinstance(rebuilt, Exception)
        and info.kind in _REBUILT_KINDS
        and not isinstance(rebuilt, _UNRAISABLE)
    ):
        _add_notes(rebuilt, notes)
        return rebuilt
    made = _substitute(info, function_name, rebuilt)
    made.__cause__ = rebuilt
    _add_notes(made, notes)
    return made


_REBUILT_KINDS: Final = ("exception", "startup", "serialization", "deserialization", "internal")
_UNRAISABLE: Final = (StopIteration, StopAsyncIteration)
"""A coroutine cannot raise these, nor a future hold them."""


def _rebuild_report(info: ErrorInfo, local_root: str) -> tuple[BaseException, ErrorInfo]:
    """Return the exception, and `info` with the caller's file names in its traceback."""
    assert isinstance(info.exception, bytes)
    try:
        report = loads(info.exception)
        if not isinstance(report, _Report):
            raise DeserializationError(f"expected the report of an exception, got a {type(report).__name__}")
    except DeserializationError as error:
        return _stand_in(info.type_name, info.message, info.traceback, str(error)), info
    paths = _Paths(report.homes, local_root)
    info = replace(info, traceback=paths.local_in(info.traceback))
    made = _Rebuilder(report.nodes, info.traceback).rebuild()
    for node, exc in zip(report.nodes, made, strict=True):
        _link(exc, node, made, paths)
    return made[0], info


class _Rebuilder:
    """Makes the exceptions of a report: the members of a group before the group."""

    def __init__(self, nodes: Sequence[_Node], text: str) -> None:
        self._nodes = nodes
        self._text = text
        self._made: dict[int, BaseException] = {}

    def rebuild(self) -> list[BaseException]:
        return [self._node(index) for index in range(len(self._nodes))]

    def _node(self, index: int) -> BaseException:
        if index not in self._made:
            self._made[index] = self._make(self._nodes[index], self._text if index == 0 else "")
        return self._made[index]

    def _make(self, node: _Node, text: str) -> BaseException:
        if node.exception is None:
            return _stand_in(node.type_name, node.message, text, node.failure)
        try:
            found = loads(node.exception)
        except DeserializationError as error:
            return _stand_in(node.type_name, node.message, text, str(error))
        if node.members is not None:
            return _rebuild_group(found, [self._node(member) for member in node.members])
        if not isinstance(found, BaseException):
            reason = f"unpickling it gave a {type(found).__qualname__} object, see its __reduce__"
            return _stand_in(node.type_name, node.message, text, reason)
        return found


def _rebuild_group(parts: Any, members: list[BaseException]) -> BaseException:
    cls, message, attributes = parts
    try:
        group: BaseException = BaseExceptionGroup.__new__(cls, message, members)
    except (TypeError, ValueError):  # a class with rules of its own, or no member is left
        group = BaseExceptionGroup(message, members or [ExecutionError("the members were left out")])
    group.__dict__.update(attributes)
    return group


def _stand_in(type_name: str, message: str, text: str, reason: str) -> ExecutionError:
    lines = [
        f"{type_name}: {message}" if message else type_name,
        f"The exception cannot be rebuilt here: {reason}",
    ]
    if text:
        lines.append(f"Remote traceback:\n{text.rstrip()}")
    return ExecutionError("\n\n".join(lines), remote_type=type_name, remote_traceback=text)


_FILE_NAME: Final = re.compile(r'(?<=  File ")[^"\n]+(?=", line )')


class _Paths(NamedTuple):
    """Maps file names of the container to the caller's."""

    homes: tuple[str, ...]
    local_root: str

    def local(self, filename: str) -> str:
        from afield._source import local_file  # needed by clients only

        for home in self.homes if self.local_root else ():
            if filename.startswith(home + os.sep):
                return local_file(self.local_root, filename[len(home) + 1 :])
        return filename

    def local_in(self, text: str) -> str:
        """Map the file names in the text of a traceback."""
        return _FILE_NAME.sub(lambda found: self.local(found[0]), text)


def _link(exc: BaseException, node: _Node, made: Sequence[BaseException], paths: _Paths) -> None:
    exc.__cause__ = None if node.cause is None else made[node.cause]
    exc.__context__ = None if node.context is None else made[node.context]
    exc.__suppress_context__ = node.suppress_context
    frames = [frame._replace(filename=paths.local(frame.filename)) for frame in node.trace.frames]
    exc.__traceback__ = _frames.rebuild(frames)
    if isinstance(exc, SyntaxError) and exc.filename:
        exc.filename = paths.local(exc.filename)
    if node.trace.left_out:
        _add_notes(exc, [f"({node.trace.left_out} frames in the middle of its traceback were left out)"])


def _note(info: ErrorInfo, function_name: str) -> str:
    doing = "while loading" if info.kind == "startup" else "in"
    words = [f"{doing} function {function_name!r}" if function_name else ""]
    words.append(f"container {info.container_id}" if info.container_id else "")
    return ", ".join(filter(None, words))


def _attempt_note(attempt: Attempt, attempts: int) -> str:
    """Return how an earlier attempt ended, in one line."""
    of = f" of {attempts}" if attempts else ""
    where = f" in container {attempt.container_id}" if attempt.container_id else ""
    ended = time.strftime("%H:%M:%S", time.localtime(attempt.at))
    said = textwrap.shorten(attempt.message or attempt.kind, _LONGEST_ATTEMPT, placeholder=" …")
    return f"attempt {attempt.number}{of} ended at {ended}{where}: {said}"


def _add_notes(exc: BaseException, notes: Iterable[str]) -> None:
    for note in filter(None, notes):
        try:
            BaseException.add_note(exc, note)
        except TypeError:
            return  # the user's class keeps something else than a list in __notes__: that is theirs


# -- what stands for the rest -----------------------------------------------------------------------


def _substitute(info: ErrorInfo, function_name: str, rebuilt: BaseException | None) -> Exception:
    """Return an error of ours by the kind of `info`."""
    text = _sentence(info, function_name)
    if info.log_tail:
        text += "\nThe last lines of its output:\n" + "\n".join(f"  {line}" for line in info.log_tail)
    if info.traceback and rebuilt is None:
        text += f"\n\nRemote traceback:\n{info.traceback.rstrip()}"
    if info.kind in ("exception", "exit", "startup", "memory", "cancelled"):
        classes: dict[str, type[ExecutionError]] = {
            "memory": OutOfMemoryError,
            "cancelled": CallCancelledError,
        }
        return classes.get(info.kind, ExecutionError)(
            text,
            exit_code=info.exit_code,
            remote_type=info.type_name,
            remote_traceback=info.traceback,
            logs=info.log_tail,
        )
    if info.kind == "lost":
        return ContainerLostError(text, exit_code=info.exit_code, signal=info.signal, logs=info.log_tail)
    return _PLAIN_KINDS[info.kind](text)


_PLAIN_KINDS: Final[dict[str, type[Error]]] = {
    "timeout": FunctionTimeoutError,
    "serialization": SerializationError,
    "deserialization": DeserializationError,
    "unschedulable": ResourceExhaustedError,
    "internal": InternalFailure,
}


def _sentence(info: ErrorInfo, function_name: str) -> str:
    name = f"function {function_name!r}" if function_name else "the function"
    if info.kind == "exit":
        said = f" ({info.message})" if info.message and info.message != str(info.exit_code) else ""
        return f"{name} called sys.exit() with status {info.exit_code}{said}"
    if info.kind in ("exception", "startup") and info.type_name:
        doing = "could not be loaded" if info.kind == "startup" else "raised"
        return f"{name} {doing}: {info.type_name}{': ' if info.message else ''}{info.message}"
    return info.message or f"{name} ended without a value ({info.kind})"
