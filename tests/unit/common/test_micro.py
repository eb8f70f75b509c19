"""afield_common.micro: what the caller is told of an error."""

import pytest

from afield._bus.errors import ApiFailure, BusTimeoutError
from afield_common.errors import RefusedError
from afield_common.micro import explain


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RefusedError("not_found", "no app"), "not_found"),
        (ApiFailure("conflict", "stopped"), "conflict"),
        (BusTimeoutError("no answer"), "unavailable"),
        (KeyError("x"), "internal"),
        (ExceptionGroup("tasks", [RefusedError("invalid", "bad name")]), "invalid"),
    ],
)
def test_each_fault_has_its_code(error: Exception, code: str) -> None:
    """The caller's fault, a peer's refusal, an outage and our own bug are told apart."""
    assert explain("registry.app.get", error).code == code


def test_internal_error_names_itself() -> None:
    """Even a bug says what and where."""
    message = explain("registry.app.get", KeyError("x")).message
    assert message == "registry.app.get: KeyError: 'x'"
