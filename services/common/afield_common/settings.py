"""Settings of a service, from environment variables (`AFIELD_...`) and command line flags.

Flags win over variables, variables over the defaults. A service adds fields in a subclass of its own.
"""

import ast
import inspect
import re
import socket
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError, create_model, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from afield import config
from afield._bus.connection import BusAddress
from afield._wire.ids import is_token

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "console", "json"]


def default_host() -> str:
    """Return this machine's name as a host id: equal for all processes that share its blob folder."""
    return "".join(c if c.isalnum() else "-" for c in socket.gethostname()) or "localhost"


def default_run_dir() -> Path:
    """Return the folder for sockets and container homes."""
    return config.state_dir() / "run"


def default_blob_dir() -> Path:
    """Return the folder of the host-local blob tier."""
    return default_run_dir() / "blobs"


class Settings(BaseSettings):
    """What every service must know."""

    model_config = SettingsConfigDict(
        env_prefix="AFIELD_",
        extra="ignore",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        frozen=True,
    )

    server: str = "nats://127.0.0.1:4222"
    """URL of the NATS server."""
    token: SecretStr = SecretStr("")
    """`<role>:<secret>`: the NATS user and its password; empty for a server without users."""
    environment: str = "main"
    """The environment (`<ws>` in subjects) for what names none."""
    host: str = Field(default_factory=default_host)
    """Host id: equal for all processes that share `blob_dir`."""
    blob_dir: Path = Field(default_factory=default_blob_dir)
    """Folder of the host-local blob tier."""
    cache_dir: Path = Field(default_factory=config.cache_dir)
    """Folder for what can be fetched again: code bundles."""
    run_dir: Path = Field(default_factory=default_run_dir)
    """Folder for sockets and container homes."""
    shards: int = Field(default=1, ge=1, le=64)
    """How many input streams there are."""
    log_level: LogLevel = "info"
    """What is less important is left out."""
    log_format: LogFormat = "auto"
    """`auto`: for people on a terminal, JSON otherwise."""
    drain_s: float = Field(default=10.0, ge=0)
    """Seconds that a stopping service waits for what still runs."""

    @field_validator("environment", "host")
    @classmethod
    def _is_token(cls, value: str) -> str:
        if not is_token(value):
            raise ValueError(f"expected letters, digits, '-' and '_' only, got {value!r}")
        return value

    @field_validator("token")
    @classmethod
    def _has_role(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and ":" not in value.get_secret_value():
            raise ValueError("expected <role>:<secret>, got a text without a colon")
        return value

    @classmethod
    def load(cls, argv: Sequence[str] = ()) -> Self:
        """Read the environment and the flags in `argv` (`--log-level debug`).

        Raises BAD_SETTINGS for values that do not fit (see `describe`); exits with status 2 on unknown flags, and with 0
        after `--help`.
        """
        made = cls._for_help() if {"-h", "--help"} & set(argv) else cls
        name = f"python -m {cls.__module__.partition('.')[0]}"
        return made(_cli_parse_args=list(argv), _cli_prog_name=name)

    @classmethod
    def _for_help(cls) -> type[Self]:
        """Return these settings with their defaults as people read them."""
        said = _docstrings(cls)
        fields: dict[str, Any] = {}
        for name, field in cls.model_fields.items():
            if field.is_required():
                fields[name] = (field.annotation, Field(description=said.get(name)))
                continue
            default = field.get_default(call_default_factory=True)
            if isinstance(default, SecretStr):
                default = default.get_secret_value()
            secret = field.annotation is SecretStr
            if default in ("", {}):
                default = "none"
            shown = Field(default=default, description=said.get(name))
            fields[name] = (str if secret else field.annotation, shown)
        return create_model(cls.__name__, __base__=cls, __doc__=cls.__doc__, **fields)

    @property
    def address(self) -> BusAddress:
        """Where to connect to, and as whom."""
        user, _, password = self.token.get_secret_value().partition(":")
        return BusAddress(self.server, user, password)


def _docstrings(cls: type[Settings]) -> dict[str, str]:
    """Return what stands below each field in the source.

    pydantic can do that too, for every class and at every start: a fifth of a service's time to import.
    """
    said: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if issubclass(each, Settings):
            made = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
            assert isinstance(made, ast.ClassDef)
            said |= dict(filter(None, map(_described, made.body, made.body[1:])))
    return said


def _described(field: ast.stmt, below: ast.stmt) -> tuple[str, str] | None:
    match field, below:
        case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
            return name, inspect.cleandoc(text)
    return None


BAD_SETTINGS: Final = (ValidationError, SettingsError)
"""What reading settings raises."""

_EXPECTED: Final = {
    "float_parsing": "a number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_parsing": "true or false",
    "string_type": "a string",
    "list_type": "a JSON list",
    "dict_type": "a JSON object",
    "finite_number": "a finite number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
}
"""By the name that pydantic gives to an error. Others are told in its own words."""


def describe(error: ValueError) -> str:
    """Say what is wrong with settings, by an error of BAD_SETTINGS: one line each, with the variable to set."""
    if not isinstance(error, ValidationError):
        named = re.search(r'field "(\w+)"', str(error))
        where = f"AFIELD_{named[1].upper()}: " if named else ""
        return f"{where}expected JSON: {error.__cause__ or error}"
    lines = []
    for each in error.errors():
        field, *inside = each["loc"]
        place = "".join(f"[{part!r}]" for part in inside)
        expected = _EXPECTED.get(each["type"])
        said = each["msg"].removeprefix("Value error, ")
        if expected is not None:
            said = f"expected {expected.format(**each.get('ctx', {}))}, got {each['input']!r}"
        lines.append(f"AFIELD_{str(field).upper()}{place}: {said}")
    return "\n".join(lines)
