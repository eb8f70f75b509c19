"""Batched functions in real containers."""

import pytest

from afield._wire.functions import Batching, Concurrency, MethodSpec
from afield._wire.guest import Began, Cancel, StartFailed
from support.guests import Guest, Launcher, payload, value_of

pytestmark = pytest.mark.anyio

WORDS = ["def", "async def"]
LONG = 500_000
"""Milliseconds for which no test waits."""

SUM = "import asyncio, time\n{word} f(x, y): return [(a + b, len(x)) for a, b in zip(x, y)]"

HANG = """
import asyncio, time
{word} f(x):
    print('on')
    while 0 in x: {wait}
    return x
"""


async def start(
    launch: Launcher, source: str, word: str, size: int, wait_ms: int, max_inputs: int = 1, **spec: object
) -> Guest:
    """Start a container of a batched function, whose source is a template."""
    wait = "await asyncio.sleep(0.001)" if "async" in word else "time.sleep(0.001)"
    return await launch(
        source.format(word=word, wait=wait),
        batching=Batching(max_batch_size=size, wait_ms=wait_ms),
        concurrency=Concurrency(max_inputs=max_inputs),
        **spec,  # type: ignore[arg-type]
    )


def began(guest: Guest) -> list[tuple[int, ...]]:
    return [frame.tokens for frame in guest.frames if isinstance(frame, Began)]


@pytest.mark.parametrize("word", WORDS)
async def test_a_full_batch_runs_at_once(launch: Launcher, word: str) -> None:
    """Its inputs, however their arguments were given, come as lists, and each has its value by its own token."""
    guest = await start(launch, SUM, word, size=3, wait_ms=LONG)

    tokens = [guest.send(each) for each in (payload(1, 10), payload(2, y=20), payload(x=3, y=30))]

    await guest.until(lambda: all(guest.results(token) for token in tokens))
    assert [value_of(guest.results(token)[0]) for token in tokens] == [(11, 3), (22, 3), (33, 3)]
    assert began(guest) == [tuple(tokens)]


@pytest.mark.parametrize("word", WORDS)
async def test_a_batch_runs_when_its_first_input_has_waited(launch: Launcher, word: str) -> None:
    """Full or not."""
    guest = await start(launch, SUM, word, size=1000, wait_ms=20)

    tokens = [guest.send(payload(n, n)) for n in range(3)]

    await guest.until(lambda: all(guest.results(token) for token in tokens))
    assert sum(len(tokens) for tokens in began(guest)) == 3


@pytest.mark.parametrize("word", WORDS)
async def test_a_pack_of_many_goes_into_several_batches(launch: Launcher, word: str) -> None:
    """As large as they may be; its last ones wait."""
    guest = await start(launch, SUM, word, size=4, wait_ms=10)

    results = await guest.finished(guest.send(*[payload(n, 0) for n in range(10)]), 10)

    assert [value_of(result) for result in results[:8]] == [(n, 4) for n in range(8)]
    assert [value_of(result)[0] for result in results[8:]] == [8, 9]


@pytest.mark.parametrize("word", WORDS)
async def test_batches_run_beside_each_other(launch: Launcher, word: str) -> None:
    """As many as there may be inputs at once."""
    source = (
        "import asyncio, time\nseen = set()\n{word} f(x):\n    seen.update(x)\n    while len(seen) < 4: {wait}\n"
        "    return x"
    )
    guest = await start(launch, source, word, size=2, wait_ms=LONG, max_inputs=2)

    results = await guest.finished(guest.send(*map(payload, range(4))), 4)

    assert [value_of(result) for result in results] == [0, 1, 2, 3]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x[1:]", "got a list of 1"),
        ("tuple(x)", "got a tuple"),
        ("None", "got a NoneType"),
    ],
)
async def test_what_does_not_fit_the_inputs_fails_all_of_them(
    launch: Launcher, word: str, value: str, message: str
) -> None:
    """The error says what was expected."""
    guest = await start(launch, "{word} f(x): return " + value, word, size=2, wait_ms=LONG)

    results = await guest.finished(guest.send(payload(1), payload(2)), 2)

    for result in results:
        assert result.error is not None
        assert result.error.kind == "exception"
        assert "a list of 2 values" in result.error.message
        assert message in result.error.message


@pytest.mark.parametrize("word", WORDS)
async def test_an_exception_fails_every_input_of_its_batch(launch: Launcher, word: str) -> None:
    """And no other."""
    guest = await start(launch, "{word} f(x): return [1 / each for each in x]", word, size=2, wait_ms=LONG)

    results = await guest.finished(guest.send(*map(payload, (1, 0, 1, 2))), 4)

    assert [result.error and result.error.type_name for result in results] == ["ZeroDivisionError"] * 2 + [
        None,
        None,
    ]


@pytest.mark.parametrize("word", WORDS)
async def test_an_input_that_cannot_be_read_or_returned_fails_alone(launch: Launcher, word: str) -> None:
    """Its batch runs without it; a value that cannot be pickled is its own."""
    source = (
        "import threading\n{word} f(x): return [threading.Lock() if each == 'lock' else len(x) for each in x]"
    )
    guest = await start(launch, source, word, size=4, wait_ms=LONG)

    payloads = (payload(1), b"\x80\x05no pickle", payload(1, 2, 3), payload("lock"))
    results = await guest.finished(guest.send(*payloads), 4)

    kinds = [result.error.kind if result.error else value_of(result) for result in results]
    assert kinds == [2, "deserialization", "exception", "serialization"]


