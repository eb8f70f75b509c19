"""Every way to call a function, blocking and asynchronous."""

import itertools
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import afield
from afield.exception import AsyncUsageWarning, InvalidError


def test_remote(fleet: ModuleType) -> None:
    """A call returns what the function returned."""
    assert fleet.square.remote(12) == 144


def test_local(fleet: ModuleType) -> None:
    """A local call runs here."""
    assert fleet.count_calls.local()[1] == os.getpid()


def test_keyword_arguments(fleet: ModuleType) -> None:
    """Positional and keyword arguments arrive as given."""
    assert fleet.add.remote(1, b=2, scale=10) == 30


def test_async_function(fleet: ModuleType) -> None:
    """An async function is called like a plain one."""
    assert fleet.async_square.remote(5) == 25


@pytest.mark.anyio
async def test_remote_aio(fleet: ModuleType) -> None:
    """The asynchronous face gives the same result."""
    assert await fleet.square.remote.aio(7) == 49


@pytest.mark.anyio
async def test_blocking_call_in_a_loop_warns(fleet: ModuleType) -> None:
    """The blocking form inside an event loop works, but names the form to use."""
    with pytest.warns(AsyncUsageWarning, match=r"\.aio"):
        assert fleet.square.remote(3) == 9


def test_generator(fleet: ModuleType) -> None:
    """A generator function yields here what it yields there."""
    assert list(fleet.count_up.remote_gen(1000)) == list(range(1000))


def test_async_generator(fleet: ModuleType) -> None:
    """An async generator function, called from blocking code."""
    assert list(fleet.async_count_up.remote_gen(10)) == list(range(10))


@pytest.mark.anyio
async def test_generator_aio(fleet: ModuleType) -> None:
    """The asynchronous face of a generator."""
    assert [x async for x in fleet.count_up.remote_gen.aio(10)] == list(range(10))


def test_endless_generator_can_be_left(fleet: ModuleType) -> None:
    """Leaving an endless generator stops it, and its function stays usable."""
    taken = list(itertools.islice(fleet.endless.remote_gen(), 5000))

    assert taken == list(range(5000))
    assert list(fleet.count_up.remote_gen(3)) == [0, 1, 2]


def test_generator_that_fails(fleet: ModuleType) -> None:
    """The values before the error arrive, then the error."""
    seen = []
    with pytest.raises(ValueError, match="gave up after 3"):
        seen.extend(fleet.failing_generator.remote_gen(3))
    assert seen == [0, 1, 2]


def test_map(fleet: ModuleType) -> None:
    """A map yields results in the order of its inputs."""
    assert list(fleet.square.map(range(2000))) == [x * x for x in range(2000)]


def test_map_of_several_iterators(fleet: ModuleType) -> None:
    """Iterators are zipped; kwargs go to every input."""
    assert list(fleet.add.map([1, 2, 3], [10, 20, 30], kwargs={"scale": 2})) == [22, 44, 66]


def test_map_unordered(fleet: ModuleType) -> None:
    """Without order, results come as they are ready."""
    started = list(fleet.nap.map([1.0, 0.01], order_outputs=False))

    assert started == [0.01, 1.0]


def test_map_is_lazy(fleet: ModuleType) -> None:
    """An endless input iterator is only read ahead by a bounded number of inputs."""
    read = 0

    def endless() -> Iterator[int]:
        nonlocal read
        while True:
            yield read
            read += 1

    taken = list(itertools.islice(fleet.square.map(endless()), 10))

    assert taken == [x * x for x in range(10)]
    assert read <= 4100


def test_map_return_exceptions(fleet: ModuleType) -> None:
    """Errors can come as values."""
    results = list(fleet.fail_if_odd.map(range(4), return_exceptions=True))

    assert results[0] == 0
    assert isinstance(results[1], ValueError)
    assert str(results[3]) == "3 is odd"


def test_map_raises_at_its_place(fleet: ModuleType) -> None:
    """The first error in order ends a map."""
    seen = []
    with pytest.raises(ValueError, match="1 is odd"):
        seen.extend(fleet.fail_if_odd.map(range(10)))
    assert seen == [0]


def test_map_input_iterator_fails(fleet: ModuleType) -> None:
    """An error of the input iterator reaches the caller."""

    def broken() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(fleet.square.map(broken()))


def test_starmap(fleet: ModuleType) -> None:
    """A starmap spreads each item."""
    assert list(fleet.add.starmap([(1, 2), (3, 4)])) == [3, 7]


def test_for_each(fleet: ModuleType) -> None:
    """A for_each waits for all and returns nothing."""
    assert fleet.square.for_each(range(10)) is None
    with pytest.raises(ValueError, match="1 is odd"):
        fleet.fail_if_odd.for_each([0, 1])
    fleet.fail_if_odd.for_each([0, 1], ignore_exceptions=True)


