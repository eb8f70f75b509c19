"""What can be called in a container."""

import pytest

from afield._guest.targets import Target, Targets
from afield.exception import ExecutionError

PLAIN = Target(len, is_generator=False, is_async=False)
ASYNC = Target(len, is_generator=False, is_async=True)


def test_a_method_is_found_by_name() -> None:
    """Each is what it was said to be."""
    assert Targets("C", {"a": PLAIN, "b": ASYNC}).find("b") is ASYNC


def test_what_is_not_there_is_told_with_what_is() -> None:
    """When it is called: the caller's code may be of another day."""
    found = Targets("C", {"b": ASYNC, "a": PLAIN}).find("c")

    with pytest.raises(ExecutionError, match=r"method of C .it has a, b., got 'c'"):
        found.call(1, x=2)


def test_the_only_one_is_asked_for_without_a_name() -> None:
    """For batches, whose class has no other."""
    assert Targets("f", {"": ASYNC}).only is ASYNC
    with pytest.raises(ExecutionError, match="one thing to call in C, got 2"):
        _ = Targets("C", {"a": PLAIN, "b": PLAIN}).only
