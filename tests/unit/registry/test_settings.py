"""Settings of the registry."""

import pytest
from pydantic import ValidationError

from afield_registry.settings import RegistrySettings


def test_replicas_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """One, three or five."""
    assert RegistrySettings().replicas == 1
    monkeypatch.setenv("AFIELD_REPLICAS", "3")
    assert RegistrySettings().replicas == 3
    monkeypatch.setenv("AFIELD_REPLICAS", "2")
    with pytest.raises(ValidationError, match="expected 1, 3 or 5"):
        RegistrySettings()
