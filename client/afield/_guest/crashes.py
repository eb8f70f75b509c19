"""Where a container was when a signal like SIGSEGV ended it: the user's part of it, in the container's log.

The interpreter dumps its frames while it dies, and nothing can run in it then. So it writes them to a file in memory,
and the template, which outlives it, passes on the part that says something to the user.
"""

import faulthandler
import os
import signal
from typing import Final

OURS: Final = f'  File "{os.path.dirname(__file__)}{os.sep}'
"""How the line of a frame of the guest's begins. Behind the first of them, a dump has nothing of the user's."""

MOST_FRAMES: Final = 20

_MOST_BYTES: Final = 4096
"""What a pipe takes in one piece."""

_MOST_DUMPED: Final = 64 * 1024


class Crash:
    """The template's end: a file in memory for one container, and a copy of its standard error."""

    def __init__(self, stderr: int) -> None:
        """Raises OSError when there are too many open files."""
        self.file: Final = os.memfd_create("afield-crash", os.MFD_CLOEXEC)
        try:
            self._stderr = os.dup(stderr)
        except OSError:
            os.close(self.file)
            raise

    def tell(self, status: int) -> None:
        """Write to the container's log where it was, if a signal ended it (`status` is that of wait)."""
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
            text = shorten(os.pread(self.file, _MOST_DUMPED, 0).decode(errors="replace"))
            if text:
                self._write(text.encode(errors="replace")[:_MOST_BYTES])

    def keep_file(self) -> int:
        """In the container: close what is the template's, and return the file."""
        os.close(self._stderr)
        return self.file

    def close(self) -> None:
        """Forget the container."""
        os.close(self.file)
        os.close(self._stderr)

    def _write(self, data: bytes) -> None:
        # An open file of its own: non-blocking here, and not for whoever else writes to the pipe.
        try:
            pipe = os.open(f"/proc/self/fd/{self._stderr}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return  # nobody reads it any more
        try:
            os.write(pipe, data)
        except OSError:
            pass  # full or closed: nobody waits for this, and the end itself names the signal
        finally:
            os.close(pipe)


_file: int | None = None
"""Of this container; None in what is none."""


def dump_to(file: int) -> None:
    """In a container: have a crash leave its frames in `file`."""
    global _file
    faulthandler.enable(file, all_threads=False)
    _file = file


def _in_child() -> None:
    # Nobody looks into the file for a process that user code forked: it writes to the log itself.
    global _file
    if _file is None:
        return
    faulthandler.enable(2, all_threads=False)
    try:
        os.close(_file)
    except OSError:
        pass  # user code closed it before the fork
    _file = None


os.register_at_fork(after_in_child=_in_child)


def shorten(dump: str) -> str:
    """Return the head of a dump and the user's frames, the innermost first; all frames if none is the user's."""
    lines = dump.splitlines()
    if not lines or not lines[0].startswith("Fatal Python error"):
        return ""
    frames = [line for line in lines if line.startswith("  File ")]
    ours = next((number for number, line in enumerate(frames) if line.startswith(OURS)), len(frames))
    users = frames[:ours] or frames
    rest = [f"  ... and {len(users) - MOST_FRAMES} more"] if len(users) > MOST_FRAMES else []
    return "\n".join([lines[0], *users[:MOST_FRAMES], *rest, ""])
