"""Calls that inputs made, and what becomes of them when the input ends."""

from typing import Any

import pytest

from afield._wire.functions import Concurrency
from afield._wire.messages import Children, InputResult
from afield_worker import offspring
from support.pool import CALL, World, pack, raised, retries

PARENT = "in-session-0-1-0"
"""The first input of CALL."""


def tell(world: World, *calls: str, container: str = "ta-1", **fields: Any) -> None:
    """Let the container of the input tell of calls that it made."""
    message = Children(
        **{"container_id": container, "parent": PARENT, "ws": "main", "call_ids": calls, **fields}
    )
    world.take(world.pool.children(message))


def cancel(world: World) -> None:
    """Cancel the input, and let the guest heed that."""
    world.take(world.pool.cancels.call(CALL, (0,), world.now))
    world.answer("ta-1", InputResult(index=0, status="cancelled"))


def test_the_calls_of_a_cancelled_input_are_cancelled(world: World) -> None:
    """Those that it waited for and those that it spawned, in their environments."""
    world.container()
    world.deliver(pack())
    tell(world, "a", "b")
    tell(world, "c", ws="other", spawned=True)
    cancel(world)
    assert world.cancelled_calls == ["a", "b", "c"]


@pytest.mark.parametrize("status", ["ok", "error"])
def test_the_calls_of_an_input_that_ended_by_itself_are_let_alone(world: World, status: Any) -> None:
    """Its client has seen to them."""
    world.container()
    world.deliver(pack())
    tell(world, "a")
    error = raised() if status == "error" else None
    world.answer("ta-1", InputResult(index=0, status=status, value=b"", error=error))
    world.exit(exit_code=0)
    assert not world.cancelled_calls


def test_a_lost_container_takes_the_calls_that_it_waited_for_along(world: World) -> None:
    """What it spawned goes on: its next attempt, or nobody, may ask for that."""
    world.container()
    world.deliver(pack())
    tell(world, "waited")
    tell(world, "spawned", spawned=True)
    world.exit(signal=9)
    assert world.cancelled_calls == ["waited"]


def test_calls_that_are_over_are_forgotten(world: World) -> None:
    """Nothing is cancelled that has ended."""
    world.container()
    world.deliver(pack())
    tell(world, "a", "b")
    tell(world, "a", over=True)
    cancel(world)
    assert world.cancelled_calls == ["b"]


def test_what_is_told_too_late_is_still_cancelled(world: World) -> None:
    """The news of a call may come after the end of its input."""
    world.container()
    world.deliver(pack())
    cancel(world)
    tell(world, "a", spawned=True)
    assert world.cancelled_calls == ["a"]


def test_what_a_container_told_before_it_was_lost_is_cancelled(world: World) -> None:
    """Its last words come after its end; spawned calls go on."""
    world.container()
    world.exit(signal=9)
    tell(world, "waited")
    tell(world, "spawned", spawned=True)
    tell(world, "ended", over=True)
    assert world.cancelled_calls == ["waited"]


def test_news_of_an_input_that_ended_well_are_nothing(world: World) -> None:
    """Its container lives."""
    world.container()
    tell(world, "a")
    assert not world.cancelled_calls


def test_a_timeout_that_is_heeded_cancels_nothing(world: World) -> None:
    """The interrupted client does that itself."""
    world.container(timeout=1.0, retries=retries(1))
    world.deliver(pack())
    tell(world, "a")
    world.wait(1.0)
    world.fail("ta-1", 0, raised("timeout"), run_s=1.0)
    assert not world.cancelled_calls


def test_each_input_of_a_pack_has_its_own(world: World) -> None:
    """The calls of the one that was cancelled end before the others do."""
    world.container()
    world.deliver(pack(0, 2))
    tell(world, "a")
    tell(world, "b", parent="in-session-0-1-1")
    cancel(world)
    assert world.cancelled_calls == ["a"]


def test_neighbours_in_the_same_container_are_let_alone(world: World) -> None:
    """Two inputs run side by side."""
    world.container(concurrency=Concurrency(max_inputs=2))
    world.deliver(pack(0))
    world.deliver(pack(1))
    tell(world, "a")
    tell(world, "b", parent="in-session-0-1-1")
    world.take(world.pool.cancels.call(CALL, (1,), world.now))
    held = next(h for h in world.packs() if h.pack.first == 1)
    world.answer("ta-1", InputResult(index=1, status="cancelled"), token=held.token)
    assert world.cancelled_calls == ["b"]


def test_what_is_remembered_of_one_input_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest calls are forgotten."""
    monkeypatch.setattr(offspring, "MOST_CALLS", 2)
    world.container()
    world.deliver(pack())
    tell(world, "a", "b", "c")
    cancel(world)
    assert world.cancelled_calls == ["b", "c"]


def test_an_id_that_is_none_is_ignored(world: World) -> None:
    """Whatever a container says."""
    world.container()
    world.deliver(pack())
    for parent in ("", "in", "in-x", "in-session-0-1-", "in-session-0-1-99"):
        tell(world, "a", parent=parent)
    assert not world.cancelled_calls
