"""What the bus or a service refused, as the errors that users see."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from afield import exception
from afield._bus.errors import (
    ApiFailure,
    BlobCorruptError,
    BlobNotFoundError,
    BusBufferFullError,
    BusClosedError,
    BusConnectError,
    BusError,
    PayloadTooLargeError,
    PublishRefusedError,
    StreamFullError,
)

_BY_CODE: Final[dict[str, type[exception.Error]]] = {
    "invalid": exception.InvalidError,
    "denied": exception.PermissionDeniedError,
    "not_found": exception.NotFoundError,
    "conflict": exception.ConflictError,
    "exhausted": exception.ResourceExhaustedError,
    "internal": exception.InternalError,
    "unavailable": exception.ServiceError,
}


def user_error(error: BaseException) -> BaseException:
    """Return the user's error for one of the bus; any other error is returned as it is."""
    if not isinstance(error, BusError):
        return error
    made = _translate(error)
    made.__cause__ = error
    return made


def _translate(error: BusError) -> exception.Error:
    if isinstance(error, ApiFailure):
        return _BY_CODE.get(error.code, exception.ServiceError)(error.message)
    if isinstance(error, StreamFullError):
        return exception.ResourceExhaustedError(
            f"the platform has no room ({error.description}): wait for some calls to finish, or give its NATS server "
            f"more storage"
        )
    if isinstance(error, PublishRefusedError):
        return exception.InternalError(f"the platform did not take the input: {error}")
    if isinstance(error, PayloadTooLargeError):
        return exception.RequestSizeError(str(error))
    if isinstance(error, BusBufferFullError):
        return exception.ResourceExhaustedError(f"{error}; make fewer calls at a time")
    if isinstance(error, BusClosedError):
        return exception.ClientClosed(f"the connection to the platform was closed: {error}")
    if isinstance(error, (BlobNotFoundError, BlobCorruptError)):
        return exception.DataLossError(str(error))
    if isinstance(error, BusConnectError) and "authorization" in str(error).lower():
        return exception.AuthError(f"the platform refused the token: {error}")
    return exception.ConnectionError(f"the platform cannot be reached: {error}")


@contextmanager
def as_user_errors() -> Iterator[None]:
    """Raise what the bus raises inside the block as the user's errors."""
    try:
        yield
    except BusError as error:
        raise user_error(error) from error
