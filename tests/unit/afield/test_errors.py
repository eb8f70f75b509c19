"""Tests of afield._errors: exceptions of user code, there and back."""

import asyncio
import builtins
import dataclasses
import json
import re
import subprocess
import sys
import threading
import traceback
import types
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from afield import _errors, exception
from afield._errors import from_error_info, to_error_info
from afield._wire.codec import decode, encode
from afield._wire.messages import Attempt, BlobRef, ErrorInfo, ErrorKind


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


# -- the exception itself -----------------------------------------------------------------------------


class RefusedError(Exception):
    """Its arguments are not those of its constructor."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"refused with {code}")
        self.code = code
        self.reason = reason


class SlottedError(Exception):
    __slots__ = ("code", "unset")

    def __init__(self, code: int) -> None:
        super().__init__("slotted")
        self.code = code


class MissingError(FileNotFoundError):
    """A child of OSError, which keeps its arguments in fields of its own."""

    def __init__(self, path: str) -> None:
        super().__init__(2, "gone", path)
        self.path = path


class GuardedError(Exception):
    """Has a property where its dictionary has a value, and refuses to be changed."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.__dict__["code"] = code

    @property
    def code(self) -> int:
        return int(self.__dict__["code"])

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("__"):
            raise AttributeError("read-only")
        super().__setattr__(name, value)


class ReducedError(Exception):
    """Says itself how it is rebuilt."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("reduced")
        self.both = (one, two)

    def __reduce__(self) -> Any:
        return ReducedError, self.both


@pytest.mark.parametrize(
    "error",
    [
        ValueError("plain"),
        RefusedError(7, reason="tired"),
        SlottedError(3),
        MissingError("/a/b"),
        GuardedError(5),
        ReducedError(1, 2),
        KeyError("k"),
        OSError(13, "denied", "file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ImportError("no", name="mod", path="p"),
        subprocess.CalledProcessError(3, ["ls"], output=b"o", stderr=b"e"),
        json.JSONDecodeError("bad", "doc", 2),
        TimeoutError("late"),
        zlib.error("bad stream"),
        exception.InvalidError("ours"),
        exception.ImageBuildError("no", "im-1"),
        exception.ExecutionError("x", exit_code=3, logs=("a",)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_type_arguments_and_attributes(error: Exception) -> None:
    """An exception comes back as its own class, with arguments and attributes, whatever its constructor takes."""
    found = again(caught(lambda: raise_it(error)))
    assert type(found) is type(error)
    assert found.args == error.args
    assert str(found) == str(error)
    notes = found.__dict__.pop("__notes__")
    assert found.__dict__ == error.__dict__
    assert notes == ["in function 'work'"]
    for name in ("code", "errno", "strerror", "filename", "name", "path", "reason", "returncode", "both"):
        assert getattr(found, name, None) == getattr(error, name, None)


def test_wire_form_says_it_in_words() -> None:
    """ErrorInfo tells class, message and traceback to those who cannot unpickle."""
    info = to_error_info(caught(lambda: raise_it(RefusedError(7, reason="x"))), container_id="ta-1")
    assert (info.kind, info.message, info.container_id) == ("exception", "refused with 7", "ta-1")
    assert info.type_name.endswith(".RefusedError")
    assert "in raise_it\n    raise error" in info.traceback
    assert to_error_info(KeyError("k")).type_name == "KeyError"


def test_notes_of_the_user_come_first() -> None:
    """Notes are kept; ours, with function and container, is added."""
    error = ValueError("x")
    error.add_note("while baking")
    assert again(error, container_id="ta-9").__notes__ == [
        "while baking",
        "in function 'work', container ta-9",
    ]


def test_notes_that_are_no_list() -> None:
    """A class that keeps something else under __notes__ is left alone."""
    error = ValueError("x")
    error.__notes__ = "odd"  # type: ignore[assignment]
    assert vars(again(error))["__notes__"] == "odd"


def test_chain() -> None:
    """Cause, context and suppression come back, each with its traceback."""

    def fail() -> None:
        try:
            try:
                raise_it(KeyError("first"))
            except KeyError:
                raise_it(TypeError("second"))
        except TypeError as error:
            raise RefusedError(1, reason="third") from error

    found = again(caught(fail))
    assert isinstance(found.__cause__, TypeError)
    assert found.__suppress_context__
    assert isinstance(found.__cause__.__context__, KeyError)
    assert not found.__cause__.__suppress_context__
    text = printed(found)
    assert text.count("raise error") == 2
    assert text.index("first") < text.index("second") < text.index("refused with 1")


def test_suppressed_context() -> None:
    """`raise … from None` hides the context on this side as well."""
    error = caught(lambda: raise_it(ValueError("shown")))
    error.__context__ = KeyError("hidden")
    error.__cause__ = None
    assert "hidden" not in printed(again(error))


def test_circular_chain() -> None:
    """Exceptions that refer to one another in a circle are taken once each."""
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    found = again(one)
    assert found.__cause__ is not None
    assert found.__cause__.__cause__ is found


def test_groups() -> None:
    """Groups come back with members, and these with their own classes, attributes and causes."""
    inner = caught(lambda: raise_it(RefusedError(4, reason="r")))
    assert isinstance(inner, RefusedError)
    inner.__cause__ = KeyError("why")
    outer = ExceptionGroup("outer", [ExceptionGroup("deep", [inner]), OSError(2, "x")])
    error = caught(lambda: raise_it(outer))
    error.__context__ = inner
    found = again(error)
    assert isinstance(found, ExceptionGroup)
    assert (found.message, len(found.exceptions)) == ("outer", 2)
    deep, _ = found.exceptions
    assert isinstance(deep, ExceptionGroup)
    (member,) = deep.exceptions
    assert isinstance(member, RefusedError)
    assert (member.code, type(member.__cause__)) == (4, KeyError)
    assert found.__context__ is member


class Batch(ExceptionGroup[Exception]):
    """A group with a constructor of its own."""

    def __new__(cls, name: str, errors: list[Exception]) -> Self:
        made = super().__new__(cls, f"batch {name}", errors)
        made.name = name
        return made

    name: str


def test_group_of_the_users_own_class() -> None:
    """A user's group class comes back as such, although its constructor takes something else."""
    found = again(Batch("a", [ValueError("x")]))
    assert isinstance(found, Batch)
    assert (type(found), found.name, str(found)) == (Batch, "a", "batch a (1 sub-exception)")


