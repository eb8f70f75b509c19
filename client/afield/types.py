"""Values that methods of afield's objects return."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FunctionAutoscalerSettings:
    """How many containers a function may have. None: no bound."""

    min_containers: int | None
    max_containers: int | None
    scaledown_window: int | None
    """Seconds that an idle container stays."""
    buffer_containers: int | None


@dataclass(frozen=True)
class FunctionCurrentStats:
    """How busy a function is, as the platform last heard."""

    backlog: int
    """Inputs that wait; of messages that carry several they are counted by their mean."""
    num_total_runners: int
    """Containers."""
    num_running_inputs: int
    input_headroom: int
    """Inputs that the containers could take besides."""
