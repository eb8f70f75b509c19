"""Settings of the worker."""

from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from afield import resources
from afield._wire.ids import is_token
from afield.exception import InvalidError
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
    gpus: list[str] | None = None
    """GPUs to give away, one kind for each device, as JSON: `["H100", "H100"]`; none given: those that NVML finds."""

    @field_validator("gpus")
    @classmethod
    def _are_devices(cls, gpus: list[str] | None) -> list[str] | None:
        for kind in gpus or ():
            try:
                request = resources.parse_gpu(kind)
            except InvalidError as error:
                raise ValueError(str(error)) from None
            if request.quantity != 1 or ":" in kind or request.name == "ANY":
                raise ValueError(f"expected one kind for each device, like 'H100', got {kind!r}")
        return gpus

    @model_validator(mode="after")
    def _has_token_id(self) -> Self:
        if self.worker_id and not is_token(self.worker_id):
            raise ValueError(f"expected a worker id of letters, digits, '-' and '_', got {self.worker_id!r}")
        return self
