"""Tracebacks that a user sees."""

import os
import traceback
from collections.abc import Callable

import pytest

from afield._errors import from_error_info, to_error_info
from afield._portal import get_portal
from afield._trim import trimmed
from afield.exception import InternalFailure, InvalidError


def remote_error() -> Exception:
    """What a container's exception is here."""
    try:
        int("x")
    except ValueError as error:
        return from_error_info(to_error_info(error), function_name="f")
    raise AssertionError


def shown(error: BaseException) -> str:
    """What is printed when a blocking call raises an error."""

    async def work() -> None:
        raise error

    @trimmed
    def face() -> None:
        get_portal().run(work)

    with pytest.raises(type(error)) as caught:
        face()
    return "".join(traceback.format_exception(caught.value))


def files(text: str) -> list[str]:
    """The files of a printed traceback."""
    return [line.split('"')[1] for line in text.splitlines() if line.lstrip().startswith('File "')]


@pytest.mark.parametrize("make", [lambda: InvalidError("no"), remote_error, KeyboardInterrupt])
def test_inner_frames_are_dropped(make: Callable[[], BaseException]) -> None:
    """Of our errors, of Ctrl-C, and of what came from a container, whose frames stay."""
    text = shown(make())

    assert set(files(text)) == {os.path.abspath(__file__)}
    assert ("int(" in text) == ("ValueError" in text)


def test_faults_of_ours_keep_all_frames() -> None:
    """They are for whoever mends them, be they named or not."""
    assert any("_portal.py" in name for name in files(shown(InternalFailure("oh"))))


def test_debugging_keeps_all_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """AFIELD_DEBUG=1 shows the machinery."""
    monkeypatch.setenv("AFIELD_DEBUG", "1")

    assert any("_portal.py" in name for name in files(shown(InvalidError("no"))))
