"""afield_registry.validation: clear words for what cannot be."""

from typing import Any

import pytest

from afield._wire.functions import CodeRef, FunctionSpec, Resources, RetryPolicy, Scaling
from afield_common.errors import RefusedError
from afield_registry import validation
from support.records import create, publish, spec


def refusal(check: Any, *args: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        check(*args)
    assert caught.value.code == "invalid"
    return caught.value.message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ws": "a.b"}, "a.b"),
        ({"name": "no spaces"}, "no spaces"),
        ({"name": "ap-" + "a" * 16}, "app id"),
        ({"session": ""}, "session"),
        ({"state": "stopped"}, "stopped"),
    ],
)
def test_bad_apps(changes: dict[str, Any], says: str) -> None:
    """Each complaint names what came."""
    assert says in refusal(validation.check_app, create(**changes))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (spec("two words"), "two words"),
        (spec(code=CodeRef(module="", qualname="")), "neither"),
        (spec(code=CodeRef(module="m", qualname="f", bundle="abc")), "SHA-256"),
        (spec(timeout=0.0), "timeout"),
        (spec(startup_timeout=1e9), "startup timeout"),
        (spec(env={"A=B": "1"}), "A=B"),
        (spec(resources=Resources(cpu=-1.0)), "cpu"),
        (spec(resources=Resources(cpu=2.0, cpu_limit=1.0)), "cpu limit"),
        (spec(resources=Resources(memory_mib=-1)), "memory"),
        (spec(resources=Resources(memory_mib=512, memory_limit_mib=256)), "memory limit"),
        (spec(scaling=Scaling(min_containers=-1)), "min_containers"),
        (spec(scaling=Scaling(buffer_containers=-1)), "buffer_containers"),
        (spec(scaling=Scaling(min_containers=3, max_containers=2)), "max_containers"),
        (spec(scaling=Scaling(max_containers=0)), "max_containers"),
        (spec(scaling=Scaling(scaledown_window=-1.0)), "scaledown"),
        (spec(retries=RetryPolicy(max_retries=-1)), "max_retries"),
        (spec(retries=RetryPolicy(initial_delay=-1.0)), "delays"),
    ],
)
def test_bad_functions(bad: FunctionSpec, says: str) -> None:
    """Each complaint names the function and the field."""
    message = refusal(validation.check_functions, publish(bad))
    assert says in message
    assert bad.name in message


def test_names_are_unique_in_a_request() -> None:
    """Two functions of one name cannot both be published."""
    assert "'f'" in refusal(validation.check_functions, publish(spec("f"), spec("f")))


def test_good_requests_pass() -> None:
    """What is allowed is allowed: no name, dots, serialised code, a limit above the request."""
    validation.check_app(create(name="", state="detached"))
    serialized = spec("a.b-c_d", code=CodeRef(module="", qualname="", serialized="0" * 64))
    limited = spec("g", resources=Resources(cpu=1.0, cpu_limit=2.0, memory_mib=1, memory_limit_mib=1))
    validation.check_functions(publish(serialized, limited))