@pytest.mark.parametrize("word", WORDS)
async def test_an_input_that_waits_is_cancelled(launch: Launcher, word: str) -> None:
    """It ends at once, and takes no place in a batch."""
    guest = await start(launch, SUM, word, size=2, wait_ms=LONG)
    gone = guest.send(payload(0, 0))
    guest.container.send(Cancel(token=gone))

    assert (await guest.finished(gone))[0].status == "cancelled"

    results = await guest.finished(guest.send(payload(1, 1), payload(2, 2)), 2)
    assert [value_of(result) for result in results] == [(2, 2), (4, 2)]


@pytest.mark.parametrize("word", WORDS)
async def test_a_cancelled_input_leaves_the_rest_of_its_batch_running(launch: Launcher, word: str) -> None:
    """It has its end at once; the code is interrupted when nobody wants any of its values."""
    guest = await start(launch, HANG, word, size=2, wait_ms=LONG)
    token = guest.send(payload(0), payload(1))
    await guest.until(lambda: guest.stdout)

    guest.container.send(Cancel(token=token, indices=(1,)))

    await guest.until(lambda: 1 in guest.results(token))
    assert 0 not in guest.results(token)
    guest.container.send(Cancel(token=token, indices=(0,)))
    assert {result.status for result in await guest.finished(token, 2)} == {"cancelled"}
    assert (await guest.finished(guest.send(payload(1), payload(1)), 2))[1].status == "ok"


@pytest.mark.parametrize("word", WORDS)
async def test_a_batch_that_had_its_time_ends_as_timed_out(launch: Launcher, word: str) -> None:
    """All of it: it began together."""
    guest = await start(launch, HANG, word, size=2, wait_ms=LONG, timeout=0.001)
    tokens = [guest.send(payload(0)), guest.send(payload(1))]
    await guest.until(lambda: guest.stdout)

    guest.expire(tokens[1], 0)

    await guest.until(lambda: all(guest.results(token) for token in tokens))
    for token in tokens:
        error = guest.results(token)[0].error
        assert error is not None
        assert error.kind == "timeout"


@pytest.mark.parametrize("word", WORDS)
async def test_stop_lets_a_batch_finish_and_begins_none(launch: Launcher, word: str) -> None:
    """What waits is left to others."""
    source = (
        "import asyncio, os, time\n{word} f(path):\n    print('on')\n    while not os.path.exists(path[0]): {wait}\n"
        "    return path"
    )
    guest = await start(launch, source, word, size=2, wait_ms=LONG)
    path = launch.folder / "go-on"
    running = guest.send(payload(str(path)), payload(str(path)))
    await guest.until(lambda: guest.stdout)
    waiting = guest.send(payload(str(path)))
    guest.request_stop()
    path.touch()

    assert (await guest.ended()).exit_code == 0
    assert len(guest.results(running)) == 2
    assert not guest.results(waiting)


@pytest.mark.parametrize("word", WORDS)
async def test_a_batched_method_gets_its_instance(launch: Launcher, word: str) -> None:
    """On the loop, or in a thread."""
    source = (
        "import afield\napp = afield.App('shop')\n@app.cls()\nclass C:\n    @afield.enter()\n"
        "    async def e(self): self.base = 10\n    @afield.batched(max_batch_size=2, wait_ms=500000)\n"
        "    {word} m(self, x): return [self.base + each for each in x]"
    )
    guest = await launch(
        source.format(word=word),
        "C",
        batching=Batching(max_batch_size=2, wait_ms=LONG),
        methods={"m": MethodSpec(is_async="async" in word)},
    )

    results = await guest.finished(guest.send(payload(1), payload(x=2), method="m"), 2)

    assert [value_of(result) for result in results] == [11, 12]


@pytest.mark.parametrize("word", WORDS)
async def test_the_current_input_of_a_batch_is_its_first(launch: Launcher, word: str) -> None:
    """There is one call for all of them."""
    source = "from afield import _context as c\n{word} f(x): return [c.current_input_id()] * len(x)"
    guest = await start(launch, source, word, size=2, wait_ms=LONG)

    results = await guest.finished(guest.send(payload(0), payload(0)), 2)

    assert [value_of(result) for result in results] == ["in-k3j9x2abcd-0-17-0"] * 2


@pytest.mark.parametrize("definition", ["def f(*x): pass", "def f(**x): pass", "def f(x): yield 1"])
async def test_a_function_that_cannot_be_batched_is_refused_at_the_start(
    launch: Launcher, definition: str
) -> None:
    """However it came here."""
    guest = await start(launch, definition, "def", size=2, wait_ms=1)

    answer = await guest.started()

    assert isinstance(answer, StartFailed)
    assert answer.error.type_name == "afield.exception.InvalidError"


@pytest.mark.parametrize("word", WORDS)
async def test_what_was_written_is_there_before_the_results(launch: Launcher, word: str) -> None:
    """By C libraries too."""
    source = "import ctypes\n{word} f(x):\n    ctypes.CDLL(None).printf(b'no line')\n    return x"
    guest = await start(launch, source, word, size=2, wait_ms=LONG)
    await guest.started()
    guest.container.pause_output()
    await guest.finished(guest.send(payload(1), payload(2)), 2)

    guest.container.drain_output()

    assert guest.stdout == "no line"
