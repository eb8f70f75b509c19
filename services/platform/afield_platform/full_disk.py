"""What to do about a full disk under nats-server."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from afield_platform.reactor import Reactor

ROOM: Final = 32 * 2**20
"""Bytes that must be free before nats-server is started anew."""

LOOK_S: Final = 1.0
"""Seconds between looks at a full disk, which gives no event to wait for."""

_SIGN: Final = b"no space left on device"


class FullDisk:
    """Notices that nats-server met a full disk, and tells when there is room again.

    A stream that could not be written to takes nothing any more, and does not even say so: callers wait, and what was
    acknowledged is kept. With room it does not recover by itself, but it does at a restart.
    """

    def __init__(
        self, reactor: Reactor, store: Path, note: Callable[[str], None], on_room: Callable[[], None]
    ) -> None:
        self._reactor = reactor
        self._store = store
        self._note = note
        self._on_room = on_room
        self._full = False

    def heard(self, line: bytes) -> None:
        """Look at a line that nats-server wrote."""
        if _SIGN in line and not self._full:
            self._full = True
            self._note(
                f"the disk of {self._store} is full: nothing more is taken until {ROOM // 2**20} MiB are free there"
            )
            self._look()

    def _look(self) -> None:
        if shutil.disk_usage(self._store).free < ROOM:
            self._reactor.call_later(LOOK_S, self._look)
            return
        self._full = False
        self._note("there is room on the disk again: nats-server is started anew")
        self._on_room()
