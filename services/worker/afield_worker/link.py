"""The worker's end of a container's link."""

import socket
from collections.abc import Callable
from typing import Any

from afield._guest.channel import FrameChannel
from afield._wire.guest import FROM_GUEST


class Link(FrameChannel):
    """Frames to and from one guest, as callbacks on the loop; see FrameChannel.

    `on_frame` gets Ready, StartFailed, Results and Yields. `send` takes Start, Run, Credit, Cancel and Stop.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_frame: Callable[[Any], None],
        on_close: Callable[[Exception | None], None],
    ) -> None:
        super().__init__(sock, FROM_GUEST, on_frame, on_close)
