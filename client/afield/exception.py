"""Every error and warning that a user of afield can see.

`Error` is the root. `TimeoutError` and `ConnectionError` and their children are also the builtin classes of the same
name, so `except TimeoutError` catches all. What user code raised in a container comes back as its own class and is
not in this tree, unless it could not be carried over: then it is an `ExecutionError` that holds its traceback as text.
"""

import builtins
import os
import random
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any


class Error(Exception):
    """Base of every error that afield raises."""


# -- the caller's fault -----------------------------------------------------------------------------


class InvalidError(Error):
    """The request makes no sense as it stands: wrong argument, wrong order, wrong kind of object."""


class ConflictError(InvalidError):
    """Somebody else changed the object in between, or holds it."""


class NotFoundError(Error):
    """No object of this name or id exists."""


class AlreadyExistsError(Error):
    """An object of this name exists already."""


class AuthError(Error):
    """The token is missing, wrong, or does not allow this."""


class PermissionDeniedError(Error):
    """The caller is known, and may not do this."""


class UnimplementedError(Error):
    """This part of the interface is not available (yet); the message names it."""


class VersionError(Error):
    """Client and server are of versions that do not understand each other."""


class RequestSizeError(Error):
    """A request is larger than the platform takes."""


class ResourceExhaustedError(Error):
    """A limit is reached, or no worker has what was asked for."""


class ModuleNotMountable(Exception):  # noqa: N818 - the name is Modal's
    """A module's source cannot be shipped."""


# -- values on their way ------------------------------------------------------------------------------


class SerializationError(Error):
    """A value cannot be turned into bytes; the message names the part at fault, and `path` where it is, if known."""

    path: str = ""


class DeserializationError(Error):
    """Bytes cannot be turned back into a value; the message names the class at fault."""


class DataLossError(Error):
    """Stored data is damaged or gone."""


# -- the run of a function ----------------------------------------------------------------------------


class RemoteError(Error):
    """Something failed on the platform's side while it worked for the caller."""


class ImageBuildError(RemoteError):
    """An image could not be built. `image_id` names it."""

    def __init__(self, message: str, image_id: str) -> None:
        super().__init__(message)
        self.image_id = image_id

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.image_id), self.__dict__


class ExecutionError(Error):
    """A function did not end in a value, and its own exception cannot be raised here.

    Attributes: `exit_code` (of `sys.exit()` or the process, else None), `remote_type` (qualified name of the remote
    exception's class, else empty), `remote_traceback` (text, else empty), `logs` (the last lines of output, where the
    container ended with the input).
    """

    def __init__(
        self,
        *args: object,
        exit_code: int | None = None,
        remote_type: str = "",
        remote_traceback: str = "",
        logs: Sequence[str] = (),
    ) -> None:
        super().__init__(*args)
        self.exit_code = exit_code
        self.remote_type = remote_type
        self.remote_traceback = remote_traceback
        self.logs = tuple(logs)


class OutOfMemoryError(ExecutionError):
    """The container was killed because it took more memory than it may."""


class CallCancelledError(ExecutionError):
    """The call, or this input of it, was cancelled."""


class InputCancellation(BaseException):
    """Raised inside a running function when its input is cancelled or times out.

    Not an Exception, so that `except Exception` in user code does not swallow it.
    """


# -- time ---------------------------------------------------------------------------------------------


class TimeoutError(Error, builtins.TimeoutError):  # noqa: A001 - the name is Modal's
    """Something took longer than it may. Also a builtin TimeoutError."""


class FunctionTimeoutError(TimeoutError):
    """An input ran longer than its function's `timeout`."""


class SandboxTimeoutError(TimeoutError):
    """A sandbox lived longer than its `timeout`."""


class ExecTimeoutError(TimeoutError):
    """A command in a sandbox ran longer than its `timeout`."""


class OutputExpiredError(TimeoutError):
    """The result was kept for its time and is gone."""


class MountUploadTimeoutError(TimeoutError):
    """Source files could not be uploaded in time."""


class VolumeUploadTimeoutError(TimeoutError):
    """A volume's files could not be uploaded in time."""


class InteractiveTimeoutError(TimeoutError):
    """An interactive session could not be set up in time."""


# -- the platform's fault -----------------------------------------------------------------------------


