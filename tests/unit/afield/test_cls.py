"""Classes without a platform: objects, their methods and attributes, and what is said when something cannot be."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest

import afield
from afield import App, Cls
from afield._variant import Arguments, Variant
from afield._wire.api import FunctionRef
from afield._wire.functions import CodeRef, FunctionRecord, FunctionSpec, Options
from afield.cls import Obj, adopt, is_parameter
from afield.exception import InvalidError, UnimplementedError
from afield.serialization import loads_call

app = App("demo")


@app.cls()
class Counter:
    """Counts."""

    STEP = 2
    start: int = afield.parameter(default=0)

    @afield.enter()
    def setup(self) -> None:
        self.n = self.start

    @afield.method()
    def add(self, k: int) -> int:
        """Add."""
        self.n += k
        return self.n

    @afield.method()
    def twice(self, k: int) -> int:
        return self.add.local(k) and self.add.local(k)

    @afield.method()
    def stream(self) -> Any:
        yield self.n

    @property
    def broken(self) -> Any:
        return self.nothing  # type: ignore[attr-defined]

    @staticmethod
    def helper(x: int) -> int:
        return x + 1


@app.cls()
class Own:
    def __init__(self, a: int, b: int = 2) -> None:
        self.sum = a + b

    @afield.method()
    def read(self) -> int:
        return self.sum


@app.cls()
class Doubles:
    @afield.method()
    def run(self, values: list[int]) -> list[int]:
        return [2 * value for value in values]


counter: Any = Counter
own: Any = Own
doubles: Any = Doubles


def test_local_calls_share_one_instance() -> None:
    """Made with the object's arguments, and entered once."""
    made = counter(start=10)

    assert (made.add.local(1), made.twice.local(2), list(made.stream.local())) == (11, 15, [15])
    assert own(1, b=5).read.local() == 6


def test_attributes_are_the_instances() -> None:
    """Parameters before any call, what hooks set after one."""
    made = counter(start=10)

    assert (made.start, made.helper(1), made.STEP) == (10, 2, 2)
    made.add.local(1)
    assert made.n == 11


def test_methods_keep_name_and_docstring() -> None:
    """Help shows what was written."""
    method = counter().add

    assert (method.__name__, method.__doc__, method._method) == ("add", "Add.", "add")
    assert (repr(method), method.is_generator, counter().stream.is_generator) == (
        "Function('Counter.add')",
        False,
        True,
    )
    assert (method.raw_f.__name__, method.app) == ("add", app)


def test_a_method_is_made_once() -> None:
    """The object keeps it."""
    made = counter()

    assert made.add is made.add


def test_objects_show_their_arguments() -> None:
    """As they were written."""
    assert (repr(counter(start=3)), repr(own(1, b=2)), repr(Counter)) == (
        "Counter(start=3)", "Own(1, b=2)", "Cls('Counter')",
    )  # fmt: skip


def test_what_is_not_there_names_what_is() -> None:
    """An attribute, a method, a class attribute."""
    with pytest.raises(AttributeError, match="did you mean 'twice'"):
        _ = counter().twise
    with pytest.raises(AttributeError, match="did you mean 'STEP'"):
        _ = counter.STEPP
    with pytest.raises(AttributeError, match=r"needs an object: Counter\(\)\.add"):
        _ = counter.add
    assert not hasattr(counter(), "__len__")


def test_errors_of_properties_are_the_users_own() -> None:
    """What is missing is named as Python does."""
    with pytest.raises(AttributeError, match="'Counter' object has no attribute 'nothing'"):
        _ = counter().broken


def test_the_name_of_a_class_stands_for_it() -> None:
    """Class attributes, inheritance and isinstance go on as before."""

    class More(Counter):
        @afield.method()
        def add(self, k: int) -> int:
            return super().add.local(k) + 1

    assert (counter.STEP, counter.helper(1), counter.__doc__) == (2, 2, "Counts.")
    assert counter._user_cls in More.__mro__
    assert isinstance(More(), Counter)
    assert not isinstance(counter(), Counter)
    made: Any = App().cls(serialized=True)(More)
    assert made(start=1).add.local(1) == 3


