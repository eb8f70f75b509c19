"""afield_registry.validation: clear words for what cannot be."""

from typing import Any

import pytest

from afield._wire.api import BindFunction
from afield._wire.functions import (
    Batching,
    CodeRef,
    Concurrency,
    FunctionSpec,
    MethodSpec,
    Options,
    ParameterSpec,
    Resources,
    RetryPolicy,
    Scaling,
)
from afield_common.errors import RefusedError
from afield_registry import validation
from support.records import create, publish, spec

BATCHES = Batching(max_batch_size=8, wait_ms=10)
METHODS = {"m": MethodSpec()}


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
        (spec(resources=Resources(gpu=("H100:none",))), "H100:none"),
        (spec(concurrency=Concurrency(max_inputs=0)), "max_inputs"),
        (spec(concurrency=Concurrency(max_inputs=2, target_inputs=3)), "target_inputs"),
        (spec(batching=Batching(max_batch_size=0, wait_ms=1)), "max_batch_size"),
        (spec(batching=Batching(max_batch_size=1, wait_ms=600_001)), "wait_ms"),
        (spec(batching=BATCHES, is_generator=True), "generator"),
        (spec(batching=BATCHES, methods={"g": MethodSpec(is_generator=True)}), "generator"),
        (spec(batching=BATCHES, methods={"a": MethodSpec(), "b": MethodSpec()}), "one method"),
        (spec(methods={"no method": MethodSpec()}), "no method"),
        (spec(parameters=(ParameterSpec(name="p", kind="int"),)), "no class"),
        (spec(methods=METHODS, parameters=(ParameterSpec(name="p", kind="set"),)), "'set'"),
        (spec(methods=METHODS, parameters=(ParameterSpec(name="p", kind="int"),) * 2), "one parameter"),
        (spec(labels={"region": ()}), "region"),
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


@pytest.mark.parametrize(
    ("of", "changes", "says"),
    [
        (spec(), {"params": b"x"}, "no class"),
        (spec(methods=METHODS), {"params": b"x" * 300_000}, "300,000"),
        (spec(), {"options": Options(cpu_limit=2.0)}, "cpu_limit"),
        (spec(), {"options": Options(memory_limit_mib=2)}, "memory_limit_mib"),
    ],
)
def test_bad_variants(of: FunctionSpec, changes: dict[str, Any], says: str) -> None:
    """Arguments are for classes, and have a bound; a limit is said together with what is reserved."""
    request = BindFunction(ws="main", function_id="fu-1", **changes)
    assert says in refusal(validation.check_bind, request, of)


def test_a_class_with_all_there_is_passes() -> None:
    """Methods, parameters, concurrency, devices, labels."""
    whole = spec(
        "C",
        methods={"m": MethodSpec(), "gen": MethodSpec(is_generator=True)},
        parameters=(ParameterSpec(name="p", kind="int"), ParameterSpec(name="q", kind="str", required=False)),
        concurrency=Concurrency(max_inputs=10, target_inputs=4),
        resources=Resources(gpu=("H100:8", "A100-80GB", "any")),
        labels={"region": ("eu", "us")},
    )
    validation.check_functions(publish(whole))
