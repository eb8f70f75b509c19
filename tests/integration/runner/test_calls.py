"""Functions in real containers: values, errors, packs, interruptions."""

from dataclasses import replace

import anyio.lowlevel
import pytest

from afield import serialization
from afield._errors import from_error_info
from afield._wire.guest import Ready, Results, StartFailed
from afield._wire.messages import BlobRef
from support.guests import Launcher, make_start, payload, read_bytes

pytestmark = pytest.mark.anyio


async def test_a_function_returns_its_value(launch: Launcher) -> None:
    """Arguments come as they were given, and the value goes back."""
    guest = await launch("def f(x, *, y=1): return {'sum': x + y}")
    assert isinstance(await guest.started(), Ready)

    (result,) = await guest.finished(guest.send(payload(2, y=40)))

    assert result.status == "ok"
    assert isinstance(result.value, bytes)
    assert serialization.loads(result.value) == {"sum": 42}


async def test_module_state_is_kept_between_inputs(launch: Launcher) -> None:
    """The module is imported once per container."""
    guest = await launch("seen = []\ndef f(x):\n    seen.append(x)\n    return list(seen)")

    await guest.value(1)

    assert await guest.value(2) == [1, 2]


async def test_a_pack_is_run_in_order_and_quick_results_travel_together(launch: Launcher) -> None:
    """Sixty quick inputs need far fewer frames."""
    guest = await launch("seen = []\ndef f(x):\n    seen.append(x)\n    return seen[-1], len(seen)")

    results = await guest.finished(guest.send(*map(payload, range(60))), 60)

    values = [serialization.loads(r.value) for r in results if isinstance(r.value, bytes)]
    assert values == [(n, n + 1) for n in range(60)]
    assert len([f for f in guest.frames if isinstance(f, Results)]) < 30


async def test_a_result_does_not_wait_for_a_slow_successor(launch: Launcher) -> None:
    """A result that took its time is sent before the next input of the pack begins."""
    source = "import time, threading\ndef f(x):\n    time.sleep(0.01) if x else threading.Event().wait()"
    guest = await launch(source)

    token = guest.send(payload(1), payload(0))

    await guest.until(lambda: 0 in guest.results(token))


async def test_packs_queue_in_the_guest(launch: Launcher) -> None:
    """Packs that are sent ahead are run one after the other."""
    guest = await launch("def f(x): return x")

    tokens = [guest.send(payload(n)) for n in range(50)]

    await guest.until(lambda: all(guest.results(token) for token in tokens))


async def test_an_exception_comes_back_as_itself(launch: Launcher) -> None:
    """The error holds the exception, with the remote frames and without ours; the container lives on."""
    guest = await launch(
        "def f(x):\n    try: 1 / x\n    except ZeroDivisionError as e: raise KeyError('a') from e"
    )

    result = await guest.call(0)

    assert result.status == "error"
    assert result.error is not None
    assert (result.error.kind, result.error.type_name) == ("exception", "KeyError")
    assert "1 / x" in result.error.traceback
    assert "_guest" not in result.error.traceback
    error = from_error_info(result.error)
    assert isinstance(error, KeyError)
    assert isinstance(error.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("code", "kind", "exit_code"),
    [
        ("import sys; sys.exit(3)", "exit", 3),
        ("import sys; sys.exit()", "exit", 0),
        ("import sys; sys.exit('bye')", "exit", 1),
        ("raise KeyboardInterrupt", "exception", None),
        ("raise GeneratorExit", "exception", None),
        ("class Odd(BaseException): pass\n    raise Odd", "exception", None),
        ("def deep(): deep()\n    deep()", "exception", None),
        ("import threading; return threading.Lock()", "serialization", None),
        ("raise MemoryError", "exception", None),
    ],
)
async def test_what_user_code_raises_ends_the_input_only(
    launch: Launcher, code: str, kind: str, exit_code: int | None
) -> None:
    """Whatever class it is, the container takes the next input."""
    guest = await launch(f"def f(x):\n    if x: return x\n    {code}")

    result = await guest.call(0)

    assert result.error is not None
    assert (result.error.kind, result.error.exit_code) == (kind, exit_code)
    assert await guest.value(7) == 7


async def test_sys_exit_with_a_text_prints_it(launch: Launcher) -> None:
    """As the interpreter does."""
    guest = await launch("import sys\ndef f(): sys.exit('no such file')")

    await guest.call()

    await guest.until(lambda: guest.stderr == "no such file\n")


async def test_arguments_that_cannot_be_read_are_told_apart(launch: Launcher) -> None:
    """The kind says that the user's function was never called."""
    guest = await launch("def f(x): return x")

    (result,) = await guest.finished(guest.send(b"\x80\x05no pickle"))

    assert result.error is not None
    assert result.error.kind == "deserialization"


