"""Classes in real containers: construction, hooks, methods, the end."""

from dataclasses import replace

import cloudpickle
import pytest

from afield._wire.functions import Concurrency, MethodSpec
from afield._wire.guest import Notice, Ready, StartFailed
from support.guests import Guest, Launcher, make_start, payload, value_of

pytestmark = pytest.mark.anyio

APP = "import asyncio, os, sys, time, afield\napp = afield.App('shop')\n@app.cls()\nclass C:\n"
METHODS = {"m": MethodSpec()}

COUNTER = (
    APP
    + """
    start: int = afield.parameter(default=10)
    @afield.enter(snap=True)
    def early(self): self.seen = ['early', self.start]
    @afield.enter()
    def late(self): self.seen.append('late')
    @afield.exit()
    def bye(self): print('bye', *self.seen)
    @afield.method()
    def m(self, x):
        self.seen.append(x)
        return list(self.seen)
"""
)


async def start(launch: Launcher, source: str, **spec: object) -> Guest:
    """Start a container of the class C, whose one method is `m` unless said otherwise."""
    return await launch(source, "C", **{"methods": METHODS, **spec})  # type: ignore[arg-type]


async def test_hooks_run_once_around_all_inputs(launch: Launcher) -> None:
    """Those of a snapshot first; state is kept on the instance; exit hooks run at Stop, and the end is clean."""
    guest = await start(launch, COUNTER)

    assert await guest.value(1, method="m") == ["early", 10, "late", 1]
    assert await guest.value(2, method="m") == ["early", 10, "late", 1, 2]
    assert guest.stdout == ""
    assert (await guest.stop()).exit_code == 0
    assert guest.stdout == "bye early 10 late 1 2\n"


async def test_parameters_are_set_before_hooks_run(launch: Launcher) -> None:
    """With the value that the record has."""
    guest = await start(launch, COUNTER, params=payload(start=3))

    assert await guest.value("x", method="m") == ["early", 3, "late", "x"]


async def test_a_constructor_gets_its_arguments(launch: Launcher) -> None:
    """Any that can be pickled, by place and by name."""
    source = (
        APP + "    def __init__(self, a, *, b): self.all = (a, b)\n"
        "    @afield.method()\n    def m(self): return self.all"
    )
    guest = await start(launch, source, params=payload({"k": [1]}, b=2))

    assert await guest.value(method="m") == ({"k": [1]}, 2)


async def test_a_base_class_gives_hooks_and_methods(launch: Launcher) -> None:
    """The hooks of the base run first; what is defined anew replaces."""
    source = (
        "import afield\napp = afield.App('shop')\nclass Base:\n"
        "    @afield.enter()\n    def one(self): self.seen = ['base']\n"
        "    @afield.enter()\n    def two(self): self.seen.append('never')\n"
        "    @afield.method()\n    def m(self): return self.seen\n"
        "@app.cls()\nclass C(Base):\n"
        "    @afield.enter()\n    def two(self): self.seen.append('mine')\n"
    )
    guest = await start(launch, source)

    assert await guest.value(method="m") == ["base", "mine"]


async def test_methods_call_each_other_here(launch: Launcher) -> None:
    """`self.other.local()` runs in this container, on this instance; plain helpers are called as ever."""
    source = (
        APP + "    @afield.enter()\n    def e(self): self.pid = os.getpid()\n"
        "    def helper(self): return self.pid\n"
        "    @afield.method()\n    def other(self, x): return self.helper(), x\n"
        "    @afield.method()\n    def m(self, x): return self.other.local(x), self.pid == os.getpid()"
    )
    guest = await start(launch, source, methods={"m": MethodSpec(), "other": MethodSpec()})

    (pid, x), same = await guest.value(5, method="m")

    assert (pid, x, same) == (guest.container.pid, 5, True)


