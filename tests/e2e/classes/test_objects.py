"""Objects: their parameters, methods and hooks, in containers."""

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import afield
from afield import Cls, Function
from afield.exception import InvalidError, NotFoundError
from support.launching import wait_for


def alone(zoo: ModuleType, **parameters: Any) -> Any:
    """A counter with one container, so that its numbers can be told."""
    return zoo.Counter.with_options(max_containers=1)(**parameters)


def test_state_lives_as_long_as_its_container(zoo: ModuleType) -> None:
    """One instance for all inputs, entered once, early hooks first."""
    counter = alone(zoo, start=10, label="state")

    assert [counter.add.remote(1), counter.add.remote(2)] == [11, 13]
    pid, entered, label = counter.where.remote()
    assert pid != os.getpid()
    assert (entered, label) == (["snap", "plain"], "state")


def test_equal_parameters_share_containers_and_others_do_not(zoo: ModuleType) -> None:
    """Spelt out or not, in any order."""
    one = zoo.Counter(start=1, label="pools").where.remote()
    same = zoo.Counter(label="pools", start=1).where.remote()
    other = zoo.Counter(start=2, label="pools").where.remote()

    assert one[0] == same[0] != other[0]
    assert zoo.Counter().where.remote()[0] == zoo.Counter(start=0, label="").where.remote()[0]


def test_every_way_to_call(zoo: ModuleType) -> None:
    """A method has all that a function has."""
    counter = alone(zoo, start=0, label="ways")

    assert sorted(counter.add.map([1] * 20)) == list(range(1, 21))
    assert list(counter.add.starmap([(1,), (2,)])) == [21, 23]
    counter.add.for_each([1])
    assert counter.add.spawn(k=1).get() == 25
    assert sorted(counter.add.spawn_map([1, 1]).iter()) == [26, 27]
    assert list(counter.stream.remote_gen(3)) == [0, 1, 2]


@pytest.mark.anyio
async def test_every_way_to_call_asynchronously(zoo: ModuleType) -> None:
    """The same from an event loop."""
    counter = alone(zoo, start=0, label="async ways")

    assert await counter.add.remote.aio(1) == 1
    assert sorted([value async for value in counter.add.map.aio([1, 1])]) == [2, 3]
    assert [value async for value in counter.stream.remote_gen.aio(2)] == [0, 1]
    call = await counter.add.spawn.aio(1)
    assert await call.get.aio() == 4


def test_errors_come_back_as_they_were(zoo: ModuleType) -> None:
    """With the frames of the method."""
    with pytest.raises(ValueError, match="of errors") as caught:
        zoo.Counter(label="errors").fail.remote()

    assert any(entry.name == "fail" for entry in caught.traceback)


def test_kinds_of_methods_are_told_apart(zoo: ModuleType) -> None:
    """As those of functions."""
    with pytest.raises(InvalidError, match=r"Counter\(\)\.stream\.remote_gen\(\)"):
        zoo.Counter().stream.remote(1)
    with pytest.raises(InvalidError, match=r"Counter\(\)\.add\.remote\(\)"):
        zoo.Counter().add.remote_gen(1)


def test_constructors_of_their_own(zoo: ModuleType) -> None:
    """Any arguments, by position or by name."""
    assert zoo.Own(range(4), scale=2.0).total.remote() == 12.0
    assert zoo.Own(items=[1, 2]).total.remote() == 3.0


def test_asynchronous_classes(zoo: ModuleType) -> None:
    """Hooks, methods and generators; a plain method among them runs, too."""
    made = zoo.Async()

    assert made.state.remote() == "ready"
    assert list(made.stream.remote_gen(3)) == [0, 1, 2]
    assert made.plain.remote() == "plain ready"


def test_inheritance(zoo: ModuleType) -> None:
    """Hooks of bases first; methods as Python finds them; bases may be classes of an app."""
    assert zoo.Derived().inherited.remote() == ["base", "derived"]
    assert zoo.Derived().overridden.remote() == "derived from base"
    assert zoo.Further().own.remote() == "further derived from base"
    assert zoo.Further().inherited.remote() == ["base", "derived"]


