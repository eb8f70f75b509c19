"""Synchronous generators in real containers."""

import pytest

from afield._wire.guest import Yields
from support.guests import Guest, Launcher, payload

pytestmark = pytest.mark.anyio

SOURCES = {
    "sync": "{prelude}\ndef f(n):\n    try:\n        for i in range(n): print(i); yield i\n    finally: print('closed')",
    "async": (
        "import asyncio\n{prelude}\nasync def f(n):\n    try:\n"
        "        for i in range(n): print(i); yield i; await asyncio.sleep(0)\n    finally: print('closed')"
    ),
}


@pytest.fixture(params=sorted(SOURCES))
def source(request: pytest.FixtureRequest) -> str:
    """A generator that counts to n, synchronous and asynchronous."""
    return SOURCES[request.param].format(prelude="")


def start(guest: Guest, n: int, credit: int) -> int:
    return guest.send(payload(n), kind="generator", credit=credit)


async def test_values_come_in_order_and_then_the_end(launch: Launcher, source: str) -> None:
    """The end is an ordinary result without a value."""
    guest = await launch(source, is_generator=True)

    token = start(guest, 5, credit=10)

    (result,) = await guest.finished(token)
    assert (result.status, result.value) == ("ok", None)
    assert guest.values(token) == [0, 1, 2, 3, 4]
    assert [f.first for f in guest.frames if isinstance(f, Yields)] == [0, 1, 2, 3, 4]


async def test_a_generator_makes_no_more_than_its_credit(launch: Launcher, source: str) -> None:
    """It does not even compute the next value before somebody wants it."""
    guest = await launch(source, is_generator=True)
    token = start(guest, 6, credit=2)
    await guest.until(lambda: guest.values(token) == [0, 1])

    guest.credit(token, 5)

    await guest.until(lambda: guest.values(token) == [0, 1, 2, 3, 4])
    await guest.until(lambda: guest.stdout.endswith("4\n"))
    guest.credit(token, 3)  # an old one, come late
    guest.credit(token, 7)
    await guest.finished(token)
    assert guest.stdout == "0\n1\n2\n3\n4\n5\nclosed\n"


async def test_a_generator_that_waits_for_credit_is_cancelled(launch: Launcher, source: str) -> None:
    """It cleans up, and the container takes the next input."""
    guest = await launch(source, is_generator=True)
    token = start(guest, 6, credit=1)
    await guest.until(lambda: guest.values(token) == [0])

    guest.cancel(token)

    (result,) = await guest.finished(token)
    assert result.status == "cancelled"
    await guest.until(lambda: guest.stdout.endswith("closed\n"))
    assert (await guest.finished(start(guest, 1, credit=9)))[0].status == "ok"


async def test_a_generator_that_waits_for_credit_times_out(launch: Launcher, source: str) -> None:
    """When the worker rings: its caller has taken too long; it cleans up."""
    guest = await launch(source, is_generator=True, timeout=0.1)
    token = start(guest, 6, credit=1)
    await guest.until(lambda: guest.values(token) == [0])

    await guest.ring_until(lambda: guest.results(token))

    (result,) = await guest.finished(token)
    assert result.error is not None
    assert result.error.kind == "timeout"
    await guest.until(lambda: guest.stdout == "0\nclosed\n")
    assert (await guest.finished(start(guest, 1, credit=9)))[0].status == "ok"


async def test_an_endless_generator_is_cancelled_in_full_flight(launch: Launcher, source: str) -> None:
    """Credit without end does not make it deaf."""
    guest = await launch(source, is_generator=True)
    token = start(guest, 10**9, credit=10**9)
    await guest.until(lambda: len(guest.frames) > 100)

    guest.cancel(token)

    (result,) = await guest.finished(token)
    assert result.status == "cancelled"


@pytest.mark.parametrize("word", ["def", "async def"])
async def test_an_exception_ends_a_generator_after_its_values(launch: Launcher, word: str) -> None:
    """What was yielded before has been sent before."""
    guest = await launch(f"{word} f():\n    yield 1\n    raise KeyError('k')", is_generator=True)

    token = guest.send(payload(), kind="generator", credit=9)

    (result,) = await guest.finished(token)
    assert guest.values(token) == [1]
    assert result.error is not None
    assert result.error.type_name == "KeyError"


async def test_a_function_that_returns_an_iterable_is_a_generator_if_declared(launch: Launcher) -> None:
    """`is_generator=True` is for functions that return generators, or anything to iterate over."""
    guest = await launch("def f(): return map(str, [1, 2])", is_generator=True)

    token = guest.send(payload(), kind="generator", credit=9)

    await guest.finished(token)
    assert guest.values(token) == ["1", "2"]


@pytest.mark.parametrize("word", ["def", "async def"])
async def test_a_value_that_cannot_be_pickled_ends_the_generator(launch: Launcher, word: str) -> None:
    """And its cleaning up is done."""
    source = f"import threading\n{word} f():\n    try: yield threading.Lock()\n    finally: print('closed')"
    guest = await launch(source, is_generator=True)

    (result,) = await guest.finished(guest.send(payload(), kind="generator", credit=9))

    assert result.error is not None
    assert result.error.kind == "serialization"
    await guest.until(lambda: guest.stdout == "closed\n")
