"""Misspelt names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import afield
from afield import App
from afield._suggest import did_you_mean


def test_a_near_name_is_suggested() -> None:
    """What is far from everything suggests nothing."""
    assert did_you_mean("timout", ["timeout", "retries"]) == ": did you mean 'timeout'?"
    assert did_you_mean("xyz", ["timeout", "retries"]) == ""


def test_misspelt_names_of_the_interface_are_suggested() -> None:
    """Of the package, of a function, of a parameter and of a map's parameter."""
    app = App()
    function = app.function()(did_you_mean)

    with pytest.raises(AttributeError, match="did you mean 'Function'"):
        afield.Funtion  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean 'remote'"):
        function.remot  # noqa: B018
    with pytest.raises(
        TypeError, match=r"@app\.function\(\) has no parameter 'timout': did you mean 'timeout'"
    ):
        app.function(timout=3)  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"^Function\.map\(\) got .*'order_output': did you mean 'order_outputs'"
    ):
        function.map(range(3), order_output=False)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["Function", "Cls"])
def test_options_are_suggested(name: str) -> None:
    """Also of `with_options`."""

    def f() -> None: ...

    class C:
        @afield.method()
        def run(self) -> None: ...

    app = afield.App("a")
    made: Any = app.function(serialized=True)(f) if name == "Function" else app.cls(serialized=True)(C)
    with pytest.raises(TypeError, match=rf"{name}\.with_options\(\) has no parameter 'timout': did you mean"):
        made.with_options(timout=3)


untyped: Any = afield
"""For calls that type checkers refuse, too."""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: untyped.concurrent(max_input=3),
            r"afield\.concurrent\(\) .*'max_input': did you mean 'max_inputs'",
        ),
        (
            lambda: untyped.batched(max_batch_size=3, wait=1),
            r"afield\.batched\(\) .*'wait': did you mean 'wait_ms'",
        ),
        (lambda: untyped.batched(max_batch_size=3), r"afield\.batched\(\) missing .*'wait_ms'"),
        (
            lambda: untyped.Retries(max_retry=3),
            r"afield\.Retries\(\) .*'max_retry': did you mean 'max_retries'",
        ),
        (lambda: untyped.Retries(3), r"afield\.Retries\(\) takes its parameters by name only: max_retries, "),
        (
            lambda: untyped.parameter("x"),
            r"afield\.parameter\(\) takes its parameters by name only: default, init",
        ),
        (
            lambda: untyped.parameter(defualt="x"),
            r"afield\.parameter\(\) .*'defualt': did you mean 'default'",
        ),
        (lambda: untyped.enter(snapp=True), r"afield\.enter\(\) .*'snapp': did you mean 'snap'"),
        (lambda: untyped.method(generator=True), r"afield\.method\(\) .*: did you mean 'is_generator'"),
    ],
)
def test_wrong_calls_name_what_users_know(call: Callable[[], object], message: str) -> None:
    """Of decorators, and of classes: the public name, the parameter that was meant, and no frame of ours."""
    with pytest.raises(TypeError, match=f"^{message}") as caught:
        call()
    assert [entry.path for entry in caught.traceback] == [Path(__file__), Path(__file__)]


@pytest.mark.anyio
async def test_wrong_calls_of_what_runs_elsewhere_name_what_users_know() -> None:
    """In both forms: the error was raised in another thread, or on this loop."""
    function: Any = App().function(serialized=True)(did_you_mean)
    wrong = r"^Function\.update_autoscaler\(\) got .*'min_container': did you mean 'min_containers'"

    with pytest.raises(TypeError, match=wrong) as caught, pytest.warns(afield.exception.AsyncUsageWarning):
        function.update_autoscaler(min_container=1)
    assert [entry.path for entry in caught.traceback] == [Path(__file__)]
    with pytest.raises(TypeError, match=wrong) as caught:
        await function.update_autoscaler.aio(min_container=1)
    assert [entry.path for entry in caught.traceback] == [Path(__file__)]
    with pytest.raises(
        TypeError, match=r"^Function\.update_autoscaler\(\) takes its parameters by name only"
    ):
        await function.update_autoscaler.aio(1)
