"""Several inputs at the same time in one real container: threads for synchronous code, tasks for asynchronous."""

import pytest

from afield import serialization
from afield._wire.functions import Concurrency
from afield._wire.guest import Cancel, Results, Yields
from support.guests import Guest, Launcher, alive, payload, value_of

pytestmark = pytest.mark.anyio

WORDS = ["def", "async def"]

MEET = """
import asyncio, threading, time
lock, now, peak = threading.Lock(), 0, 0
{word} f(meet):
    global now, peak
    with lock:
        now += 1
        peak = max(peak, now)
    while peak < meet: {wait}
    {wait}
    with lock: now -= 1
    return peak
"""
"""An input that ends when so many have run beside each other."""

LOOP = """
import asyncio, sys, threading, time
{word} f(x):
    sys.stdout.write('%d\\n' % x)
    while x: {wait}
    return threading.current_thread().name
"""


def wait(word: str, seconds: float = 0.001) -> str:
    return f"await asyncio.sleep({seconds})" if "async" in word else f"time.sleep({seconds})"


async def start(launch: Launcher, source: str, word: str, max_inputs: int = 4, **spec: object) -> Guest:
    """Start a container for a function of several inputs, whose source is a template."""
    return await launch(
        source.format(word=word, wait=wait(word)),
        concurrency=Concurrency(max_inputs=max_inputs),
        **spec,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("word", WORDS)
async def test_as_many_inputs_run_at_once_as_are_allowed(launch: Launcher, word: str) -> None:
    """And not one more."""
    guest = await start(launch, MEET, word)

    tokens = [guest.send(payload(4)) for _ in range(20)]

    await guest.until(lambda: all(guest.results(token) for token in tokens))
    assert {value_of(guest.results(token)[0]) for token in tokens} == {4}


@pytest.mark.parametrize("word", WORDS)
async def test_the_inputs_of_one_pack_run_one_after_the_other(launch: Launcher, word: str) -> None:
    """In order, and beside those of other packs."""
    source = (
        "import asyncio, time\nrunning = {{}}\n{word} f(pack, x):\n    assert pack not in running\n"
        "    running[pack] = x\n    {wait}\n    del running[pack]\n    return x"
    )
    guest = await start(launch, source, word)

    tokens = [guest.send(*[payload(pack, x) for x in range(20)]) for pack in range(6)]

    for token in tokens:
        assert [value_of(r) for r in await guest.finished(token, 20)] == list(range(20))


@pytest.mark.parametrize("word", WORDS)
async def test_one_input_is_cancelled_and_the_others_go_on(launch: Launcher, word: str) -> None:
    """Without a ring; what takes its place in the thread is not hit."""
    guest = await start(launch, LOOP, word)
    tokens = [guest.send(payload(x)) for x in (1, 2, 3)]
    await guest.until(lambda: len(guest.stdout.split()) == 3)

    guest.container.send(Cancel(token=tokens[1]))

    assert (await guest.finished(tokens[1]))[0].status == "cancelled"
    assert not guest.results(tokens[0])
    assert (await guest.call(0)).status == "ok"


@pytest.mark.parametrize("word", WORDS)
async def test_an_input_that_had_its_time_ends_as_timed_out(launch: Launcher, word: str) -> None:
    """The frame names it; the traceback says where it was: in its loop, or still in the print before."""
    guest = await start(launch, LOOP, word)
    token, other = guest.send(payload(1)), guest.send(payload(2))
    await guest.until(lambda: len(guest.stdout.split()) == 2)

    guest.expire(token, 0)

    (result,) = await guest.finished(token)
    assert result.error is not None
    assert result.error.kind == "timeout"
    assert any(line in result.error.traceback for line in ("while x: ", "sys.stdout.write('%d"))
    assert not guest.results(other)


@pytest.mark.parametrize("word", WORDS)
async def test_an_input_that_the_worker_takes_for_another_tells_so(launch: Launcher, word: str) -> None:
    """The one that it means has ended, without the worker knowing; the one that runs is young, and goes on."""
    guest = await start(launch, LOOP, word)
    token = guest.send(payload(0), payload(1))
    await guest.until(lambda: guest.stdout == "0\n1\n")

    guest.expire(token, 0)

    await guest.until(lambda: 0 in guest.results(token))
    assert 1 not in guest.results(token)
    guest.expire(token, 1)
    assert (await guest.finished(token, 2))[1].status == "error"


@pytest.mark.parametrize("word", WORDS)
async def test_rings_do_no_harm(launch: Launcher, word: str) -> None:
    """With several inputs nobody could say which one a ring is for."""
    guest = await start(launch, LOOP, word, timeout=0.001)
    token = guest.send(payload(1))
    await guest.until(lambda: guest.stdout)

    for _ in range(50):
        guest.container.interrupt()
        assert (await guest.call(0)).status == "ok"

    assert not guest.results(token)


@pytest.mark.parametrize(
    "body",
    [
        "return sum(range(x))",
        "raise KeyError(x)",
        "\n    try: return sum(range(x))\n    finally: sum(range(x))",
        "\n    try: return sum(range(x))\n    except BaseException: return sum(range(x))",
    ],
)
@pytest.mark.parametrize("word", WORDS)
async def test_an_interrupt_never_hits_another_input(launch: Launcher, word: str, body: str) -> None:
    """Inputs cancelled at any moment end one way or the other; those that were not have their own end."""
    guest = await launch(f"{word} f(x): {body}", concurrency=Concurrency(max_inputs=2))
    expected = "error" if "KeyError" in body else "ok"
    await guest.started()
    for round_ in range(120):
        tokens = [guest.send(*[payload(30 * round_)] * 3) for _ in range(4)]
        for token in tokens[::2]:
            guest.container.send(Cancel(token=token))
        for number, token in enumerate(tokens):
            statuses = {result.status for result in await guest.finished(token, 3)}
            assert statuses <= ({expected} if number % 2 else {expected, "cancelled"}), round_
    assert guest.exit is None
    frames = [f for f in guest.frames if isinstance(f, Results)]
    assert sum(len(f.results) for f in frames) == 120 * 4 * 3


async def test_an_interrupt_waits_for_what_is_stuck_in_c_and_hits_nothing_else(launch: Launcher) -> None:
    """The input ends as cancelled when its call returns; those that run meanwhile, and the next, are whole."""
    source = (
        "import ctypes\ndef f(x):\n    if isinstance(x, int): return sum(range(x))\n"
        "    ctypes.CDLL(None).system(f'echo on; while [ ! -e {x} ]; do sleep 0.01; done'.encode())\n"
    )
    guest = await launch(source, concurrency=Concurrency(max_inputs=2))
    path = launch.folder / "go-on"
    stuck = guest.send(payload(str(path)))
    await guest.until(lambda: "on" in guest.stdout)
    guest.container.send(Cancel(token=stuck))

    others = guest.send(*[payload(1000)] * 50)

    assert {r.status for r in await guest.finished(others, 50)} == {"ok"}
    assert not guest.results(stuck)
    path.touch()
    assert (await guest.finished(stuck))[0].status == "cancelled"
    tokens = [guest.send(*[payload(1000)] * 50) for _ in range(2)]
    for token in tokens:
        assert {r.status for r in await guest.finished(token, 50)} == {"ok"}


GENERATOR = (
    "import asyncio, time\n{word} f(n):\n    try:\n        for i in range(n):\n            yield i\n"
    "            {wait}\n    finally: print('closed', n)"
)


@pytest.mark.parametrize("word", WORDS)
async def test_generators_run_side_by_side_each_with_its_credit(launch: Launcher, word: str) -> None:
    """One that waits holds up no other."""
    guest = await start(launch, GENERATOR, word, is_generator=True)
    waits = guest.send(payload(5), kind="generator", credit=2)
    runs = guest.send(payload(4), kind="generator", credit=9)

    await guest.finished(runs)

    await guest.until(lambda: guest.values(waits) == [0, 1])
    assert guest.values(runs) == [0, 1, 2, 3]
    guest.credit(waits, 9)
    await guest.finished(waits)
    assert guest.values(waits) == [0, 1, 2, 3, 4]
    assert [f.first for f in guest.frames if isinstance(f, Yields) and f.token == waits] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("credit", [2, 10**9])
async def test_a_generator_is_cancelled(launch: Launcher, word: str, credit: int) -> None:
    """While it waits for credit as in full flight; it cleans up."""
    guest = await start(launch, GENERATOR, word, is_generator=True)
    token = guest.send(payload(10**9), kind="generator", credit=credit)
    await guest.until(lambda: len(guest.values(token)) >= 2)

    guest.container.send(Cancel(token=token))

    assert (await guest.finished(token))[0].status == "cancelled"
    await guest.until(lambda: guest.stdout == "closed 1000000000\n")


@pytest.mark.parametrize("word", WORDS)
async def test_the_current_input_is_known_in_each(launch: Launcher, word: str) -> None:
    """Also in what it calls, and after others have begun and ended."""
    source = (
        "import asyncio, time\nfrom afield import _context as c\n{word} f():\n"
        "    before = c.current_input_id()\n    for _ in range(5): {wait}\n    return before, c.current_input_id()"
    )
    guest = await start(launch, source, word)

    tokens = [guest.send(*[payload()] * 3, first=10 * number) for number in range(4)]

    for number, token in enumerate(tokens):
        await guest.until(lambda: all(len(guest.results(each)) == 3 for each in tokens))
        for index, result in guest.results(token).items():
            assert value_of(result) == (f"in-k3j9x2abcd-0-17-{index}",) * 2
            assert index // 10 == number


async def test_context_variables_are_those_of_the_module_in_every_thread(launch: Launcher) -> None:
    """What an input sets is not there in the next."""
    source = (
        "import contextvars\nv = contextvars.ContextVar('v')\nv.set('module')\n"
        "def f(x):\n    seen = v.get()\n    v.set(x)\n    return seen"
    )
    guest = await launch(source, concurrency=Concurrency(max_inputs=2))

    results = await guest.finished(guest.send(*map(payload, range(3))), 3)

    assert [value_of(r) for r in results[:1]] == ["module"]
    assert await guest.value(9) == "module"


@pytest.mark.parametrize("word", WORDS)
async def test_what_was_written_is_there_before_the_result(launch: Launcher, word: str) -> None:
    """By Python and by C libraries, of whichever input."""
    source = (
        "import asyncio, ctypes, time\nlibc = ctypes.CDLL(None)\n{word} f(x):\n    print('p%d;' % x, end='')\n"
        "    {wait}\n    libc.printf(b'c%d;', x)"
    )
    guest = await start(launch, source, word)
    await guest.started()
    guest.container.pause_output()
    tokens = [guest.send(payload(x)) for x in range(30)]
    await guest.until(lambda: all(guest.results(token) for token in tokens))

    guest.container.drain_output()

    assert sorted(guest.stdout.split(";")[:-1]) == sorted(f"{w}{x}" for x in range(30) for w in "pc")


@pytest.mark.parametrize("word", WORDS)
async def test_streams_that_one_input_closed_work_for_the_others(launch: Launcher, word: str) -> None:
    """From its end on."""
    source = (
        "import asyncio, os, sys, time\n{word} f(x):\n    if x == 0: os.close(1); sys.stderr.close()\n"
        "    else: print(x)\n    {wait}"
    )
    guest = await start(launch, source, word)
    await guest.call(0)

    for x in range(1, 9):
        assert (await guest.call(x)).status == "ok"

    await guest.until(lambda: guest.stdout == "1\n2\n3\n4\n5\n6\n7\n8\n")


@pytest.mark.parametrize("word", WORDS)
async def test_stop_lets_what_runs_finish_and_begins_nothing(launch: Launcher, word: str) -> None:
    """All that runs ends in results; what waits for room is left to others."""
    source = (
        "import asyncio, os, time\n{word} f(x, path):\n    os.write(1, b'on\\n')\n    while not os.path.exists(path): {wait}\n"
        "    return x"
    )
    guest = await start(launch, source, word, max_inputs=3)
    path = launch.folder / "go-on"
    running = [guest.send(payload(x, str(path)), payload(x, str(path))) for x in range(2)]
    for_ever = guest.send(payload(2, str(launch.folder / "never")))
    queued = guest.send(payload(9, str(path)))
    await guest.until(lambda: guest.stdout == "on\n" * 3)
    guest.request_stop()
    guest.container.send(Cancel(token=for_ever, indices=(0,)))  # once it is cancelled, the request was read
    await guest.until(lambda: guest.results(for_ever))
    path.touch()

    info = await guest.ended()

    assert info.exit_code == 0
    assert [len(guest.results(token)) for token in running] == [2, 2]
    assert not guest.results(queued)


@pytest.mark.parametrize("word", WORDS)
async def test_a_fork_of_user_code_that_returns_does_not_touch_the_link(launch: Launcher, word: str) -> None:
    """From a thread too: the child ends, only the parent's value is sent."""
    source = (
        "import os\n{word} f():\n    pid = os.fork()\n    if pid == 0: return 'child'\n"
        "    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
    )
    guest = await start(launch, source, word)

    assert [value_of(r) for r in await guest.finished(guest.send(*[payload()] * 3), 3)] == [0, 0, 0]


@pytest.mark.parametrize("word", WORDS)
async def test_what_one_input_raises_ends_that_only(launch: Launcher, word: str) -> None:
    """sys.exit too."""
    guest = await start(launch, "import sys\n{word} f(x):\n    if x: sys.exit(3)\n    return 'ok'", word)

    result = await guest.call(1)

    assert result.error is not None
    assert (result.error.kind, result.error.exit_code) == ("exit", 3)
    assert await guest.value(0) == "ok"


async def test_threads_are_as_few_as_will_do(launch: Launcher) -> None:
    """One input after the other needs one thread, however many there may be."""
    guest = await launch(
        "import threading\ndef f(): return threading.current_thread().name, threading.active_count()",
        concurrency=Concurrency(max_inputs=100),
    )

    names = {await guest.value() for _ in range(20)}

    assert len({name for name, _ in names}) <= 2
    assert max(count for _, count in names) <= 3


async def test_the_container_dies_with_its_worker(launch: Launcher) -> None:
    """A closed link ends it, although threads run."""
    guest = await start(launch, LOOP, "def")
    guest.send(payload(1))
    await guest.until(lambda: guest.stdout)

    guest.container.kill()

    await guest.ended()
    assert not alive(guest.container.pid)


async def test_many_results_of_many_threads_arrive_whole(launch: Launcher) -> None:
    """One path to the link: frames do not mix."""
    guest = await launch("def f(x): return bytes([x]) * 200_000", concurrency=Concurrency(max_inputs=8))

    tokens = {x: guest.send(payload(x)) for x in range(64)}

    await guest.until(lambda: all(guest.results(token) for token in tokens.values()))
    for x, token in tokens.items():
        value = guest.results(token)[0].value
        assert isinstance(value, bytes)
        assert serialization.loads(value) == bytes([x]) * 200_000