class InternalError(Error):
    """A bug or a broken part of the platform."""


class InternalFailure(Error):  # noqa: N818 - the name is Modal's
    """The platform tried again and again and could not bring the input to an end."""


class ContainerLostError(InternalFailure):
    """The container died under the input each time that it was tried.

    Attributes: `exit_code` (or None), `signal` (number of the signal that killed it, or None), `logs` (the last lines
    that it wrote).
    """

    def __init__(
        self,
        *args: object,
        exit_code: int | None = None,
        signal: int | None = None,
        logs: Sequence[str] = (),
    ) -> None:
        super().__init__(*args)
        self.exit_code = exit_code
        self.signal = signal
        self.logs = tuple(logs)


class ConnectionError(Error, builtins.ConnectionError):  # noqa: A001 - the name is Modal's
    """The platform cannot be reached. Also a builtin ConnectionError."""


class ClientClosed(Error):  # noqa: N818 - the name is Modal's
    """The client was closed; open another."""


class ServiceError(Error):
    """A service of the platform answered with an error of its own."""


class LogsFetchError(Error):
    """Logs could not be read."""


class WorkspaceManagementError(Error):
    """An operation on the workspace failed."""


# -- sandboxes ----------------------------------------------------------------------------------------


class SandboxTerminatedError(Error):
    """The sandbox has ended."""


class SnapshotCreationError(Error):
    """A snapshot could not be made."""


class SandboxFilesystemError(Error):
    """An operation on a sandbox's files failed."""


class SandboxFilesystemNotFoundError(SandboxFilesystemError):
    """No such file or folder in the sandbox."""


class SandboxFilesystemPathAlreadyExistsError(SandboxFilesystemError):
    """The path exists already in the sandbox."""


class SandboxFilesystemIsADirectoryError(SandboxFilesystemError):
    """A file was expected, the path is a folder."""


class SandboxFilesystemNotADirectoryError(SandboxFilesystemError):
    """A folder was expected, the path is a file."""


class SandboxFilesystemDirectoryNotEmptyError(SandboxFilesystemError):
    """The folder is not empty."""


class SandboxFilesystemPermissionError(SandboxFilesystemError):
    """The sandbox's user may not do this."""


class SandboxFilesystemFileTooLargeError(SandboxFilesystemError):
    """The file is larger than this operation takes."""


# -- warnings -----------------------------------------------------------------------------------------


class DeprecationError(UserWarning):
    """A warning, in spite of its name (it is Modal's): this spelling will go."""


class AsyncUsageWarning(UserWarning):
    """A blocking call was made inside a running event loop; the message names the `.aio` form."""


class ServerWarning(UserWarning):
    """A hint that the server sent."""


class InternalAPIWarning(UserWarning):
    """A private part of the interface was used."""


# -- test hook ----------------------------------------------------------------------------------------

_PREEMPTION_GRACE_S = 30.0


def simulate_preemption(wait_seconds: int, jitter_seconds: int = 0) -> None:
    """Act as if the host took this container away, in `wait_seconds`, and up to `jitter_seconds` more at random.

    What runs is interrupted (KeyboardInterrupt in synchronous code, CancelledError in asynchronous), exit hooks run,
    and 30 s later the container is killed if it is still there. What has not ended by then runs again elsewhere.
    In a program that is no container: KeyboardInterrupt in the main thread, SIGKILL 30 s later. It uses SIGALRM there,
    so call it in the main thread (InvalidError elsewhere), and once.
    """
    numbers = all(isinstance(each, (int, float)) for each in (wait_seconds, jitter_seconds))
    if not numbers or wait_seconds <= 0 or jitter_seconds < 0:
        raise InvalidError(
            f"expected wait_seconds > 0 and jitter_seconds >= 0, got {wait_seconds!r} and {jitter_seconds!r}"
        )
    from afield._guest import preemption

    wait = wait_seconds + random.random() * jitter_seconds
    if preemption.in_container():
        preemption.simulate(wait)
        return
    if threading.current_thread() is not threading.main_thread():
        raise InvalidError("simulate_preemption() sets a signal handler, so call it in the main thread")

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, _PREEMPTION_GRACE_S)
        raise KeyboardInterrupt("simulated preemption")

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, wait)
