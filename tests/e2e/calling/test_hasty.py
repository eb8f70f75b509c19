"""Quick functions, whose containers have their next inputs at hand, when something takes long or goes wrong."""

import asyncio
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from afield import exception

BURST = 200


def burst(function: Any, *arguments: Any) -> list[Any]:
    """Call a function with each of the arguments, all at once, from a loop; return what each call gave or raised."""

    async def calls() -> list[Any]:
        return await asyncio.gather(
            *[function.remote.aio(each) for each in arguments], return_exceptions=True
        )

    return asyncio.run(calls())


def test_what_is_slow_holds_up_nobody_else(hasty: ModuleType) -> None:
    """Calls that were behind it in its container run in others, long before it has ended."""
    burst(hasty.take, *[0] * BURST)
    ends = burst(hasty.take, *[0] * 50, 5, *[0] * BURST)
    slow = ends.pop(50)
    assert max(ends) < slow - 1


def test_in_one_container_all_wait_for_what_is_slow(hasty: ModuleType) -> None:
    """What was given back is sent again, and nothing runs beside the other."""
    burst(hasty.alone, *[0] * BURST)
    begins = burst(hasty.alone, *[0] * 50, 1, *[0] * BURST)
    began = begins.pop(50)
    assert not [each for each in begins if began < each < began + 1]
    assert len(begins) == BURST + 50


def test_who_hears_nothing_gives_back_nothing(hasty: ModuleType) -> None:
    """Code that does not look up for a while: all calls come to their end all the same."""
    burst(hasty.deaf, *[0] * BURST)
    rounds = 1_000_000
    results = burst(hasty.deaf, *[0] * 20, rounds, *[0] * BURST)
    assert sorted(results) == [0] * (BURST + 20) + [rounds]


def test_only_what_is_late_is_interrupted(hasty: ModuleType) -> None:
    """The calls behind it have a second of their own, which begins when they do."""
    burst(hasty.limited, *[0.001] * BURST)
    results = burst(hasty.limited, *[0.001] * 20, 30, *[0.001] * 20, 0.5, 0.5)
    assert isinstance(results.pop(20), exception.FunctionTimeoutError)
    assert results == [0.001] * 40 + [0.5, 0.5]


def test_the_end_of_a_container_costs_nobody_else_an_attempt(hasty: ModuleType, tmp_path: Path) -> None:
    """What it had not begun runs elsewhere, once."""
    names = [f"in-{number}" for number in range(BURST)]
    asyncio.run(_notes(hasty, tmp_path, [f"before-{number}" for number in range(BURST)]))
    results = asyncio.run(_notes(hasty, tmp_path, [*names[:50], "end", *names[50:]]))
    assert isinstance(results.pop(50), exception.ContainerLostError)
    assert results == names
    assert {(tmp_path / name).read_text() for name in names} == {"x"}


async def _notes(hasty: ModuleType, folder: Path, names: list[str]) -> list[Any]:
    calls = [hasty.note.remote.aio(str(folder), name) for name in names]
    return await asyncio.gather(*calls, return_exceptions=True)


def test_a_quick_function_that_calls_itself(hasty: ModuleType) -> None:
    """A call never waits for good behind the one that waits for it."""
    burst(hasty.ask, *[0] * BURST)
    assert burst(hasty.ask, *[0] * 50, 4, *[0] * 50, 4) == [0] * 50 + [4] + [0] * 50 + [4]


def test_cancelled_calls_end_at_once(hasty: ModuleType) -> None:
    """Also those that a container has, and has not begun."""
    burst(hasty.alone, *[0] * BURST)
    slow = hasty.alone.spawn(2)
    others = [hasty.alone.spawn(0) for _ in range(20)]
    for call in others[::2]:
        call.cancel()
    for call in others[::2]:
        with pytest.raises(exception.CallCancelledError):
            call.get(timeout=20)
    began = slow.get(timeout=20)
    begins = [call.get(timeout=20) for call in others[1::2]]
    assert not [each for each in begins if began < each < began + 2]
