"""Functions without a platform: what can be done, and what is said when it cannot."""

import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest

from afield import App, Function, FunctionCall
from afield._wire.api import FunctionRef
from afield.exception import InvalidError, UnimplementedError

app = App("demo")


@app.function()
def double(x: int) -> int:
    return 2 * x


@app.function()
async def later(x: int) -> int:
    return x


@app.function()
def produce() -> Any:
    yield 1


def test_local_runs_the_function_here() -> None:
    """No platform is involved."""
    assert double.local(4) == 8
    assert list(produce.local()) == [1]


@pytest.mark.anyio
async def test_local_of_an_async_function_is_awaited() -> None:
    """It returns what the function returns: a coroutine."""
    assert await later.local(3) == 3


def test_calling_it_directly_says_what_to_write() -> None:
    """`f()` could mean two things."""
    with pytest.raises(InvalidError, match=r"double\.remote.*double\.local"):
        double(4)  # type: ignore[operator]  # checkers know, too


@pytest.mark.parametrize(
    "call",
    [
        lambda: double.remote(1),
        lambda: double.spawn(1),
        lambda: double.map([1]),
        lambda: double.starmap([(1,)]),
        lambda: double.for_each([1]),
        lambda: double.spawn_map([1]),
        lambda: produce.remote_gen(),
        lambda: double.object_id,
    ],
)
def test_calling_outside_of_a_run_says_what_to_do(call: Callable[[], Any]) -> None:
    """The message names the function and the ways out."""
    with pytest.raises(InvalidError, match=r"has not been hydrated.*with app\.run\(\).*\.local\(\)"):
        call()


@pytest.mark.anyio
async def test_calling_outside_of_a_run_asynchronously() -> None:
    """The asynchronous forms say the same."""
    with pytest.raises(InvalidError, match="hydrated"):
        await double.remote.aio(1)
    with pytest.raises(InvalidError, match="hydrated"):
        await double.spawn.aio(1)
    with pytest.raises(InvalidError, match="hydrated"):
        double.map.aio([1])


@pytest.mark.parametrize("name", ["", "a b", "x" * 65])
def test_names_that_cannot_exist_are_refused(name: str) -> None:
    """Before anything is looked up."""
    with pytest.raises(InvalidError):
        Function.from_name("app", name)
    with pytest.raises(InvalidError):
        Function.from_name(name, "f")


def test_looking_up_is_lazy() -> None:
    """No platform is started by a look-up at module level."""
    function = Function.from_name("app", "f")

    assert function._binding is None
    assert repr(function) == "Function('f')"


def test_what_was_looked_up_has_no_code_here() -> None:
    """It can only be run remotely."""
    with pytest.raises(InvalidError, match=r"\.remote"):
        Function.from_name("app", "f").local(1)


def test_from_id_wants_an_id() -> None:
    """Other ids are refused."""
    with pytest.raises(InvalidError, match="fu-"):
        Function.from_id("ap-1")


def test_versions_are_not_available() -> None:
    """A parameter that would be ignored is refused."""
    with pytest.raises(UnimplementedError, match="version"):
        Function.from_name("app", "f", version=2)


def test_what_is_missing_says_so() -> None:
    """There are no web endpoints."""
    with pytest.raises(UnimplementedError, match="get_web_url"):
        double.get_web_url()


def test_in_a_container_functions_of_the_app_are_looked_up() -> None:
    """The guest tells the app what it runs for; its functions then know how to be found."""
    inside = App("demo")
    function: Function[..., Any, Any] = inside.function(name="f")(double.raw_f)
    inside._bind_remote(app_id="ap-1", ws="main")

    assert function._reference_now() == FunctionRef(ws="main", app_id="ap-1", name="f")
    assert inside.app_id == "ap-1"


def test_function_travels_as_a_reference() -> None:
    """A function as an argument is found again on the other side."""
    copy = pickle.loads(pickle.dumps(Function.from_name("app", "f")))

    assert copy._reference == FunctionRef(ws="main", app_name="app", name="f")


def test_function_of_an_app_that_does_not_run_cannot_travel() -> None:
    """There would be nothing to find."""
    with pytest.raises(InvalidError, match="hydrated"):
        pickle.dumps(double)


def test_interactive_check_leaves_modules_alone() -> None:
    """Functions of modules with a file are imported in containers, not sent by value."""
    assert double._declared is not None
    assert not double._declared.serialized
    assert FunctionCall.from_id("fc-abc-0-1").object_id == "fc-abc-0-1"
    assert sys.modules[double.__module__].__file__
