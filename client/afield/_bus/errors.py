"""What can go wrong between us and the bus.

`BusError` is the root. Those that also are a ValueError are the caller's fault and are raised before anything is sent.
"""


class BusError(Exception):
    """The bus did not do what was asked."""


class BusClosedError(BusError):
    """The bus was closed while, or before, the operation ran."""


class BusConnectError(BusError):
    """No connection could be made."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"expected a NATS server that lets us in at {url}, but: {reason}")
        self.url = url
        self.reason = reason


class BusTimeoutError(BusError, TimeoutError):
    """No answer came before the deadline."""


class PublishTimeoutError(BusTimeoutError):
    """A publish was not acknowledged before its deadline. Whether it was stored is not known."""


class ConnectionLostError(BusError):
    """The connection broke while a request was under way. Whether it was carried out is not known."""


class NoRespondersError(BusError):
    """Nobody listens on the subject: no service for a request, no stream for a publish."""


class BusBufferFullError(BusError):
    """More is waiting to be sent than the bus may hold back; slow down, or wait for `publisher.ready()`."""


class PayloadTooLargeError(BusError, ValueError):
    """A message is larger than the server takes (its payload and its headers count)."""

    def __init__(self, subject: str, size: int, limit: int) -> None:
        super().__init__(
            f"a message to {subject} has {size:,} bytes (with its headers), the server takes {limit:,}: "
            f"send a blob and a reference to it instead"
        )
        self.size = size
        self.limit = limit


class PublishRefusedError(BusError):
    """The stream refused a message. `err_code` is JetStream's, see RESULT_EXISTS and others in publisher.py."""

    def __init__(self, subject: str, err_code: int, description: str) -> None:
        super().__init__(f"the stream refused a message to {subject}: {description} ({err_code})")
        self.subject = subject
        self.err_code = err_code
        self.description = description


class StreamFullError(PublishRefusedError):
    """The stream has reached one of its limits, or the server's storage is full: nothing was stored, try again later."""


class ApiRefusedError(BusError):
    """JetStream's own API refused a request."""

    def __init__(self, subject: str, err_code: int, description: str) -> None:
        super().__init__(f"JetStream refused {subject}: {description} ({err_code})")
        self.err_code = err_code
        self.description = description


class ConflictError(BusError):
    """A compare-and-set lost: the key has another revision than expected. `revision` is the expected one."""

    def __init__(self, bucket: str, key: str, revision: int) -> None:
        expected = f"revision {revision}" if revision else "no value"
        super().__init__(
            f"expected {expected} under {key!r} in bucket {bucket}, but somebody changed it: read it again"
        )
        self.bucket = bucket
        self.key = key
        self.revision = revision


class ConsumerGoneError(BusError):
    """The consumer of a pull loop does not exist (any more)."""

    def __init__(self, stream: str, consumer: str, reason: str) -> None:
        super().__init__(f"consumer {consumer} on stream {stream} is gone: {reason}")
        self.stream = stream
        self.consumer = consumer


class BlobNotFoundError(BusError):
    """There is no such blob (or it was deleted, or its time ran out)."""


class BlobCorruptError(BusError):
    """A blob's bytes are not those that were stored."""


class ApiFailure(BusError):  # noqa: N818 - a reply of a service, named as in the contract
    """A service of the platform answered a request with an error. `code` is one of `_wire.api.ErrorCode`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
