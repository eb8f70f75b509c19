"""The roles on the bus, each a NATS user, and their passwords."""

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

Role = Literal["registry", "scheduler", "worker", "gateway", "client", "guest", "operator"]
Service = Literal["registry", "scheduler", "worker", "gateway"]

SecretName = Role | Literal["http"]
"""`http` is the bearer token of the gateway."""

SERVICES: Final[tuple[Service, ...]] = get_args(Service)


def make_secrets(known: Mapping[str, Any] | None = None) -> dict[SecretName, str]:
    """Return a fresh secret for each name; those in `known` stay, so clients survive a restart of their platform."""
    import secrets  # only a supervisor makes them

    known = known or {}
    names: tuple[SecretName, ...] = (*get_args(Role), "http")
    return {name: str(known.get(name) or secrets.token_urlsafe(24)) for name in names}
