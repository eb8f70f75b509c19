"""Errors of the services. `RefusedError` is the caller's affair and goes back to it; the others are the platform's."""

from typing import Final

from afield._wire.api import ErrorCode


class ServiceError(Exception):
    """Base of what a service raises."""


class RefusedError(ServiceError):
    """Raised by the handler of a request that cannot be carried out; the caller gets code and message.

    Any other exception that a handler raises reaches the caller as `internal`.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.code: Final = code
        self.message: Final = message
        super().__init__(f"{code}: {message}")


class AssetsMissingError(ServiceError):
    """Raised when streams or buckets are not there after the time given to the registry to create them."""

    def __init__(self, missing: tuple[str, ...], waited: float) -> None:
        self.missing: Final = missing
        super().__init__(
            f"expected the streams {', '.join(missing)} on the server, but they were still missing after "
            f"{waited:g} s; is a registry running? It creates them when it starts"
        )


class StorageError(ServiceError):
    """Raised when the server has not even room for the least that a stream needs."""

    def __init__(self, stream: str, asked: int, reason: str) -> None:
        self.stream: Final = stream
        super().__init__(
            f"the NATS server has no room for the stream {stream} ({asked // 2**20} MiB were asked for at last): "
            f"{reason}; free some disk, or raise the storage limit of JetStream"
        )
