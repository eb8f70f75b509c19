"""Tracebacks without our own frames."""

import asyncio

import pytest

from afield import config
from afield.cli.tracebacks import format_error, has_user_frames
from afield.exception import InvalidError


def caught() -> InvalidError:
    """An error raised by the library, called by user code (this file)."""
    try:
        config.environment("a.b")
    except InvalidError as error:
        return error
    raise AssertionError


def test_frames_of_the_library_are_left_out() -> None:
    """Only the user's frames are shown."""
    shown = format_error(caught())
    assert shown.count("  File") == 1
    assert "in caught" in shown
    assert shown.endswith("not 'a.b'\n")


def test_frames_of_the_event_loop_are_left_out() -> None:
    """An error inside of asyncio.run shows the user's coroutine."""

    async def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x") as raised:
        asyncio.run(fail())
    shown = format_error(raised.value)
    assert "runners.py" not in shown
    assert "in fail" in shown


def test_causes_are_pruned_too() -> None:
    """Causes and members of groups are shown in the same way."""
    try:
        try:
            config.environment("a.b")
        except InvalidError as error:
            raise ExceptionGroup("many", [error]) from error
    except ExceptionGroup as group:
        shown = format_error(group)
    assert "config.py" not in shown
    assert shown.count("an environment is named") >= 1


def test_errors_without_user_frames() -> None:
    """An error that never went through user code is told from one that did."""
    assert not has_user_frames(InvalidError("x"))
    assert has_user_frames(caught())
