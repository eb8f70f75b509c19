"""Errors of user code, shown with the frames of user code."""

import asyncio
import concurrent.futures
import contextlib
import importlib
import os
import sys
import traceback
from typing import Final

import anyio
import click

import afield

_INNER: Final = (
    *(
        os.path.dirname(os.path.abspath(module.__file__ or "")) + os.sep
        for module in (afield, anyio, asyncio, click, concurrent.futures, importlib)
    ),
    os.path.abspath(contextlib.__file__),
    "<frozen ",
)
"""Where the frames lie that say nothing about the user's code."""


def format_error(error: BaseException) -> str:
    """Return the traceback of an error, with its causes, without our own frames and those of event loops.

    An error that never went through user code is one line: `InvalidError: …`.
    """
    shown = traceback.TracebackException.from_exception(error, compact=True)
    _prune(shown)
    return "".join(shown.format())


def has_user_frames(error: BaseException) -> bool:
    """Tell whether an error went through user code."""
    return any(not frame.filename.startswith(_INNER) for frame in traceback.extract_tb(error.__traceback__))


def _prune(shown: traceback.TracebackException) -> None:
    todo = [shown]
    while todo:
        each = todo.pop()
        each.stack = traceback.StackSummary.from_list(
            [frame for frame in each.stack if not frame.filename.startswith(_INNER)]
        )
        if not each.stack:
            each.stack = None  # type: ignore[assignment]  # as the standard library has it for "no traceback"
        todo += [more for more in (each.__cause__, each.__context__) if more is not None]
        todo += each.exceptions or []


def show(error: BaseException) -> None:
    """Print it on stderr, if there is one: `print` would take stdout instead."""
    if sys.stderr is not None:
        print(format_error(error), end="", file=sys.stderr)
