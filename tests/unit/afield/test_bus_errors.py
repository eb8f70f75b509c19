"""Errors of the bus, as users see them."""

import pytest

from afield import exception
from afield._bus import errors
from afield._bus_errors import as_user_errors, user_error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.ApiFailure("invalid", "m"), exception.InvalidError),
        (errors.ApiFailure("denied", "m"), exception.PermissionDeniedError),
        (errors.ApiFailure("not_found", "m"), exception.NotFoundError),
        (errors.ApiFailure("conflict", "m"), exception.ConflictError),
        (errors.ApiFailure("exhausted", "m"), exception.ResourceExhaustedError),
        (errors.ApiFailure("internal", "m"), exception.InternalError),
        (errors.ApiFailure("unavailable", "m"), exception.ServiceError),
        (errors.StreamFullError("in.x", 10023, "full"), exception.ResourceExhaustedError),
        (errors.PublishRefusedError("in.x", 10052, "bad"), exception.InternalError),
        (errors.PublishTimeoutError("late"), exception.ConnectionError),
        (errors.NoRespondersError("nobody"), exception.ConnectionError),
        (errors.PayloadTooLargeError("in.x", 2, 1), exception.RequestSizeError),
        (errors.BusBufferFullError("full"), exception.ResourceExhaustedError),
        (errors.BusClosedError("closed"), exception.ClientClosed),
        (errors.BlobNotFoundError("gone"), exception.DataLossError),
        (errors.BusConnectError("nats://x", "refused"), exception.ConnectionError),
        (errors.BusConnectError("nats://x", "Authorization Violation"), exception.AuthError),
    ],
)
def test_each_error_has_its_counterpart(error: errors.BusError, expected: type[Exception]) -> None:
    """The caller's fault and the platform's stay apart, and the cause is kept."""
    made = user_error(error)

    assert type(made) is expected
    assert made.__cause__ is error


def test_other_errors_stay_as_they_are() -> None:
    """Only the bus is translated."""
    error = KeyError("x")

    assert user_error(error) is error
    with pytest.raises(KeyError), as_user_errors():
        raise error


def test_errors_inside_the_block_are_translated() -> None:
    """For code that calls the bus."""
    with pytest.raises(exception.NotFoundError, match="no such app"), as_user_errors():
        raise errors.ApiFailure("not_found", "no such app")