def test_a_failing_hook_is_the_callers_to_see(zoo: ModuleType) -> None:
    """With its traceback."""
    with pytest.raises(LookupError, match="no such model") as caught:
        zoo.FailsToEnter().run.remote()

    assert any(entry.name == "load" for entry in caught.traceback)


def test_a_failing_constructor_is_the_callers_to_see(zoo: ModuleType) -> None:
    """For these arguments only."""
    with pytest.raises(ZeroDivisionError):
        zoo.FailsToBeMade(0).run.remote()
    assert zoo.FailsToBeMade(2).run.remote() == 0.5


def test_methods_call_methods(zoo: ModuleType) -> None:
    """`.local()` in the same container, `.remote()` in another of the same kind."""
    counter = zoo.Counter(start=40, label="nested")

    assert counter.through_another.remote() == (40, 45)
    assert counter.at_once.remote() >= 140


def test_objects_travel(zoo: ModuleType) -> None:
    """As arguments, with their parameters and settings, used or not."""
    used = zoo.Counter(start=7, label="used")
    used.add.remote(0)

    assert zoo.calls_it.remote(used, 1) == 8
    assert zoo.calls_it.remote(zoo.Counter(start=7, label="unused"), 2) == 9
    assert zoo.calls_method.remote(zoo.Counter(start=3, label="method").add) == 4


def test_containers_make_objects(zoo: ModuleType) -> None:
    """Which are the same as those made here."""
    assert zoo.makes_one.remote(50) == (51, -1)
    assert zoo.Counter(start=50, label="inner").add.remote(1) == 52


def test_exit_hooks_run_when_the_app_ends(zoo: ModuleType, tmp_path: Path) -> None:
    """All of them, even if one fails."""
    path = tmp_path / "said"
    app: Any = afield.App("leaving")
    app.cls(serialized=True)(zoo.Leaves._user_cls)
    (leaves,) = app.registered_classes.values()
    with app.run():
        leaves(path=str(path)).work.remote()
        assert path.read_text().split("\n")[:2] == ["enter", "work"]

    wait_for(lambda: path.read_text().split("\n")[2:4] == ["exit 1", "exit 2"], "the exit hooks to run")


# -- looking up -------------------------------------------------------------------------------------


def test_looked_up_classes_have_the_same_containers(zoo: ModuleType) -> None:
    """Whoever asks, and whether defaults are spelt out or not."""
    found = Cls.from_name("zoo", "Counter")
    here = zoo.Counter(start=5, label="looked up").where.remote()[0]

    assert found(start=5, label="looked up").where.remote()[0] == here
    assert found(label="x", start=0).where.remote()[0] == zoo.Counter(label="x").where.remote()[0]
    assert list(found(start=5).stream.remote_gen(2)) == [5, 6]
    assert Cls.from_name("zoo", "Own")([1, 2], scale=3.0).total.remote() == 9.0


def test_looked_up_classes_check_their_arguments(zoo: ModuleType) -> None:
    """At the first call, as they are not known before."""
    found = Cls.from_name("zoo", "Counter")
    with pytest.raises(InvalidError, match="no parameter 'begin'"):
        found(begin=3).add.remote()
    with pytest.raises(InvalidError, match="to be int, got '3'"):
        found(start="3").add.remote()
    with pytest.raises(InvalidError, match="no method 'ad': did you mean 'add'"):
        found().ad.remote()


def test_functions_and_classes_are_told_apart(zoo: ModuleType) -> None:
    """Each look-up names the other."""
    with pytest.raises(InvalidError, match=r"afield\.Function\.from_name\('zoo', 'setting'\)"):
        Cls.from_name("zoo", "setting")().run.remote()
    with pytest.raises(InvalidError, match=r"afield\.Cls\.from_name\('zoo', 'Counter'\)"):
        Function.from_name("zoo", "Counter").remote()
    with pytest.raises(NotFoundError):
        Cls.from_name("zoo", "Missing")().run.remote()