async def test_each_method_is_called_by_its_name(launch: Launcher) -> None:
    """Functions, generators and what is not there."""
    source = (
        APP + "    @afield.method()\n    def m(self): return 'm'\n"
        "    @afield.method()\n    def g(self, n): yield from range(n)"
    )
    guest = await start(launch, source, methods={"m": MethodSpec(), "g": MethodSpec(is_generator=True)})
    token = guest.send(payload(3), kind="generator", credit=9, method="g")
    await guest.finished(token)

    missing = await guest.call(method="nope")

    assert guest.values(token) == [0, 1, 2]
    assert await guest.value(method="m") == "m"
    assert missing.error is not None
    assert "it has g, m" in missing.error.message


MIXED = (
    APP
    + """
    @afield.enter()
    async def a(self):
        self.loop = asyncio.get_running_loop()
        self.ticks = 0
        self.task = asyncio.create_task(self.tick())
    async def tick(self):
        while True:
            await asyncio.sleep(0.001)
            self.ticks += 1
    @afield.enter()
    def b(self): self.order = ['b']
    @afield.exit()
    async def z(self):
        assert asyncio.get_running_loop() is self.loop
        await asyncio.sleep(0)
        print('async bye', self.task.done())
    @afield.exit()
    def y(self): print('sync bye')
    @afield.method()
    async def m(self):
        assert asyncio.get_running_loop() is self.loop
        return 'async'
    @afield.method()
    def s(self):
        before = self.ticks
        while self.ticks < before + 3: time.sleep(0.001)
        return 'sync'
    @afield.method()
    async def ag(self, n):
        for i in range(n): yield i
    @afield.method()
    def sg(self, n): yield from range(n)
"""
)
MIXED_METHODS = {
    "m": MethodSpec(is_async=True),
    "s": MethodSpec(),
    "ag": MethodSpec(is_async=True, is_generator=True),
    "sg": MethodSpec(is_generator=True),
}


@pytest.mark.parametrize("max_inputs", [1, 4])
async def test_synchronous_and_asynchronous_methods_mix(launch: Launcher, max_inputs: int) -> None:
    """All on one loop, which goes on while a synchronous method runs; hooks in the order of their definition."""
    guest = await start(launch, MIXED, methods=MIXED_METHODS, concurrency=Concurrency(max_inputs=max_inputs))
    generators = [guest.send(payload(9), kind="generator", credit=3, method=each) for each in ("ag", "sg")]
    await guest.until(lambda: all(len(guest.values(token)) == 3 for token in generators[:max_inputs]))
    for token in generators:
        guest.credit(token, 99)
        await guest.finished(token)

    assert [guest.values(token) for token in generators] == [list(range(9))] * 2
    assert await guest.value(method="m") == "async"
    assert await guest.value(method="s") == "sync"
    assert (await guest.stop()).exit_code == 0
    assert guest.stdout == "async bye False\nsync bye\n"


async def test_a_synchronous_method_beside_asynchronous_ones_is_interrupted(launch: Launcher) -> None:
    """By a ring too: it runs in a thread, one at a time."""
    source = (
        APP + "    @afield.method()\n    async def m(self): return 1\n"
        "    @afield.method()\n    def s(self):\n        print('on')\n        while True: time.sleep(0.001)"
    )
    guest = await start(launch, source, methods={"m": MethodSpec(is_async=True), "s": MethodSpec()})
    token = guest.send(payload(), method="s")
    await guest.until(lambda: guest.stdout)

    guest.cancel(token)

    assert (await guest.finished(token))[0].status == "cancelled"
    assert await guest.value(method="m") == 1


