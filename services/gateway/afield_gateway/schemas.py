"""What travels over HTTP, as types: requests are checked against them, the OpenAPI document is made from them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CallRequest(_Body):
    """Arguments of a call."""

    args: list[Any] = Field(default=[], description="Positional arguments.")
    kwargs: dict[str, Any] = Field(default={}, description="Keyword arguments.")


class CallResponse(_Body):
    """What the function returned."""

    result: Any = Field(description="The returned value; tuples become arrays.")


class ProblemBody(_Body):
    """A problem as of RFC 9457. The members after `instance` are there when they apply."""

    type: str = Field(description="Identifies the kind of problem: `urn:afield:problem:<kind>`.")
    title: str = Field(description="The kind of problem in a few words, the same each time.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was expected, what came, what to do.")
    instance: str | None = Field(default=None, description="The id of the call, when there is one.")
    exception: str | None = Field(default=None, description="Qualified name of the exception's class.")
    traceback: str | None = Field(default=None, description="The traceback in the container, as text.")
    exit_code: int | None = Field(default=None, description="Exit code of the container.")
    signal: int | None = Field(default=None, description="Signal that ended the container.")
    logs: list[str] | None = Field(default=None, description="The last lines that the container wrote.")
    suggestions: list[str] | None = Field(default=None, description="Names that exist and look alike.")


class Check(_Body):
    """One thing that the gateway needs, and whether it answers."""

    ok: bool
    seconds: float = Field(description="How long the answer took.")
    detail: str = Field(default="", description="What is wrong.")


class Health(_Body):
    """Whether calls can be made now."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, Check]
