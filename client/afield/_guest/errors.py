"""What can go wrong between a guest and its worker; none of it is the user's fault."""


class GuestError(Exception):
    """Base of the errors of the link and of the template."""


class LinkClosedError(GuestError):
    """Raised when the other end of a link is gone, or the link is not this process's."""


class FrameTooLargeError(GuestError):
    """Raised instead of sending a frame that the peer would refuse."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"expected a frame of at most {limit} bytes, got {size}: larger payloads travel as files"
        )
        self.size = size


class LinkFullError(GuestError):
    """Raised when a peer reads so slowly that the frames waiting for it passed the bound."""

    def __init__(self, pending: int, limit: int) -> None:
        super().__init__(f"{pending} bytes wait for a peer that does not read; at most {limit} may")
        self.pending = pending