def test_group_with_a_member_that_cannot_travel() -> None:
    """A member that cannot be pickled is stood for by an error that says so."""
    found = again(ExceptionGroup("g", [LockedError(), ValueError("fine")]))
    assert isinstance(found, ExceptionGroup)
    stand_in, fine = found.exceptions
    assert isinstance(stand_in, exception.ExecutionError)
    assert "exception.guard" in str(stand_in)
    assert type(fine) is ValueError


def test_class_from_inside_a_function() -> None:
    """An exception class that no module has travels by value."""

    class LocalError(Exception):
        pass

    assert type(again(LocalError("x"))) is LocalError


# -- what must not be raised here ---------------------------------------------------------------------


@pytest.mark.parametrize(("code", "status"), [(3, 3), (None, 0), ("bye", 1), (True, 1)])
def test_exit(code: Any, status: int) -> None:
    """sys.exit() in user code does not end the caller: it is an ExecutionError with the exit status."""
    found = again(caught(lambda: sys.exit(code)))
    assert type(found) is exception.ExecutionError
    assert found.exit_code == status
    assert "'work' called sys.exit()" in str(found)
    assert type(found.__cause__) is SystemExit


@pytest.mark.parametrize(
    "cls", [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, StopIteration, StopAsyncIteration]
)
def test_control_flow_of_others(cls: type[BaseException]) -> None:
    """What would end the caller's process, loop or generator becomes an ExecutionError that has it as its cause."""
    found = again(caught(lambda: raise_it(cls("why"))))
    assert type(found) is exception.ExecutionError
    assert type(found.__cause__) is cls
    assert f"raised: {_errors._type_name(cls())}: why" in str(found)


def test_group_with_an_interrupt() -> None:
    """A group that holds a KeyboardInterrupt is no Exception either."""
    found = again(BaseExceptionGroup("g", [KeyboardInterrupt()]))
    assert type(found) is exception.ExecutionError
    assert type(found.__cause__) is BaseExceptionGroup


# -- what cannot travel -------------------------------------------------------------------------------


class LockedError(Exception):
    def __init__(self) -> None:
        super().__init__("locked up")
        self.guard = threading.Lock()


class UnreadableError(Exception):
    def __reduce__(self) -> Any:
        return RefusedError, (1, 2, 3)


