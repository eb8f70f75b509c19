"""Settings of the worker."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from afield._wire.ids import is_token
from afield_common.settings import Settings


class WorkerSettings(Settings):
    """What a worker must know beyond what every service does."""

    worker_id: str = ""
    """Empty: a fresh id at each start."""
    guest_token: SecretStr = SecretStr("")
    """`guest:<secret>`: the NATS user for user code in containers; empty for a server without users."""
    cpus: float = Field(default=0.0, ge=0)
    """Cores to give away; 0: those that this process may use."""
    memory_mib: int = Field(default=0, ge=0)
    """MiB to give away; 0: the memory of the host, or of our cgroup if that has less."""
    max_containers: int = Field(default=0, ge=0)
    """Containers at the same time, whatever they reserve; 0: 32 for each core, 64 at least."""
    labels: dict[str, str] = Field(default_factory=dict)
    """For placement, as JSON: `{"region": "eu"}`."""

    @model_validator(mode="after")
    def _has_token_id(self) -> Self:
        if self.worker_id and not is_token(self.worker_id):
            raise ValueError(f"expected a worker id of letters, digits, '-' and '_', got {self.worker_id!r}")
        return self
