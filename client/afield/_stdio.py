"""The standard streams of a process that was started without some of them (`<&-`)."""

import os


def open_standard_streams() -> None:
    """Open on /dev/null what a careless parent closed: else files of ours get the numbers 0 to 2, and children lose them.

    To be called while one thread runs: a file that another one opens meanwhile could get such a number first.
    """
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