async def test_what_a_hook_sets_in_a_context_variable_is_there_in_methods(launch: Launcher) -> None:
    """Wherever they run; and what an input sets is not there in the next."""
    source = (
        "import contextvars\nv = contextvars.ContextVar('v')\n" + APP + "    @afield.enter()\n"
        "    async def e(self): v.set('hook')\n"
        "    @afield.method()\n    async def m(self):\n        seen = v.get()\n        v.set('m')\n        return seen\n"
        "    @afield.method()\n    def s(self):\n        seen = v.get()\n        v.set('s')\n        return seen"
    )
    guest = await start(launch, source, methods={"m": MethodSpec(is_async=True), "s": MethodSpec()})

    seen = [await guest.value(method=method) for method in "msms"]

    assert seen == ["hook"] * 4


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    def __init__(self): 1 / 0\n", "division by zero"),
        ("    @afield.enter()\n    def e(self): 1 / 0\n", "division by zero"),
        ("    @afield.enter(snap=True)\n    async def e(self): 1 / 0\n", "division by zero"),
        ("    @afield.enter()\n    def e(self): sys.exit(3)\n", "3"),
    ],
)
async def test_a_failing_start_is_told_with_its_traceback(launch: Launcher, body: str, message: str) -> None:
    """And the container ends; exit hooks are for those that have begun."""
    guest = await start(
        launch,
        APP + body + "    @afield.exit()\n    def z(self): print('bye')\n"
        "    @afield.method()\n    def m(self): pass",
    )

    answer = await guest.started()

    assert isinstance(answer, StartFailed)
    assert answer.error.kind == "startup"
    assert message in answer.error.message
    assert "_guest" not in answer.error.traceback
    assert (await guest.ended()).exit_code == 1
    assert "bye" not in guest.stdout


async def test_arguments_that_a_constructor_does_not_take_are_told(launch: Launcher) -> None:
    """Python's own words."""
    guest = await start(
        launch, APP + "    def __init__(self, needed): pass\n    @afield.method()\n    def m(self): pass"
    )

    answer = await guest.started()

    assert isinstance(answer, StartFailed)
    assert (answer.error.type_name, "'needed'" in answer.error.message) == ("TypeError", True)


async def test_each_exit_hook_runs_even_if_others_fail(launch: Launcher) -> None:
    """What they raise is in the log, with the user's own frames only; the container ends well."""
    source = (
        APP + "    @afield.exit()\n    def one(self): 1 / 0\n"
        "    @afield.exit()\n    async def two(self): raise KeyError('lost')\n"
        "    @afield.exit()\n    def three(self): sys.exit('early')\n"
        "    @afield.exit()\n    def four(self): print('bye')\n"
        "    @afield.method()\n    def m(self): pass"
    )
    guest = await start(launch, source)
    await guest.started()

    info = await guest.stop()

    assert (info.exit_code, guest.stdout) == (0, "bye\n")
    for text in ("C.one failed", "1 / 0", "KeyError: 'lost'", "early"):
        assert text in guest.stderr
    assert "_guest" not in guest.stderr


@pytest.mark.parametrize(
    "kind", ["def z(self): time.sleep(1000)", "async def z(self): await asyncio.sleep(1000)"]
)
async def test_an_exit_hook_that_hangs_is_interrupted(launch: Launcher, kind: str) -> None:
    """When the grace of the Stop is over; the hooks behind it still run."""
    source = (
        APP + f"    @afield.exit()\n    {kind}\n    @afield.exit()\n    def y(self): print('bye')\n"
        "    @afield.method()\n    def m(self): pass"
    )
    guest = await start(launch, source)
    await guest.started()

    info = await guest.stop(grace_s=0.05)

    assert (info.exit_code, guest.stdout) == (0, "bye\n")
    assert "C.z failed" in guest.stderr


async def test_exit_hooks_run_before_what_was_left_behind_ends(launch: Launcher) -> None:
    """A task that a hook started can still be told to finish by another."""
    source = (
        APP + "    @afield.enter()\n    async def e(self):\n"
        "        self.queue = asyncio.Queue()\n        self.task = asyncio.create_task(self.write())\n"
        "    async def write(self):\n        while (item := await self.queue.get()) is not None: print(item)\n"
        "    @afield.exit()\n    async def z(self):\n        await self.queue.put(None)\n        await self.task\n"
        "    @afield.method()\n    async def m(self, x): await self.queue.put(x)"
    )
    guest = await start(launch, source)
    await guest.call("kept", method="m")

    await guest.stop()

    assert guest.stdout == "kept\n"
    assert guest.stderr == ""


