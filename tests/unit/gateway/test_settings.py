"""Settings of the gateway."""

import pytest
from pydantic import ValidationError

from afield_common.main import run_service
from afield_gateway.service import GatewayService
from afield_gateway.settings import GatewaySettings


def test_the_environment_configures_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables carry the prefix of all services."""
    monkeypatch.setenv("AFIELD_GATEWAY_PORT", "8123")
    monkeypatch.setenv("AFIELD_GATEWAY_TOKEN", "abc")

    settings = GatewaySettings.load()

    assert (settings.gateway_host, settings.gateway_port) == ("127.0.0.1", 8123)
    assert settings.gateway_token.get_secret_value() == "abc"


@pytest.mark.parametrize("token", ["", "two words", "naïve", "line\nbreak"])
def test_a_token_must_fit_into_a_header(token: str) -> None:
    """What HTTP could not carry is refused at the start, not at the first request."""
    with pytest.raises(ValidationError, match="HTTP header"):
        GatewaySettings(gateway_token=token)


def test_the_token_is_not_shown() -> None:
    """Printing the settings does not tell the secret."""
    assert "hunter2" not in repr(GatewaySettings(gateway_token="hunter2"))


def test_a_gateway_without_a_token_does_not_start(capfd: pytest.CaptureFixture[str]) -> None:
    """There is no open gateway: the variable to set is named, with exit status 2."""
    status = run_service(GatewayService, GatewaySettings, [])

    assert status == 2
    assert "AFIELD_GATEWAY_TOKEN" in capfd.readouterr().err
