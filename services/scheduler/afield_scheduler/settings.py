"""Settings of the scheduler."""

from pydantic import Field

from afield_common.settings import Settings


class SchedulerSettings(Settings):
    """What the scheduler must know."""

    look_s: float = Field(default=1.0, gt=0)
    """Seconds between looks at the backlog of a function that has inputs or containers."""
    sweep_s: float = Field(default=10.0, gt=0)
    """Seconds between looks at all functions, which find what a lost wake-up left behind."""
    start_timeout_s: float = Field(default=10.0, gt=0)
    """Seconds after which a container that its worker never showed counts as not started."""