async def test_exit_hooks_run_when_a_task_ends_the_process(launch: Launcher) -> None:
    """The status is that of sys.exit; what still ran has no result of its own."""
    source = (
        APP
        + "    @afield.exit()\n    def z(self): print('bye')\n    @afield.method()\n    async def m(self):\n"
        "        async def bad(): sys.exit(9)\n        t = asyncio.create_task(bad())\n        await asyncio.sleep(100)"
    )
    guest = await start(launch, source)

    token = guest.send(payload(), method="m")

    assert (await guest.ended()).exit_code == 9
    assert guest.stdout == "bye\n"
    assert not guest.results(token)


async def test_a_class_that_was_pickled_is_served(launch: Launcher) -> None:
    """With `serialized=True` no module is imported."""
    namespace: dict[str, object] = {"__name__": "nowhere"}
    exec(COUNTER, namespace)
    path = launch.folder / "class"
    path.write_bytes(cloudpickle.dumps(namespace["C"]._user_cls))  # type: ignore[attr-defined]
    made = make_start(launch.folder / "home", "raise SystemExit", "C", methods=METHODS)
    guest = await launch("", start=replace(made, serialized_path=str(path)))

    assert await guest.value(1, method="m") == ["early", 10, "late", 1]
    assert isinstance(await guest.started(), Ready)


async def test_a_fork_of_a_hook_that_returns_does_not_become_a_container(launch: Launcher) -> None:
    """The child that falls out of the hook ends."""
    source = (
        APP + "    @afield.enter()\n    def e(self): self.child = os.fork()\n"
        "    @afield.method()\n    def m(self): return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])"
    )
    guest = await start(launch, source)

    assert value_of(await guest.call(method="m")) == 0


async def test_a_snapshot_holds_what_the_early_hooks_did(launch: Launcher) -> None:
    """The others run in each container, on a loop of its own; exit hooks too."""
    source = (
        APP + "    @afield.enter(snap=True)\n    async def early(self):\n"
        "        await asyncio.sleep(0)\n        await asyncio.to_thread(int)\n        self.early = os.getpid()\n"
        "    @afield.enter()\n    async def late(self):\n        self.late = os.getpid()\n"
        "        self.task = asyncio.create_task(asyncio.sleep(1000))\n"
        "    @afield.exit()\n    async def z(self): print('bye', os.getpid() == self.late, self.task.done())\n"
        "    @afield.method()\n    async def m(self): return self.early, self.late"
    )
    guests = [await start(launch, source, version=77, snapshot=True, is_async=True) for _ in range(2)]

    (early, late), (same, other) = [await guest.value(method="m") for guest in guests]

    assert (early, late, other) == (same, guests[0].container.pid, guests[1].container.pid)
    for guest in guests:
        assert (await guest.stop()).exit_code == 0
        assert guest.stdout == "bye True False\n"


async def test_tasks_that_run_before_a_snapshot_rule_it_out(launch: Launcher) -> None:
    """Their loop would be that of all containers; the user is told which they are."""
    source = (
        APP + "    @afield.enter(snap=True)\n    async def early(self):\n"
        "        self.task = asyncio.create_task(asyncio.sleep(1000), name='pump')\n"
        "    @afield.method()\n    async def m(self): return self.task.done()"
    )
    guest = await start(launch, source, version=78, snapshot=True, is_async=True)

    assert await guest.value(method="m") is False

    (notice,) = [frame for frame in guest.frames if isinstance(frame, Notice)]
    assert "pump" in notice.text
