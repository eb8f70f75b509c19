"""Misspelt names."""

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