class ImpostorError(Exception):
    def __reduce__(self) -> Any:
        return str, ("not an exception",)


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (LockedError(), "cannot serialize exception.guard, a _thread.lock object"),
        (ValueError("x", [threading.Lock()]), "cannot serialize exception.args[1][0], a _thread.lock object"),
        (UnreadableError("x"), "when making an object of"),
        (ImpostorError("x"), "unpickling it gave a str object, see its __reduce__"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exception_that_cannot_travel(error: Exception, why: str) -> None:
    """It becomes an ExecutionError with class, message, what was at fault, and the remote traceback as text."""
    found = again(caught(lambda: raise_it(error)))
    assert type(found) is exception.ExecutionError
    assert found.remote_type.endswith(type(error).__name__)
    assert str(found).startswith(f"{found.remote_type}: ")
    assert why in str(found)
    assert "Remote traceback:\nTraceback (most recent call last):" in str(found)
    assert "in raise_it\n    raise error" in found.remote_traceback
    assert "in raise_it" in printed(found).partition("Remote traceback")[0]


def test_cause_that_cannot_travel() -> None:
    """Only the part of a chain that cannot travel is replaced."""
    error = ValueError("fine")
    error.__cause__ = LockedError()
    found = again(error)
    assert type(found) is ValueError
    assert isinstance(found.__cause__, exception.ExecutionError)
    assert "locked up" in str(found.__cause__)


def test_class_of_a_module_that_is_missing_here() -> None:
    """An exception of a library that the caller lacks is told in words."""
    module = types.ModuleType("only_there")
    module.__dict__["Strange"] = type("Strange", (Exception,), {"__module__": "only_there"})
    sys.modules["only_there"] = module
    info = to_error_info(module.__dict__["Strange"]("from afar"))
    del sys.modules["only_there"]
    found = from_error_info(info)
    assert type(found) is exception.ExecutionError
    assert str(found).startswith("only_there.Strange: from afar")
    assert "The module 'only_there' cannot be imported here" in str(found)


def test_exception_without_words() -> None:
    """An exception whose __str__ raises travels all the same."""
    info = to_error_info(caught(lambda: raise_it(MuteError(1))))
    assert info.message == "<its __str__ raised RuntimeError>"
    assert type(from_error_info(info)) is MuteError


def test_text_that_is_not_unicode() -> None:
    """Messages with lone surrogates can be put on the wire."""
    assert str(again(ValueError("a\udcffb"))) == "a\udcffb"
    assert to_error_info(ValueError("a\udcffb")).message == "a\\udcffb"


def test_names_of_files_in_the_text_are_the_callers(tmp_path: Path) -> None:
    """The container's folder is gone by the time that somebody reads of it."""
    home = tmp_path / "container"
    home.mkdir()
    (home / "work.py").write_text("def fail(error):\n    raise error\n")
    names: dict[str, Any] = {}
    exec(compile((home / "work.py").read_text(), home / "work.py", "exec"), names)
    info = to_error_info(caught(lambda: names["fail"](LockedError())), home=str(home))

    found = from_error_info(info, local_root="/mine")

    assert isinstance(found, exception.ExecutionError)
    assert str(home) not in str(found)
    assert 'File "/mine/work.py", line 2, in fail' in str(found)
    assert 'File "/mine/work.py", line 2, in fail' in found.remote_traceback


def test_damaged_report() -> None:
    """If the exception's bytes are damaged, the text still says what happened."""
    info = dataclasses.replace(to_error_info(ValueError("told")), exception=b"\x80rubbish")
    found = from_error_info(info)
    assert type(found) is exception.ExecutionError
    assert str(found).startswith("ValueError: told")


def test_blob_must_be_fetched_first() -> None:
    """An exception that is still a reference is the caller's mistake."""
    info = ErrorInfo(kind="exception", message="", exception=BlobRef(tier="file", name="x", size=1))
    with pytest.raises(TypeError, match="fetch the blob first"):
        from_error_info(info)


# -- bounds ----------------------------------------------------------------------------------------


def test_huge_texts_are_bounded() -> None:
    """Neither message nor traceback text can fill the bus; the exception itself is whole."""
    info = to_error_info(ValueError("x" * 10**6))
    assert len(info.message) < 20_000
    assert len(info.traceback) < 70_000
    assert len(str(from_error_info(info))) == 10**6


def test_long_chains_are_bounded() -> None:
    """Of a chain of thousands the first few hundred are kept."""
    error = last = ValueError("0")
    for number in range(1, 2_000):
        last.__cause__ = last = ValueError(str(number))
    found: BaseException | None = again(error)
    length = 0
    while found is not None:
        found, length = found.__cause__, length + 1
    assert length == 256


# -- errors of the platform ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("exception", exception.ExecutionError),
        ("exit", exception.ExecutionError),
        ("timeout", exception.FunctionTimeoutError),
        ("memory", exception.OutOfMemoryError),
        ("startup", exception.ExecutionError),
        ("serialization", exception.SerializationError),
        ("deserialization", exception.DeserializationError),
        ("lost", exception.ContainerLostError),
        ("cancelled", exception.CallCancelledError),
        ("unschedulable", exception.ResourceExhaustedError),
        ("internal", exception.InternalFailure),
    ],
)
def test_kinds(kind: ErrorKind, cls: type[Exception]) -> None:
    """Each kind of error has its class, and the message is the platform's."""
    found = from_error_info(ErrorInfo(kind=kind, message="it went wrong", exit_code=4), function_name="f")
    assert type(found) is cls
    assert "it went wrong" in str(found)
    assert found.__notes__[0].endswith("function 'f'")