async def test_an_exception_with_much_data_travels_as_a_file(launch: Launcher) -> None:
    """Frames stay small, whatever user code raises."""
    guest = await launch("def f(): raise ValueError(b'x' * 3_000_000)")

    result = await guest.call()

    assert result.error is not None
    assert isinstance(result.error.exception, BlobRef)
    assert len(result.error.message) < 100_000


async def test_large_payloads_travel_as_files(launch: Launcher) -> None:
    """Arguments are mapped from a file; a large value becomes a file named for its call."""
    guest = await launch("def f(data): return data + b'!'")
    data = payload(b"x" * 1_000_000)
    path = launch.folder / "args"
    path.write_bytes(data)

    (result,) = await guest.finished(guest.send(BlobRef(tier="file", name=str(path), size=len(data))))

    assert isinstance(result.value, BlobRef)
    assert result.value.size > 1_000_000
    assert serialization.loads(read_bytes(result.value.name)) == b"x" * 1_000_000 + b"!"
    assert result.value.name.rpartition("/")[2].startswith("fc-k3j9x2abcd-0-17.")


async def test_a_missing_argument_file_is_the_platforms_fault(launch: Launcher) -> None:
    """The error says which file, and is of kind internal."""
    guest = await launch("def f(data): return data")

    (result,) = await guest.finished(guest.send(BlobRef(tier="file", name="/nowhere/x", size=300_000)))

    assert result.error is not None
    assert result.error.kind == "internal"
    assert "/nowhere/x" in result.error.message


# -- interruptions --------------------------------------------------------------------------------------

LOOP = "import sys, time\ndef f(x):\n    print('on', flush=True)\n    while x: {body}\n    return x"


@pytest.mark.parametrize("body", ["pass", "time.sleep(100)", "sum(range(100))"])
async def test_a_running_input_is_cancelled(launch: Launcher, body: str) -> None:
    """InputCancellation is raised inside synchronous code, which then takes the next input."""
    guest = await launch(LOOP.format(body=body))
    token = guest.send(payload(1))
    await guest.until(lambda: "on" in guest.stdout)

    guest.cancel(token)

    (result,) = await guest.finished(token)
    assert result.status == "cancelled"
    assert await guest.value(0) == 0


async def test_a_late_input_times_out_with_the_place_where_it_was(launch: Launcher) -> None:
    """A ring without a Cancel means the timeout, if the input has run for about that long."""
    guest = await launch(LOOP.format(body="time.sleep(100)"), timeout=0.1)
    token = guest.send(payload(1))
    await guest.until(lambda: "on" in guest.stdout)

    await guest.ring_until(lambda: guest.results(token))

    (result,) = await guest.finished(token)
    assert result.error is not None
    assert (result.status, result.error.kind) == ("error", "timeout")
    assert "0.1 s" in result.error.message
    assert "time.sleep(100)" in result.error.traceback


async def test_a_ring_for_an_input_that_has_ended_only_reports_that(launch: Launcher) -> None:
    """The next input of the pack, which has its timeout before it, goes on; the worker learns which one runs."""
    guest = await launch(LOOP.format(body="time.sleep(0.01)"))
    token = guest.send(payload(0), payload(1))
    await guest.until(lambda: guest.stdout == "on\non\n")

    guest.container.interrupt()

    await guest.until(lambda: 0 in guest.results(token))
    guest.cancel(token)
    assert (await guest.finished(token, 2))[1].status == "cancelled"


async def test_only_the_inputs_named_are_cancelled(launch: Launcher) -> None:
    """Inputs of a pack that are not begun are not begun; the others run."""
    source = (
        "import time\ndef f(x):\n    print(x, flush=True)\n    time.sleep(100 if x == 0 else 0)\n    return x"
    )
    guest = await launch(source)
    token = guest.send(*map(payload, range(4)))
    await guest.until(lambda: guest.stdout == "0\n")

    guest.cancel(token, 0, 2)

    results = await guest.finished(token, 4)
    assert [r.status for r in results] == ["cancelled", "ok", "cancelled", "ok"]
    assert guest.stdout == "0\n1\n3\n"


async def test_user_code_that_swallows_the_cancellation_is_cancelled_all_the_same(launch: Launcher) -> None:
    """Its value is not reported."""
    source = (
        "import time\ndef f():\n    print('on', flush=True)\n"
        "    try: time.sleep(100)\n    except BaseException: return 'mine'"
    )
    guest = await launch(source)
    token = guest.send(payload())
    await guest.until(lambda: guest.stdout)

    guest.cancel(token)

    (result,) = await guest.finished(token)
    assert result.status == "cancelled"


async def test_many_rings_never_break_the_link(launch: Launcher) -> None:
    """Rings that come at any moment, between and within inputs, lose and invent nothing."""
    guest = await launch("def f(x): return sum(range(x))", timeout=1000)
    for round_ in range(30):
        token = guest.send(*[payload(200)] * 64)
        for _ in range(20):
            guest.container.interrupt()
        results = await guest.finished(token, 64)
        assert [r.status for r in results] == ["ok"] * 64, round_


