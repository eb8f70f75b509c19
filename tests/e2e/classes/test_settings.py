"""Settings of classes and functions: variants, scaling, several inputs at once, batches."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest

import afield
from afield.exception import ExecutionError
from afield.types import FunctionAutoscalerSettings, FunctionCurrentStats
from support.launching import wait_for


def test_other_settings_mean_other_containers(zoo: ModuleType) -> None:
    """With the same parameters; settings add up."""
    settled = zoo.Counter.with_options(env={"ZOO": "1"}).with_options(env={"ZOO_TOO": "2"})
    one, other = zoo.Counter(label="settings"), settled(label="settings")

    assert one.where.remote()[0] != other.where.remote()[0]
    assert [other.environment.remote(name) for name in ("ZOO", "ZOO_TOO")] == ["1", "2"]
    assert one.environment.remote("ZOO") is None


def test_functions_have_settings_too(zoo: ModuleType) -> None:
    """The function itself stays as it is."""
    settled = zoo.setting.with_options(env={"ZOO": "f"})

    assert (settled.remote("ZOO"), zoo.setting.remote("ZOO")) == ("f", None)
    assert settled.object_id != zoo.setting.object_id
    assert list(settled.map(["ZOO", "ZOO"])) == ["f", "f"]


def test_variants_travel(zoo: ModuleType) -> None:
    """As arguments, before their first use, too."""
    assert zoo.calls_method.remote(zoo.Own.with_options(timeout=20)([1, 2]).total) == 3.0


@pytest.mark.parametrize("name", ["Threads", "Tasks"])
def test_inputs_run_at_once(zoo: ModuleType, name: str) -> None:
    """In threads or tasks of one container, each knowing its own input."""
    made = getattr(zoo, name)()
    call = made.meet.spawn_map(range(4))
    results = list(call.iter())

    assert [index for index, _, _ in results] == [0, 1, 2, 3]
    assert len({input_id for _, input_id, _ in results}) == 4
    assert len({thread for _, _, thread in results}) == (4 if name == "Threads" else 1)


def test_concurrency_as_a_setting(zoo: ModuleType) -> None:
    """Two inputs that wait for each other end."""
    together = zoo.meet_later.with_concurrency(max_inputs=2)
    calls = [together.spawn(i) for i in range(2)]

    assert [call.get() for call in calls] == [0, 1]


def test_batches_fill_up(zoo: ModuleType) -> None:
    """Callers give and get single values, by position or by name."""
    batched = zoo.Batched()
    assert batched.sizes.remote(3, scale=2) == (6, 1)

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(batched.sizes.remote, i, 10) for i in range(8)]
    values = [call.result() for call in calls]
    assert [value for value, _ in values] == [10 * i for i in range(8)]
    assert max(size for _, size in values) > 1


def test_maps_are_batched(zoo: ModuleType) -> None:
    """Every input has its own result."""
    assert list(zoo.doubled.map(range(20))) == [2 * i for i in range(20)]


def test_a_batch_of_another_size_is_an_error(zoo: ModuleType) -> None:
    """One result for each input."""
    with pytest.raises(ExecutionError, match="list"):
        list(zoo.doubled.with_batching(max_batch_size=2, wait_ms=5000).map([-1, -1]))


def test_an_error_is_that_of_every_input_of_the_batch(zoo: ModuleType) -> None:
    """Nobody could say whose it was."""
    together = zoo.doubled.with_batching(max_batch_size=2, wait_ms=5000)
    results = list(together.map([-2, 5], return_exceptions=True))

    assert [type(each) for each in results] == [ValueError, ValueError]


def test_scaling_can_be_changed(zoo: ModuleType) -> None:
    """While the app runs; what is not named stays."""
    counter = zoo.Counter(label="scaling")
    first = counter.update_autoscaler(max_containers=3, scaledown_window=5)
    second = counter.update_autoscaler(min_containers=1)

    assert first == FunctionAutoscalerSettings(0, 3, 5, 0)
    assert second == FunctionAutoscalerSettings(1, 3, 5, 0)
    wait_for(lambda: counter.add.get_current_stats().num_total_runners >= 1, "a container to start")
    counter.update_autoscaler(min_containers=0)


def test_stats_count_what_runs(zoo: ModuleType) -> None:
    """As the platform heard last."""
    call = zoo.Threads().meet.spawn(0)

    def busy() -> bool:
        stats: FunctionCurrentStats = zoo.Threads().meet.get_current_stats()
        return (stats.num_running_inputs, stats.input_headroom) == (1, 3)

    wait_for(busy, "the input to be seen")
    zoo.Threads().meet.spawn_map([1, 2, 3])
    assert call.get()[0] == 0


def test_classes_by_value(platform: Any) -> None:
    """A class that no module defines."""
    app = afield.App("by-value")

    @app.cls(serialized=True)
    class Inner:
        n: int = afield.parameter()

        @afield.method()
        def read(self) -> int:
            return self.n

        @afield.method()
        def twice(self) -> int:
            return self.read.local() + self.read.remote()

    inner: Any = Inner
    with app.run():
        assert inner(n=4).read.remote() == 4
        assert inner(n=4).twice.remote() == 8


def test_a_second_run_has_containers_of_its_own(zoo: ModuleType) -> None:
    """Handles of the first one are bound anew."""
    app: Any = afield.App("again")
    app.cls(serialized=True)(zoo.Own._user_cls)
    (own,) = app.registered_classes.values()
    kept = own([1, 2])
    ids = []
    for _ in range(2):
        with app.run():
            assert kept.total.remote() == 3.0
            ids.append(kept.total.object_id)

    assert ids[0] != ids[1]


def test_threads_share_a_handle(zoo: ModuleType) -> None:
    """Also before its first use."""
    counter = zoo.Counter(start=0, label="threads")
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(counter.add.remote(1))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == 4
