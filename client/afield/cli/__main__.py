"""The command `afield`: hears what ends it before it imports anything that takes time."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from afield._stdio import open_standard_streams
from afield.cli import interrupts


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command, and end the process with its exit status.

    0 in order, 1 the work failed, 2 wrong use, 128 + n ended by signal n.
    """
    open_standard_streams()
    interrupts.listen()
    try:
        from afield.cli import command
    except KeyboardInterrupt as interrupt:
        with suppress(OSError):
            print(interrupts.words(interrupt), file=sys.stderr)
        interrupts.leave(interrupts.status(interrupt))
    command.main(arguments)


if __name__ == "__main__":
    main()