def test_arguments_are_checked_when_the_object_is_made() -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidError, match="by name"):
        counter(1)
    with pytest.raises(InvalidError, match="wrong arguments"):
        own()


def test_equal_arguments_mean_the_same_containers() -> None:
    """And none means those of the class itself."""
    assert counter(start=3)._afield_service is counter(start=3)._afield_service
    assert counter()._afield_service is counter(start=0)._afield_service is counter._service
    assert loads_call(own(1)._afield_service._params) == ((1,), {})
    assert own(1)._afield_service is own(a=1)._afield_service


def test_other_settings_make_another_class() -> None:
    """Settings add up, and objects have them with their arguments."""
    made = (
        counter.with_options(cpu=2, env={"A": "1"})
        .with_options(env={"B": "2"})
        .with_concurrency(max_inputs=3)
    )
    service = made(start=5)._afield_service
    options = service._options

    assert (options.cpu, options.env, options.concurrency.max_inputs) == (2.0, {"A": "1", "B": "2"}, 3)
    assert service._base is counter._service
    assert loads_call(service._params) == ((), {"start": 5})
    assert made().add.local(1) == 1
    assert doubles.with_batching(max_batch_size=2, wait_ms=1)._service._options.batching.max_batch_size == 2
    assert counter.with_options()._service._options is None


def test_wrong_settings_are_refused() -> None:
    """Those of old name their successors."""
    with pytest.raises(TypeError, match="min_containers"):
        counter.with_options(keep_warm=1)
    with pytest.raises(TypeError, match="cpus"):
        counter.with_options(cpus=1)
    with pytest.raises(UnimplementedError, match="secrets"):
        counter.with_options(secrets=[object()])
    with pytest.raises(InvalidError, match=r"one method only; it has add, twice, stream"):
        counter.with_batching(max_batch_size=2, wait_ms=1)
    with pytest.raises(InvalidError, match="above max_containers"):
        counter.with_options(max_containers=1).with_options(min_containers=2)


@pytest.mark.parametrize(
    "settle",
    [
        lambda: counter().add.with_options(cpu=1),
        lambda: counter().add.with_concurrency(max_inputs=2),
        lambda: counter().add.with_batching(max_batch_size=2, wait_ms=1),
    ],
)
def test_settings_are_not_a_methods(settle: Callable[[], Any]) -> None:
    """It says where they belong."""
    with pytest.raises(InvalidError, match=r"Counter\.with_options\(\.\.\.\)\(\)"):
        settle()


@pytest.mark.parametrize(
    "call",
    [
        lambda: counter().add.remote(1),
        lambda: counter(start=1).add.spawn(1),
        lambda: counter().add.map([1]),
        lambda: counter.with_options(cpu=1)().stream.remote_gen(),
        lambda: counter().add.get_current_stats(),
        lambda: counter().update_autoscaler(min_containers=1),
        lambda: counter.object_id,
    ],
)
def test_calling_outside_of_a_run_says_what_to_do(call: Callable[[], Any]) -> None:
    """The message names the class and the ways out."""
    with pytest.raises(InvalidError, match=r"class 'Counter' has not been hydrated.*with app\.run\(\)"):
        call()


def test_calling_directly_says_what_to_write() -> None:
    """`obj.method()` could mean two things."""
    with pytest.raises(InvalidError, match=r"Counter\(\)\.add\.remote.*Counter\(\)\.add\.local"):
        counter().add(1)


def test_looking_up_is_lazy() -> None:
    """Arguments are checked when the class is known."""
    found = Cls.from_name("app", "Counter")
    made: Any = found(1, anything=True)
    service = made.add._service

    assert isinstance(made, Obj)
    assert (service._binding, service._params) == (None, Arguments((1,), {"anything": True}))
    assert found(1, anything=True)._afield_service is service
    assert (repr(made), repr(made.add)) == ("Counter(1, anything=True)", "Function('Counter.add')")


