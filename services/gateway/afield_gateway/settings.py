"""Settings of the gateway."""

from pydantic import Field, SecretStr, field_validator

from afield_common.settings import Settings


class GatewaySettings(Settings):
    """What the gateway must know besides what every service must."""

    gateway_host: str = "127.0.0.1"
    """Address to listen on."""
    gateway_port: int = Field(default=0, ge=0, le=65535)
    """Port to listen on; 0 takes a free one, which the readiness line tells."""
    gateway_token: SecretStr
    """What callers send as `Authorization: Bearer <token>`. Required: there is no open gateway."""
    gateway_max_body: int = Field(default=16 * 2**20, ge=1024)
    """Bytes of a request body; a longer one is refused with 413."""
    gateway_call_timeout: float = Field(default=300.0, gt=0)
    """Seconds that a request waits for its result, and the most that a caller may ask for with `?timeout=`."""

    @field_validator("gateway_token")
    @classmethod
    def _is_printable(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if not text or not text.isascii() or any(c.isspace() for c in text):
            raise ValueError(
                "expected a token of ASCII characters without blanks: it travels in an HTTP header"
            )
        return value
