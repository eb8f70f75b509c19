"""Tests of afield.exception."""

import builtins
import inspect
import pickle
import re
import subprocess
import sys
from typing import Any

import pytest

from afield import exception

ERRORS = [
    cls
    for _, cls in inspect.getmembers(exception, inspect.isclass)
    if issubclass(cls, BaseException) and cls.__module__ == exception.__name__
]

# (class, its parent): what programs written for Modal catch.
TREE = [
    ("AuthError", "Error"),
    ("ConflictError", "InvalidError"),
    ("ImageBuildError", "RemoteError"),
    ("FunctionTimeoutError", "TimeoutError"),
    ("OutputExpiredError", "TimeoutError"),
    ("SandboxTimeoutError", "TimeoutError"),
    ("ExecTimeoutError", "TimeoutError"),
    ("SandboxFilesystemNotFoundError", "SandboxFilesystemError"),
    ("DeserializationError", "Error"),
    ("ResourceExhaustedError", "Error"),
    ("OutOfMemoryError", "ExecutionError"),
    ("CallCancelledError", "ExecutionError"),
    ("ContainerLostError", "InternalFailure"),
]


@pytest.mark.parametrize(("name", "parent"), TREE)
def test_tree(name: str, parent: str) -> None:
    """Each class hangs where programs expect it, below Error."""
    cls = getattr(exception, name)
    assert issubclass(cls, getattr(exception, parent))
    assert issubclass(cls, exception.Error)


@pytest.mark.parametrize("cls", ERRORS)
def test_documented(cls: type[BaseException]) -> None:
    """Each class says in a sentence of its own when it is raised."""
    assert "__doc__" in vars(cls)
    assert (cls.__doc__ or "").strip().endswith(".")


@pytest.mark.parametrize(
    "cls", [cls for cls in ERRORS if issubclass(cls, exception.TimeoutError | exception.ConnectionError)]
)
def test_is_builtin_too(cls: type[Exception]) -> None:
    """`except TimeoutError` and `except ConnectionError` need no import."""
    builtin = builtins.TimeoutError if issubclass(cls, exception.TimeoutError) else builtins.ConnectionError
    with pytest.raises(builtin, match="too late"):
        raise cls("too late")


def test_cancellation_passes_except_exception() -> None:
    """`except Exception` in user code does not swallow a cancellation."""
    assert not issubclass(exception.InputCancellation, Exception)


@pytest.mark.parametrize("cls", ERRORS)
def test_survives_plain_pickle(cls: type[BaseException]) -> None:
    """Errors keep message and attributes through the standard pickle, so any tool can carry them."""
    error = cls("it broke", "im-1") if cls is exception.ImageBuildError else cls("it broke")
    for name in ("exit_code", "signal"):
        if hasattr(error, name):
            setattr(error, name, 7)
    found = pickle.loads(pickle.dumps(error))
    assert (type(found), str(found), found.__dict__) == (cls, "it broke", error.__dict__)


def test_execution_error_attributes() -> None:
    """An ExecutionError says what is known of the remote side."""
    error = exception.ExecutionError(
        "bad", exit_code=3, remote_type="m.E", remote_traceback="tb", logs=["a", "b"]
    )
    assert (error.exit_code, error.remote_type, error.remote_traceback, error.logs) == (
        3,
        "m.E",
        "tb",
        ("a", "b"),
    )
    assert error.args == ("bad",)


@pytest.mark.parametrize(("wait", "jitter"), [(0, 0), (-1, 0), (1, -1), ("x", 0)])
def test_preemption_arguments(wait: Any, jitter: int) -> None:
    """A preemption that cannot be waited for is refused."""
    with pytest.raises(exception.InvalidError, match="expected wait_seconds > 0"):
        exception.simulate_preemption(wait, jitter)


def test_preemption_interrupts() -> None:
    """simulate_preemption raises KeyboardInterrupt in the main thread, then SIGKILL ends the process."""
    program = (
        "import signal, time\nfrom afield import exception\n"
        "exception._PREEMPTION_GRACE_S = 0.01\n"
        "exception.simulate_preemption(1)\n"
        "try:\n    time.sleep(30)\nexcept KeyboardInterrupt as e:\n    print(e, flush=True)\n"
        "while True:\n    signal.pause()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout == "simulated preemption\n"
    assert done.returncode == -9


def test_modal_names_are_all_here() -> None:
    """Every exception and warning of Modal's module has its namesake."""
    names = """AlreadyExistsError AsyncUsageWarning AuthError ClientClosed ConflictError ConnectionError DataLossError
    DeprecationError DeserializationError Error ExecTimeoutError ExecutionError FunctionTimeoutError ImageBuildError
    InputCancellation InteractiveTimeoutError InternalAPIWarning InternalError InternalFailure InvalidError
    LogsFetchError ModuleNotMountable MountUploadTimeoutError NotFoundError OutputExpiredError PermissionDeniedError
    RemoteError RequestSizeError ResourceExhaustedError SandboxFilesystemDirectoryNotEmptyError SandboxFilesystemError
    SandboxFilesystemFileTooLargeError SandboxFilesystemIsADirectoryError SandboxFilesystemNotADirectoryError
    SandboxFilesystemNotFoundError SandboxFilesystemPathAlreadyExistsError SandboxFilesystemPermissionError
    SandboxTerminatedError SandboxTimeoutError SerializationError ServerWarning ServiceError SnapshotCreationError
    TimeoutError UnimplementedError VersionError VolumeUploadTimeoutError WorkspaceManagementError"""
    assert [name for name in re.findall(r"\w+", names) if not hasattr(exception, name)] == []