def test_every_kind_is_tested() -> None:
    """The list above is complete."""
    parameters = next(mark for mark in test_kinds.pytestmark if mark.name == "parametrize").args[1]  # type: ignore[attr-defined]
    assert {kind for kind, _ in parameters} == set(ErrorKind.__args__)  # type: ignore[attr-defined]


def test_timeout_is_a_builtin_timeout() -> None:
    """`except TimeoutError` catches a function's timeout."""
    with pytest.raises(builtins.TimeoutError):
        raise from_error_info(ErrorInfo(kind="timeout", message="too long"))


def test_last_lines_of_a_lost_container() -> None:
    """How a container died, and what it said last, can be read in the message and from attributes."""
    info = ErrorInfo(kind="lost", message="killed by SIGSEGV", signal=11, log_tail=("loading", "boom"))
    found = from_error_info(info)
    assert isinstance(found, exception.ContainerLostError)
    assert (found.signal, found.exit_code, found.logs) == (11, None, ("loading", "boom"))
    assert "killed by SIGSEGV\nThe last lines of its output:\n  loading\n  boom" in str(found)


def test_timeout_shows_where_the_code_was() -> None:
    """A timeout with a remote exception has it as its cause."""
    error = caught(lambda: raise_it(exception.InputCancellation("stop")))
    found = again(error, kind="timeout")
    assert type(found) is exception.FunctionTimeoutError
    assert "in raise_it" in printed(found)


def test_startup_is_the_users_exception() -> None:
    """An import that fails in the container is the user's own exception, with a note that says when."""
    found = again(ModuleNotFoundError("No module named 'x'", name="x"), kind="startup", container_id="ta-1")
    assert isinstance(found, ModuleNotFoundError)
    assert found.name == "x"
    assert found.__notes__ == ["while loading function 'work', container ta-1"]


def attempt(number: int, message: str, container_id: str = "") -> Attempt:
    return Attempt(number=number, kind="exception", message=message, at=0.0, container_id=container_id)


def test_earlier_attempts_are_told_in_notes() -> None:
    """One line each, oldest first, behind the note that says where the last one ended."""
    info = replace(
        to_error_info(caught(lambda: raise_it(ValueError("third")))),
        history=(attempt(1, "KeyError: 'a'", "ta-1"), attempt(2, "OSError: two\nlines")),
    )
    found = from_error_info(info, function_name="work", attempts=3)
    first, second, third = found.__notes__
    assert first == "in function 'work'"
    assert re.fullmatch(r"attempt 1 of 3 ended at \d\d:\d\d:\d\d in container ta-1: KeyError: 'a'", second)
    assert re.fullmatch(r"attempt 2 of 3 ended at \d\d:\d\d:\d\d: OSError: two lines", third)
    assert second in printed(found)


def test_errors_of_methods_name_the_method() -> None:
    """A class may have many."""
    info = replace(to_error_info(caught(lambda: raise_it(ValueError("no")))), method="predict")
    assert from_error_info(info, function_name="Model").__notes__ == ["in function 'Model.predict'"]
    exited = from_error_info(ErrorInfo(kind="exit", message="", exit_code=3, method="m"), function_name="C")
    assert str(exited) == "function 'C.m' called sys.exit() with status 3"


def test_attempts_of_errors_of_ours_are_told_too() -> None:
    """Also where nobody knows how many there could have been."""
    info = ErrorInfo(kind="timeout", message="too long", history=(attempt(1, ""),))
    assert "attempt 1 ended at" in from_error_info(info).__notes__[0]
    assert from_error_info(info).__notes__[0].endswith(": exception")


def test_long_messages_of_attempts_are_cut() -> None:
    """The last one is told in full; the others are for orientation."""
    info = ErrorInfo(kind="timeout", message="too long", history=(attempt(1, "word " * 1000),))
    assert len(from_error_info(info).__notes__[0]) < 600
