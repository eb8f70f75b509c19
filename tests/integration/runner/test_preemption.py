"""Containers that act as if their host were taken away."""

import pytest

from afield._wire.functions import Batching, Concurrency, MethodSpec
from support.guests import Launcher, payload

pytestmark = pytest.mark.anyio

PREEMPTED = """
import afield, asyncio, os, time
from afield.exception import simulate_preemption
app = afield.App("shop")
@app.cls()
class C:
    @afield.exit()
    def bye(self): print('bye')
    @afield.method()
    {word} m(self, x):
        if x == 0: simulate_preemption(0.1)
        os.write(1, b'on\\n')
        try:
            while x < 2: {wait}
        except BaseException as error:
            os.write(1, type(error).__name__.encode() + b'\\n')
            if x == 1: raise KeyError('cleaning up') from error
            raise
        return x
"""


@pytest.mark.parametrize(
    ("word", "raised", "max_inputs"),
    [
        ("def", "KeyboardInterrupt", 1),
        ("def", "KeyboardInterrupt", 4),
        ("async def", "CancelledError", 1),
        ("async def", "CancelledError", 4),
    ],
)
async def test_what_runs_is_interrupted_and_has_no_result(
    launch: Launcher, word: str, raised: str, max_inputs: int
) -> None:
    """It runs again elsewhere; exit hooks run; what had ended before keeps its result."""
    wait = "await asyncio.sleep(0.001)" if "async" in word else "time.sleep(0.001)"
    guest = await launch(
        PREEMPTED.format(word=word, wait=wait),
        "C",
        methods={"m": MethodSpec(is_async="async" in word)},
        concurrency=Concurrency(max_inputs=max_inputs),
    )
    before = guest.send(payload(2), method="m")
    running = [guest.send(payload(x), payload(2), method="m") for x in range(2 if max_inputs > 1 else 1)]

    info = await guest.ended()

    assert info.exit_code == 0
    assert len(guest.results(before)) == 1
    assert not any(guest.results(token) for token in running)
    assert sorted(guest.stdout.split()) == sorted(
        ["on"] * (1 + len(running)) + [raised] * len(running) + ["bye"]
    )


@pytest.mark.parametrize("word", ["def", "async def"])
@pytest.mark.parametrize("max_inputs", [1, 4])
async def test_an_input_that_ends_all_the_same_has_its_result(
    launch: Launcher, word: str, max_inputs: int
) -> None:
    """So much the better; nothing is begun behind it."""
    wait = "await asyncio.sleep(100)" if "async" in word else "\n            while True: time.sleep(0.001)"
    source = (
        f"import asyncio, time\nfrom afield.exception import simulate_preemption\n{word} f():\n    simulate_preemption(0.05)\n"
        f"    try: {wait}\n    except BaseException: return 'saved'"
    )
    guest = await launch(source, concurrency=Concurrency(max_inputs=max_inputs))
    token = guest.send(payload(), payload())

    await guest.ended()

    assert [result.status for result in guest.results(token).values()] == ["ok"]


@pytest.mark.parametrize("word", ["def", "async def"])
@pytest.mark.parametrize("max_inputs", [1, 4])
async def test_an_idle_container_just_ends(launch: Launcher, word: str, max_inputs: int) -> None:
    """The input that asked for it has ended long before."""
    source = (
        "import atexit\nfrom afield.exception import simulate_preemption\natexit.register(print, 'bye')\n"
        f"{word} f(): simulate_preemption(0.1)"
    )
    guest = await launch(source, concurrency=Concurrency(max_inputs=max_inputs))
    assert (await guest.call()).status == "ok"

    info = await guest.ended()

    assert (info.exit_code, guest.stdout) == (0, "bye\n")


@pytest.mark.parametrize("word", ["def", "async def"])
async def test_a_batch_is_interrupted(launch: Launcher, word: str) -> None:
    """All of it runs again elsewhere."""
    wait = "await asyncio.sleep(0.001)" if "async" in word else "time.sleep(0.001)"
    source = (
        f"import asyncio, time\nfrom afield.exception import simulate_preemption\n{word} f(x):\n"
        f"    simulate_preemption(0.05)\n    while True: {wait}"
    )
    guest = await launch(source, batching=Batching(max_batch_size=2, wait_ms=1000))
    token = guest.send(payload(1), payload(2))

    assert (await guest.ended()).exit_code == 0
    assert not guest.results(token)


async def test_what_does_not_end_is_killed(launch: Launcher) -> None:
    """As long after the interruption as the grace says."""
    source = (
        "import time\nfrom afield._guest import preemption\nfrom afield.exception import simulate_preemption\n"
        "preemption.GRACE_S = 0.1\ndef f():\n    simulate_preemption(0.05)\n    while True:\n"
        "        try: time.sleep(100)\n        except KeyboardInterrupt: print('no', flush=True)"
    )
    guest = await launch(source)
    guest.send(payload())

    assert (await guest.ended()).signal == 9
    assert guest.stdout == "no\n"
