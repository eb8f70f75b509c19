"""Functions that wait for functions: what they hold never keeps those that they wait for from running."""

from types import ModuleType


def test_function_that_calls_itself(fleet: ModuleType) -> None:
    """Every level waits for the next one; a host of few cores gets through."""
    assert fleet.fibonacci.remote(7) == 13


def test_function_that_calls_itself_twice_at_once(fleet: ModuleType) -> None:
    """All branches are under way at the same time."""
    assert fleet.fibonacci_at_once.remote(6) == 8


def test_map_of_a_function_that_maps(fleet: ModuleType) -> None:
    """Sixteen callers with a core reserved for each, more than there are, and twenty inputs for each of them."""
    assert list(fleet.sum_of_squares.map([20] * 16)) == [2470] * 16
