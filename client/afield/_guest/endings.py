"""The ends of a process that are not the ordinary one."""

import atexit
import os
import sys
import traceback
from typing import Final, NoReturn

from afield._guest import cstdio
from afield._guest.link import Link

FAULT_STATUS: Final = 70
"""Exit status of a container that ended by a fault of the guest or its link (EX_SOFTWARE)."""


def die(error: BaseException) -> NoReturn:
    """End this container for a fault that is not the user's."""
    try:
        os.write(2, f"afield: this container ends: {error}\n".encode())
    except OSError:
        pass  # nobody reads any more
    os._exit(FAULT_STATUS)


def finish(status: int = 0) -> NoReturn:
    """Run the exit hooks of user code and exit. Threads that still run end with the process.

    It takes as long as the hooks take; the worker, not the guest, holds the deadline.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # user code closed or replaced it
    cstdio.flush_all()
    os._exit(status)


def leave_if_forked(link: Link, error: BaseException | None) -> None:
    """End this process if user code forked it and let it run into our loop: the link is its parent's.

    `error` is what user code raised in it; the exit status is the one that the interpreter would give.
    """
    if link.is_ours:
        return
    status = 0
    if isinstance(error, SystemExit):
        status = exit_status(error)
    elif error is not None:
        traceback.print_exception(error)
        status = 1
    cstdio.flush_all()
    os._exit(status)


def exit_status(error: SystemExit) -> int:
    """Return the status with which the interpreter would exit, and print what it would print."""
    code = error.code
    if code is not None and not isinstance(code, int):
        try:
            print(code, file=sys.stderr)
        except (OSError, ValueError):
            pass  # user code closed it
        return 1
    return (code or 0) & 0xFF
