"""Settings of the registry."""

from pydantic import Field

from afield_common.settings import Settings


class RegistrySettings(Settings):
    """What the registry must know."""

    heartbeat_s: float = Field(default=15.0, gt=0)
    """Seconds between the heartbeats that the client of an ephemeral app owes."""
    storage_mib: int = Field(default=0, ge=0)
    """MiB that the disk of the NATS server has for its streams; 0: nobody knows, the server will say what it can have."""
    keep_stopped_s: float = Field(default=86_400.0, ge=0)
    """Seconds that the record of a stopped app is kept."""
