"""Why a large value could not be written to the folder that this host shares with its workers."""

import errno
from typing import Final

from afield.exception import Error, InternalError, ResourceExhaustedError

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


def write_failure(error: OSError, size: int, folder: str) -> Error:
    """Return the user's error for a value of `size` bytes: ResourceExhaustedError where the disk is full."""
    said = f"could not write a value of {size:,} bytes to {folder}: {error.strerror or error}"
    if error.errno not in _FULL:
        return InternalError(said)
    return ResourceExhaustedError(
        f"{said}; free some space there, or let the platform keep its files on a larger disk (AFIELD_HOME)"
    )
