"""What another process prints, line by line, with a deadline for each."""

import threading
from queue import Empty, SimpleQueue
from typing import IO


class Lines:
    """Reads a pipe to its end, in a thread, so that whoever writes is never held up."""

    def __init__(self, pipe: IO[str] | None) -> None:
        assert pipe is not None, "the process was started with a pipe"
        self._lines: SimpleQueue[str] = SimpleQueue()
        threading.Thread(target=self._read, args=(pipe,), daemon=True).start()

    def _read(self, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                self._lines.put(line)
        self._lines.put("")

    def next(self, timeout: float) -> str:
        """Return the next line, empty at the end. Raises TimeoutError when none comes within so many seconds."""
        try:
            line = self._lines.get(timeout=timeout)
        except Empty:
            raise TimeoutError(f"expected a line of the other process within {timeout:g} s") from None
        if not line:
            self._lines.put("")  # it stays at its end
        return line
