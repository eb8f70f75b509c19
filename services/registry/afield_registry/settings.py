"""Settings of the registry."""

from pydantic import Field, field_validator

from afield._wire.streams import REPLICAS
from afield_common.settings import Settings


class RegistrySettings(Settings):
    """What the registry must know."""

    heartbeat_s: float = Field(default=15.0, gt=0)
    """Seconds between the heartbeats that the client of an ephemeral app owes."""
    storage_mib: int = Field(default=0, ge=0)
    """MiB that the disk of the NATS server has for its streams; 0: nobody knows, the server will say what it can have."""
    replicas: int = 1
    """Servers of a NATS cluster that keep each stream: 3 survive the loss of one. Holds for streams that are created."""
    max_queued: int | None = Field(default=None, ge=0)
    """Messages that each input stream takes at most, before callers are refused: a single call is one, a map has up to 64
    inputs in one. 0: as many as the NATS server has storage for. Left as the streams are, if not given."""
    keep_stopped_s: float = Field(default=86_400.0, ge=0)
    """Seconds that the record of a stopped app is kept."""

    @field_validator("replicas")
    @classmethod
    def _makes_sense(cls, value: int) -> int:
        if value not in REPLICAS:
            raise ValueError("expected 1, 3 or 5 replicas: others survive no more than one less does")
        return value
