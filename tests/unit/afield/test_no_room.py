"""Values that could not be written."""

import errno
import os

import pytest

from afield._no_room import write_failure
from afield.exception import Error, InternalError, ResourceExhaustedError


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, ResourceExhaustedError),
        (errno.EDQUOT, ResourceExhaustedError),
        (errno.EACCES, InternalError),
    ],
)
def test_a_full_disk_is_told_apart(code: int, kind: type[Error]) -> None:
    """Both say how much, where and why."""
    told = write_failure(OSError(code, os.strerror(code)), 20_000_000, "/files")

    assert type(told) is kind
    assert str(told).startswith(f"could not write a value of 20,000,000 bytes to /files: {os.strerror(code)}")
