"""Tracebacks as plain data, and back.

A remote frame becomes a real frame here, with the right file, line, function and columns, so every tool that shows
tracebacks shows it. Local variables are not carried over.
"""

import ast
import linecache
import os
from collections.abc import Sequence
from itertools import islice
from types import CodeType, TracebackType
from typing import Final, NamedTuple

MOST_FRAMES: Final = 200
"""Frames of one traceback that are kept: half of them the outermost, half the innermost."""
_MOST_REMEMBERED_FILES: Final = 256
_LONGEST_REMEMBERED_FILE: Final = 20_000
_WHOLE_LINE: Final = 1_000_000

_OURS: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
_STDLIB: Final = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_PLUMBING: Final = tuple(
    _STDLIB + name
    for name in ("importlib" + os.sep, "asyncio" + os.sep, "concurrent" + os.sep, "threading.py")
)


class FrameInfo(NamedTuple):
    """One entry of a traceback."""

    filename: str
    line: int
    end_line: int
    column: int
    end_column: int
    name: str
    module: str
    source: str
    """The line of source, if it could be read there."""


class Trace(NamedTuple):
    """A traceback, outermost frame first."""

    frames: tuple[FrameInfo, ...]
    left_out: int
    """Frames between the outer and the inner half that were not kept."""


def strip(traceback: TracebackType | None) -> TracebackType | None:
    """Return `traceback` without the outermost frames that are not the user's; all of it, if none is."""
    found = traceback
    while found is not None and _is_plumbing(found.tb_frame.f_code.co_filename):
        found = found.tb_next
    return found or traceback


def capture(traceback: TracebackType | None) -> Trace:
    """Return a traceback as plain data, without our own outermost frames."""
    entries = []
    entry = strip(traceback)
    while entry is not None:
        entries.append(entry)
        entry = entry.tb_next
    left_out = max(0, len(entries) - MOST_FRAMES)
    if left_out:
        entries = entries[: MOST_FRAMES // 2] + entries[-MOST_FRAMES // 2 :]
    return Trace(tuple(map(_describe, entries)), left_out)


def rebuild(frames: Sequence[FrameInfo]) -> TracebackType | None:
    """Return a traceback that shows `frames`; None if there are none."""
    traceback = None
    for frame in reversed(frames):
        if frame.source and not frame.filename.startswith("<") and not os.path.exists(frame.filename):
            _remember_source(frame)
        traceback = _rebuild_frame(frame, traceback)
    return traceback


def is_rebuilt(entry: TracebackType) -> bool:
    """Tell whether a traceback entry stands for a remote frame."""
    return entry.tb_frame.f_globals.get("marker") is _Marker


def _is_plumbing(filename: str) -> bool:
    return filename.startswith(("<frozen importlib", _OURS, *_PLUMBING))


def _describe(entry: TracebackType) -> FrameInfo:
    code = entry.tb_frame.f_code
    names = entry.tb_frame.f_globals
    line = entry.tb_lineno or 1
    _, end_line, column, end_column = next(
        islice(code.co_positions(), entry.tb_lasti // 2, None), (None, None, None, None)
    )
    if end_line is None or column is None or end_column is None:
        end_line, column, end_column = line, 0, _WHOLE_LINE
    module = names.get("__name__")
    return FrameInfo(
        filename=code.co_filename,
        line=line,
        end_line=max(end_line, line),
        column=column,
        end_column=end_column,
        name=code.co_name,
        module=module if isinstance(module, str) else "",
        source=linecache.getline(code.co_filename, line, names),
    )


class _Marker(Exception):  # noqa: N818 - never seen by anybody
    """Raised to get hold of a frame."""


def _rebuild_frame(frame: FrameInfo, inner: TracebackType | None) -> TracebackType:
    namespace = {"__name__": frame.module, "__file__": frame.filename, "marker": _Marker}
    try:
        exec(_raising_code(frame), namespace)  # noqa: S102 - code that is built below, from no text
    except _Marker as marker:
        own = marker.__traceback__
        assert own is not None
        made = own.tb_next
        assert made is not None
        return TracebackType(inner, made.tb_frame, made.tb_lasti, frame.line)
    raise AssertionError("the code of a rebuilt frame did not raise")


def _raising_code(frame: FrameInfo) -> CodeType:
    """Return code that raises `marker` and says that it is at the frame's place."""
    ordered = frame.end_line > frame.line or frame.end_column >= frame.column
    place = {
        "lineno": frame.line,
        "end_lineno": frame.end_line,
        "col_offset": frame.column if ordered else 0,
        "end_col_offset": frame.end_column if ordered else _WHOLE_LINE,
    }
    statement = ast.Raise(exc=ast.Name(id="marker", ctx=ast.Load(), **place), cause=None, **place)
    code = compile(ast.Module(body=[statement], type_ignores=[]), frame.filename, "exec")
    return code.replace(co_name=frame.name, co_qualname=frame.name)


_remembered: dict[str, list[str]] = {}


def _remember_source(frame: FrameInfo) -> None:
    """Make a line of a file that does not exist here known to `linecache`, for printed tracebacks."""
    lines = _remembered.get(frame.filename)
    if lines is None:
        if len(_remembered) >= _MOST_REMEMBERED_FILES or frame.filename in linecache.cache:
            return
        lines = _remembered[frame.filename] = []
        # No modification time: linecache takes such an entry as loaded by a loader and keeps it.
        linecache.cache[frame.filename] = (0, None, lines, frame.filename)
    if frame.line <= _LONGEST_REMEMBERED_FILE:
        lines.extend(["\n"] * (frame.line - len(lines)))
        lines[frame.line - 1] = frame.source