@pytest.mark.anyio
async def test_map_aio_with_async_inputs(fleet: ModuleType) -> None:
    """Asynchronous inputs in, asynchronous results out."""

    async def numbers() -> AsyncIterator[int]:
        for i in range(100):
            yield i

    assert [x async for x in fleet.square.map.aio(numbers())] == [x * x for x in range(100)]


def test_spawn_and_get(fleet: ModuleType) -> None:
    """A spawned call can be polled, awaited, and found by its id."""
    call = fleet.nap.spawn(0.5)
    with pytest.raises(TimeoutError):
        call.get(timeout=0)

    assert call.get() == 0.5
    assert call.object_id.startswith("fc-")
    assert afield.FunctionCall.from_id(call.object_id).get(timeout=10) == 0.5


def test_gather(fleet: ModuleType) -> None:
    """Several calls can be awaited together."""
    calls = [fleet.square.spawn(i) for i in range(5)]

    assert list(afield.FunctionCall.gather(*calls)) == [0, 1, 4, 9, 16]


def test_spawn_map(fleet: ModuleType, tmp_path: Path) -> None:
    """A spawned map runs without being waited for."""
    fleet.touch_after_nap.spawn_map([str(tmp_path / str(i)) for i in range(5)], kwargs={"seconds": 0})
    deadline = time.monotonic() + 20
    while len(list(tmp_path.iterdir())) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_cancel(fleet: ModuleType, tmp_path: Path) -> None:
    """A cancelled call does not finish, and says so."""
    call = fleet.touch_after_nap.spawn(str(tmp_path / "never"), 5)
    call.cancel()

    with pytest.raises(afield.exception.Error, match="cancel"):
        call.get(timeout=10)
    assert fleet.square.remote(2) == 4
    assert not (tmp_path / "never").exists()


def test_remote_on_a_generator(fleet: ModuleType) -> None:
    """The wrong way to call says which is right."""
    with pytest.raises(InvalidError, match="remote_gen"):
        fleet.count_up.remote(3)
    with pytest.raises(InvalidError, match="remote"):
        fleet.square.remote_gen(3)


def test_call_outside_a_run() -> None:
    """A function of an app that does not run says what to do."""
    app = afield.App("idle")

    @app.function(serialized=True)
    def lonely() -> None: ...

    with pytest.raises(InvalidError, match=r"app\.run"):
        lonely.remote()


def test_name(fleet: ModuleType) -> None:
    """A function may have a name other than its own."""
    assert fleet.original_name.remote() == "renamed"


def test_nested_calls(fleet: ModuleType) -> None:
    """Functions call functions of their app, in every form."""
    assert fleet.call_square.remote(6) == 37
    assert fleet.async_call_square.remote(6) == 37
    assert fleet.map_square.remote(50) == [x * x for x in range(50)]


def test_module_state_lives_with_the_container(fleet: ModuleType) -> None:
    """Module state is kept between inputs of one container."""
    first, pid = fleet.count_calls.remote()
    second, same = fleet.count_calls.remote()

    assert pid == same
    assert second == first + 1


def test_classes_are_the_same_on_both_sides(fleet: ModuleType) -> None:
    """A dataclass of the entry module keeps its identity there and back."""
    moved = fleet.move.remote(fleet.Point(1, 2), 10)

    assert moved == fleet.Point(11, 2)
    assert type(moved) is fleet.Point


def test_siblings_travel_along(fleet: ModuleType) -> None:
    """A module beside the entry file is shipped without being named."""
    assert fleet.shout.remote("hey") == "HEY!"


def test_source_and_module_name(fleet: ModuleType) -> None:
    """The module has the same name there, and its file can be read."""
    name, file, folder = fleet.module_facts.remote()

    assert (name, file) == ("fleet", "fleet.py")
    assert "def read_own_source" in fleet.read_own_source.remote()
    assert folder != os.getcwd()


def test_env(fleet: ModuleType) -> None:
    """Environment variables of the decorator are set."""
    assert fleet.environment.remote() == "green"


def test_ids_inside(fleet: ModuleType) -> None:
    """A function can ask which input it is."""
    input_id, call_id = fleet.ids.remote()

    assert input_id.startswith("in-")
    assert call_id.startswith("fc-")


def test_max_containers(fleet: ModuleType) -> None:
    """No more containers than allowed."""
    assert len(set(fleet.pid_of_the_only_one.map(() for _ in range(0)))) == 0
    assert len(set(fleet.pid_of_the_only_one.starmap(() for _ in range(40)))) == 1


def test_single_use_containers(fleet: ModuleType) -> None:
    """Every input gets a container of its own."""
    pids = [fleet.pid_of_single_use.remote() for _ in range(3)]

    assert len(set(pids)) == 3


def test_serialized_closure(fleet: ModuleType) -> None:
    """A function that exists only here travels by value."""
    factor = 3
    app = afield.App("closures")

    @app.function(serialized=True)
    def times(x: int) -> int:
        return x * factor

    with app.run():
        assert times.remote(14) == 42