@pytest.mark.parametrize(
    "source",
    [
        "def f(x): return sum(range(x))",
        "def f(x): raise KeyError(x)",
        "async def f(x): return sum(range(x))",
        "def f(x):\n    try: return sum(range(x))\n    finally: sum(range(x))",
    ],
)
async def test_a_cancel_at_any_moment_ends_an_input_one_way_or_the_other(
    launch: Launcher, source: str
) -> None:
    """Each input has exactly one end, and the container survives."""
    guest = await launch(source)
    await guest.started()
    for round_ in range(150):
        token = guest.send(*[payload(20 * round_)] * 4)
        for _ in range(round_ % 7):
            await anyio.lowlevel.checkpoint()
        guest.cancel(token)
        results = await guest.finished(token, 4)
        assert {result.status for result in results} <= {"ok", "error", "cancelled"}
    frames = [f for f in guest.frames if isinstance(f, Results)]
    assert sum(len(f.results) for f in frames) == 150 * 4


# -- start ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_module", "no_such_module"),
        ("def g(): pass", "'f'"),
        ("def f(:", "invalid syntax"),
        ("raise SystemExit(4)", "4"),
        ("f = 3", "expected a function"),
        ("if __name__ == '__main__':\n    def f(): pass", "__main__"),
    ],
)
async def test_code_that_cannot_be_loaded_is_reported(launch: Launcher, source: str, message: str) -> None:
    """StartFailed says why, and the container exits."""
    guest = await launch(source)

    answer = await guest.started()

    assert isinstance(answer, StartFailed)
    assert answer.error.kind == "startup"
    assert message in answer.error.message
    assert (await guest.ended()).exit_code == 1


async def test_the_entry_module_is_main_without_running_its_main_block(launch: Launcher) -> None:
    """It is imported under its own name; `__main__` means it, too; its file lies in the home folder."""
    source = (
        "import sys, os, pickle\nclass X: pass\n"
        "def f(): return __name__, sys.modules['__main__'].__name__, os.path.dirname(__file__) == os.getcwd(),"
        " type(pickle.loads(b'c__main__\\nX\\n.')) is type, sys.argv\n"
        "if __name__ == '__main__': raise SystemExit('ran again')"
    )
    guest = await launch(source)

    name, main, at_home, resolved, argv = await guest.value()

    assert (name, main, at_home, resolved) == ("app", "app", True, True)
    assert argv[0].endswith("/app.py")


async def test_a_serialized_function_is_unpickled(launch: Launcher) -> None:
    """No module is imported for it."""
    path = launch.folder / "function"
    path.write_bytes(serialization.dumps(lambda x: x * 2).join())
    start = make_start(launch.folder / "home", "raise SystemExit")
    guest = await launch("", start=replace(start, serialized_path=str(path)))

    assert await guest.value(21) == 42


async def test_siblings_are_importable_and_the_working_folder_is_home(launch: Launcher) -> None:
    """The home folder comes first on sys.path."""
    start = make_start(launch.folder / "home", "import helper\ndef f(): return helper.NAME")
    (launch.folder / "home" / "helper.py").write_text("NAME = open('helper.py').read()[:4]")
    guest = await launch("", start=start)

    assert await guest.value() == "NAME"


async def test_the_input_and_the_container_are_known_to_user_code(launch: Launcher) -> None:
    """`afield._context` says where the code runs, and for what."""
    source = (
        "from afield import _context as c\n"
        "def f(): return c.is_local(), c.current_input_id(), c.current_function_call_id(), c.current_container()"
    )
    guest = await launch(source)

    local, input_id, call_id, container = await guest.value()

    assert (local, input_id, call_id) == (False, "in-k3j9x2abcd-0-17-0", "fc-k3j9x2abcd-0-17")
    assert container.container_id == guest.container.id
    assert container.app_id == "ap-1"


APP = """
import afield
from functools import wraps
app = afield.App("shop")
def twice(function):
    @wraps(function)
    def twice_called(*args): return function(*args), function(*args)
    return twice_called
"""


@pytest.mark.parametrize(
    "definition",
    [
        "@app.function()\n@twice\ndef f(x): return x",
        "@twice\n@app.function()\ndef f(x): return (x, x)",
        "@app.function()\ndef g(x): return (x, x)\nf = 3",
    ],
)
async def test_a_function_of_an_app_is_found(launch: Launcher, definition: str) -> None:
    """Whatever decorators stand above or below `@app.function()`, what it was given is run."""
    qualname = "g" if "def g" in definition else "f"
    guest = await launch(APP + definition, qualname)

    assert await guest.value(4) == (4, 4)


async def test_the_app_is_bound_to_its_record(launch: Launcher) -> None:
    """So that nested calls know where they are."""
    source = APP + "@app.function()\ndef f(): return app.app_id, afield.is_local()"
    guest = await launch(source)

    assert await guest.value() == ("ap-1", False)
