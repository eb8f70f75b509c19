"""One implementation, two faces."""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from afield._portal import get_portal
from afield._sync import aiterate, answers, faces, iterate
from afield.exception import AsyncUsageWarning


class Told:
    """An outcome: a value, or an error to raise."""

    def __init__(self, value: int, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error
        self.thread = 0

    def unwrap(self) -> int:
        self.thread = threading.get_ident()
        if self.error is not None:
            raise self.error
        return self.value


class Thing:
    """An object with faces; `here` says whether it has a connection on the running loop."""

    here = False
    told = Told(7)

    def _is_here(self) -> bool:
        return self.here

    @faces
    async def where(self, add: int = 0) -> int:
        """Return the thread."""
        await asyncio.sleep(0)
        return threading.get_ident() + add

    @answers
    async def answer(self) -> Told:
        """Return an outcome."""
        return self.told


class Count:
    """Batches of numbers."""

    def __init__(self, *sizes: int) -> None:
        self.sizes = list(sizes)
        self.closed = False

    async def next_batch(self) -> Sequence[int] | None:
        return list(range(self.sizes.pop(0))) if self.sizes else None

    async def aclose(self) -> None:
        self.closed = True


def portal_thread() -> int:
    return Thing().where()


def test_blocking_face_runs_on_the_portal() -> None:
    """The call blocks this thread and runs on another."""
    assert portal_thread() != threading.get_ident()


def test_faces_keep_parameters() -> None:
    """Arguments are passed on."""
    assert Thing().where(add=5) == portal_thread() + 5


@pytest.mark.anyio
async def test_asynchronous_face_runs_here_when_it_can() -> None:
    """With a connection on this loop no other thread is involved."""
    thing = Thing()
    thing.here = True

    assert await thing.where.aio() == threading.get_ident()


@pytest.mark.anyio
async def test_asynchronous_face_is_bridged_when_it_must() -> None:
    """Without one, the call runs on the portal's loop, and this loop goes on."""
    assert await Thing().where.aio() != threading.get_ident()


@pytest.mark.anyio
async def test_blocking_face_in_a_loop_warns_and_names_the_other() -> None:
    """It still works, but whoever wrote it should know; the warning points at their line."""
    with pytest.warns(AsyncUsageWarning, match=r"await Thing\.where\.aio\(\)") as caught:
        Thing().where()

    assert caught[0].filename == __file__


def test_outcomes_are_unwrapped_by_the_caller() -> None:
    """User values are unpickled on the user's thread."""
    thing = Thing()
    thing.told = Told(7)

    assert thing.answer() == 7
    assert thing.told.thread == threading.get_ident()


def test_base_exceptions_of_outcomes_do_not_harm_the_portal() -> None:
    """What a function raised is raised to its caller only."""
    thing = Thing()
    thing.told = Told(0, SystemExit(3))

    with pytest.raises(SystemExit):
        thing.answer()
    assert portal_thread()


def test_own_errors_are_raised() -> None:
    """An error of the implementation reaches the caller as it is."""

    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        get_portal().run(fail)


def test_iterate_yields_across_batches_and_closes() -> None:
    """Batches come one by one, values too."""
    source = Count(2, 3)

    async def opener() -> Count:
        return source

    assert list(iterate(opener)) == [0, 1, 0, 1, 2]
    assert source.closed


def test_iterate_closes_when_left_early() -> None:
    """A consumer that stops ends the source."""
    source = Count(2, 3)

    async def opener() -> Count:
        return source

    values = iterate(opener)
    next(values)
    values.close()

    assert source.closed


@pytest.mark.anyio
@pytest.mark.parametrize("here", [True, False])
async def test_aiterate_yields_and_closes(here: bool) -> None:
    """The same from a loop, be it on this one or on the portal's."""
    source = Count(2, 1)

    async def opener() -> Count:
        return source

    async with aclosing(aiterate(opener, here=here)) as values:
        assert [value async for value in values] == [0, 1, 0]
    assert source.closed
