"""Tests of afield._frames: remote tracebacks, as a caller sees them."""

import linecache
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from afield import _errors
from afield._errors import from_error_info, to_error_info
from afield._wire.codec import decode, encode
from afield._wire.messages import ErrorInfo


def caught(raiser: Callable[[], Any]) -> BaseException:
    try:
        raiser()
    except BaseException as error:
        return error
    raise AssertionError("expected an exception")


def again(error: BaseException, **info: Any) -> Exception:
    """Return what a caller gets for `error`, after a trip over the wire."""
    return from_error_info(decode(ErrorInfo, encode(to_error_info(error, **info))), function_name="work")


def printed(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def raise_it(error: BaseException) -> None:
    raise error


def recurse(depth: int) -> int:
    return recurse(depth + 1)


def test_deep_recursion_is_bounded() -> None:
    """Of a traceback of a thousand frames both ends are kept, and a note counts the rest."""
    error = caught(lambda: recurse(0))
    info = to_error_info(error)
    found = from_error_info(info)
    assert type(found) is RecursionError
    assert len(traceback.extract_tb(found.__traceback__)) == 200
    depth = len(traceback.extract_tb(error.__traceback__))
    assert f"({depth - 200} frames in the middle of its traceback were left out)" in found.__notes__
    assert len(info.traceback) < 10_000


@pytest.fixture
def remote(tmp_path: Path) -> Callable[[str, str], Exception]:
    """Return a function that raises in a process whose home is not here any more, and gives what the caller gets."""
    home, local = tmp_path / "home", tmp_path / "project"

    def go(source: str, call: str) -> Exception:
        for folder in (home, local):
            (folder / "lib").mkdir(parents=True)
            (folder / "lib" / "deep.py").write_text(source)
            (folder / "shop.py").write_text("from lib import deep\n\n\ndef work():\n    return deep.run()\n")
        program = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "from afield._errors import to_error_info\nfrom afield._wire.codec import encode\n"
            f"try:\n    {call}\nexcept BaseException as error:\n"
            "    sys.stdout.buffer.write(encode(to_error_info(error, home=sys.argv[1])))\n"
        )
        done = subprocess.run([sys.executable, "-c", program, home], stdout=subprocess.PIPE, check=True)
        for file in home.rglob("*.py"):
            file.unlink()
        return from_error_info(decode(ErrorInfo, done.stdout), function_name="work", local_root=str(local))

    return go


def test_remote_frames_show_the_callers_files(
    remote: Callable[[str, str], Exception], tmp_path: Path
) -> None:
    """The printed traceback has the caller's file names, with lines, functions, source and markers."""
    source = "def run():\n    values = {'a': 1}\n    return values['a'] + values['b']\n"
    text = printed(remote(source, "import shop; shop.work()"))
    assert f'File "{tmp_path}/project/shop.py", line 5, in work\n    return deep.run()\n' in text
    assert f'File "{tmp_path}/project/lib/deep.py", line 3, in run\n' in text
    assert "    return values['a'] + values['b']\n                         ~~~~~~^^^^^\n" in text
    assert f"{tmp_path}/home" not in text


def test_syntax_error_at_import(remote: Callable[[str, str], Exception], tmp_path: Path) -> None:
    """A SyntaxError in the user's module points at the caller's file."""
    found = remote("def run(:\n    pass\n", "import shop")
    assert isinstance(found, SyntaxError)
    assert (found.filename, found.lineno) == (f"{tmp_path}/project/lib/deep.py", 1)
    assert "def run(:" in printed(found)


def test_source_of_a_file_that_is_not_here() -> None:
    """Lines of files that exist only there are shown as they were read there."""
    name = os.path.join(os.sep, "nowhere", "there.py")
    text = "def run():\n    raise ValueError('far away')\n"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {}
    exec(compile(text, name, "exec"), namespace)
    info = to_error_info(caught(namespace["run"]))
    del linecache.cache[name]
    linecache.checkcache()
    assert f"File \"{name}\", line 2, in run\n    raise ValueError('far away')\n" in printed(
        from_error_info(info)
    )


def through_afield(call: Callable[[], Any] | None) -> BaseException:
    """Return what comes of `call`, as if a module of afield had called it."""
    file = os.path.join(os.path.dirname(_errors.__file__), "made_up.py")
    namespace: dict[str, Any] = {}
    exec(compile("def enter(call):\n    call()\n", file, "exec"), namespace)
    error = caught(lambda: namespace["enter"](call))
    for _ in range(2):  # the frames of this file that stand above it
        assert error.__traceback__ is not None
        error.__traceback__ = error.__traceback__.tb_next
    return error


def test_our_own_outer_frames_are_left_out() -> None:
    """Frames of afield above the user's first do not show."""
    info = to_error_info(through_afield(lambda: raise_it(ValueError("user's"))))
    assert "in enter" not in info.traceback
    assert "in enter" not in printed(from_error_info(info))
    assert "in raise_it" in info.traceback


def test_our_own_failures_keep_their_frames() -> None:
    """Where no frame is the user's, all are shown."""
    assert "in enter" in printed(again(through_afield(None)))


def test_second_trip_keeps_the_first() -> None:
    """A nested call's error shows the frames of both containers, and both notes."""
    first = again(caught(lambda: raise_it(ValueError("x"))), container_id="ta-1")
    second = again(caught(lambda: raise_it(first)), container_id="ta-2")
    assert printed(second).count("in raise_it") == 2
    assert second.__notes__ == ["in function 'work', container ta-1", "in function 'work', container ta-2"]


def test_frames_without_positions() -> None:
    """Code without column data (-X no_debug_ranges) shows its line without a marker."""
    code = compile("def bare():\n    raise ValueError(1 + 1)\n", "<made>", "exec")
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    bare = namespace["bare"]
    # Code 13 of the location table: line only. One entry for up to eight code units, no line change but the first.
    table = bytes([0x80 | 13 << 3 | 7, 2]) + bytes([0x80 | 13 << 3 | 7, 0]) * (
        len(bare.__code__.co_code) // 16
    )
    bare.__code__ = bare.__code__.replace(co_linetable=table)
    found = again(caught(bare))
    entry = traceback.extract_tb(found.__traceback__)[-1]
    assert (entry.name, entry.lineno) == ("bare", 2)
