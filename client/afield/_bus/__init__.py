"""What nats-py lacks: a connection that heals, and JetStream at the speed and with the care that we need."""

from afield._bus.connection import Bus, BusAddress
from afield._bus.errors import (
    ApiFailure,
    ApiRefusedError,
    BlobCorruptError,
    BlobNotFoundError,
    BusBufferFullError,
    BusClosedError,
    BusConnectError,
    BusError,
    BusTimeoutError,
    ConflictError,
    ConnectionLostError,
    ConsumerGoneError,
    NoRespondersError,
    PayloadTooLargeError,
    PublishRefusedError,
    PublishTimeoutError,
    StreamFullError,
)
from afield._bus.msg import Msg
from afield._bus.publisher import RESULT_EXISTS, STREAM_FULL, PubAck, Publisher
from afield._bus.subscription import Subscription

__all__ = [
    "Bus",
    "BusAddress",
    "Msg",
    "Subscription",
    "PubAck",
    "Publisher",
    "RESULT_EXISTS",
    "STREAM_FULL",
    "ApiFailure",
    "ApiRefusedError",
    "BlobCorruptError",
    "BlobNotFoundError",
    "BusBufferFullError",
    "BusClosedError",
    "BusConnectError",
    "BusError",
    "BusTimeoutError",
    "ConflictError",
    "ConnectionLostError",
    "ConsumerGoneError",
    "NoRespondersError",
    "PayloadTooLargeError",
    "PublishRefusedError",
    "PublishTimeoutError",
    "StreamFullError",
]