def test_what_was_looked_up_has_no_code_here() -> None:
    """It can only be run remotely, and nothing can inherit from it."""
    found: Any = Cls.from_name("app", "Counter")
    with pytest.raises(InvalidError, match=r"\.remote"):
        found().add.local(1)
    with pytest.raises(AttributeError, match="looked up"):
        _ = found()._private
    with pytest.raises(InvalidError, match="inherit"):
        found.__mro_entries__(())
    with pytest.raises(AttributeError):
        _ = found.STEP


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, 3])
def test_names_that_cannot_exist_are_refused(name: Any) -> None:
    """Before anything is looked up."""
    with pytest.raises(InvalidError):
        Cls.from_name("app", name)
    with pytest.raises(InvalidError):
        Cls.from_name(name, "C")
    with pytest.raises(UnimplementedError, match="version"):
        Cls.from_name("app", "C", version=1)


def test_classes_objects_and_methods_travel_as_references() -> None:
    """On the other side they are as if they had been looked up."""
    made: Any = Cls.from_name("app", "C").with_options(cpu=2)(x=1)
    copy: Any = pickle.loads(pickle.dumps(made))
    method: Any = pickle.loads(pickle.dumps(made.run))
    cls: Any = pickle.loads(pickle.dumps(Cls.from_name("app", "C")))
    service = copy._afield_service

    assert isinstance(service, Variant)
    assert service._base._reference == FunctionRef(ws="main", app_name="app", name="C")
    assert (service._options, service._params) == (Options(cpu=2.0), Arguments((), {"x": 1}))
    assert (method._method, method._service._options, repr(cls)) == ("run", Options(cpu=2.0), "Cls('C')")


def test_classes_of_apps_that_do_not_run_cannot_travel() -> None:
    """There would be nothing to find."""
    for each in (Counter, counter(start=1), counter().add):
        with pytest.raises(InvalidError, match="hydrated"):
            pickle.dumps(each)


def test_in_a_container_an_instance_knows_its_containers() -> None:
    """The guest says which they are."""
    instance = counter._user_cls()
    code = CodeRef(module="m", qualname="Counter")
    adopt(
        instance,
        FunctionRecord(
            function_id="cs-1-abc", app_id="ap-1", app_name="demo", ws="main", shard=0,
            spec=FunctionSpec(name="Counter", code=code),
        ),
    )  # fmt: skip
    copy: Any = pickle.loads(pickle.dumps(instance.add))

    assert instance.add._reference_now() is None
    assert instance.add._service._reference == FunctionRef(ws="main", function_id="cs-1-abc", name="Counter")
    assert instance.add._can_hydrate()
    assert copy._service._reference.function_id == "cs-1-abc"
    assert repr(instance.add) == "Function('Counter.add')"


def test_instances_of_the_users_own_making_run_here_only() -> None:
    """Nobody could say where else."""
    instance = counter._user_cls()
    instance.setup()

    assert instance.add.local(2) == 2
    with pytest.raises(InvalidError, match="was not made by afield"):
        instance.add.remote(2)
    with pytest.raises(InvalidError, match="was not made by afield"):
        pickle.dumps(instance.add)


def test_an_instance_made_here_calls_the_objects_containers() -> None:
    """`self.method.remote()` in a local call goes where `obj.method.remote()` goes."""
    made = counter(start=3)

    assert made._afield_local.instance.add._service is made._afield_service


def test_in_a_container_classes_of_the_app_are_looked_up() -> None:
    """The guest tells the app what it runs for."""
    inside = App("demo")
    made: Any = inside.cls()(counter._user_cls)
    inside._bind_remote(app_id="ap-1", ws="main")

    assert made._service._reference_now() == FunctionRef(ws="main", app_id="ap-1", name="Counter")
    assert made(start=1).add._can_hydrate()


def test_parameters_can_be_told() -> None:
    """As Modal's `is_parameter`."""
    assert is_parameter(afield.parameter())
    assert not is_parameter(3)
