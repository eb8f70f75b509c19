"""Tests of afield.serialization: what travels, how, and what is said of what cannot."""

import array
import collections
import dataclasses
import functools
import gc
import mmap
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import types
import weakref
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield import serialization
from afield.exception import DeserializationError, InvalidError, SerializationError
from afield.serialization import MAGIC, dumps, dumps_call, loads, loads_call

LARGE = 200_000


class Raster:
    """Stands for a numpy array: hands its memory over out of band."""

    def __init__(self, memory: Any) -> None:
        self.memory = memory

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Raster, (pickle.PickleBuffer(self.memory),)


@dataclasses.dataclass
class Order:
    """An ordinary object."""

    items: Any
    key: Any = None


class Pair(NamedTuple):
    left: Any
    right: Any


def again(value: Any) -> Any:
    return loads(dumps(value).join())


# -- plain values -------------------------------------------------------------------------------------

atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
plain = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=12)
        | st.lists(inner, max_size=12).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=12)
    ),
    max_leaves=40,
)


@given(plain)
def test_plain_values(value: Any) -> None:
    """Values of builtin types come back equal and of the same types, whichever way they took."""
    found = again(value)
    assert found == value
    assert repr(found) == repr(value)


@given(st.lists(plain, max_size=10).map(tuple), st.dictionaries(st.text(), plain, max_size=10))
def test_calls(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """The arguments of a call come back as they were given."""
    assert loads_call(dumps_call(args, kwargs).join()) == (args, kwargs)


@pytest.mark.parametrize(
    "value",
    [
        collections.OrderedDict(b=1, a=2),
        collections.Counter("aab"),
        collections.defaultdict(list, a=[1]),
        Pair(1, [2]),
        frozenset({1, 2}),
        range(3),
        slice(1, None),
        Ellipsis,
        type(None),
        int,
        dataclasses.replace,
        Path("a/b"),
        array.array("d", [1.5, 2.5]),
        re.compile("a+"),
    ],
)
def test_subclasses_are_no_plain_values(value: Any) -> None:
    """What only looks like a tuple, dict or int keeps its class."""
    found = again((value, [value], {"k": value}))
    assert found == (value, [value], {"k": value})
    assert type(found[0]) is type(value)


def test_shared_and_circular_references() -> None:
    """One object twice is one object again; a list may hold itself."""
    shared = [1]
    loop: list[Any] = [shared, {"x": shared}]
    loop.append(loop)
    found = again(loop)
    assert found[0] is found[1]["x"]
    assert found[2] is found


def test_one_part_joins_without_copying() -> None:
    """Joining a payload of a single piece gives this piece."""
    data = dumps((1, "a"))
    assert data.join() is data.parts[0]
    assert data.size == len(data.join())


# -- large values -------------------------------------------------------------------------------------


def test_large_bytes_are_not_copied() -> None:
    """However deep large bytes lie, the payload refers to the caller's own object."""
    block = bytes(LARGE)
    mutable = bytearray(LARGE)
    data = dumps_call(({"deep": [Order(block), mutable]},), {})
    assert any(part is block for part in data.parts)
    assert any(isinstance(part, memoryview) and part.obj is mutable for part in data.parts)
    assert data.size == sum(map(len, data.parts))
    (found,), _ = loads_call(data.join())
    assert found["deep"][0].items == block
    assert found["deep"][1] == mutable
    assert type(found["deep"][1]) is bytearray


def test_what_was_pickled_is_let_go() -> None:
    """Nothing of ours keeps a value, not even until the next collection of garbage."""
    order = Order(bytearray(LARGE))
    seen = weakref.ref(order)
    gc.disable()
    try:
        dumps(order)
        del order
        assert seen() is None
    finally:
        gc.enable()


def test_long_text() -> None:
    """A long string with characters of all widths comes back, although its UTF-8 form is short-lived."""
    text = "aé€😀" * LARGE
    assert again([text, "\ud800" * LARGE]) == [text, "\ud800" * LARGE]


def test_large_buffers_lie_aligned() -> None:
    """Buffers beside the pickle begin at multiples of 64 bytes, so that they can be used where they are."""
    payload = dumps([Raster(bytearray(b"a" * LARGE)), Raster(bytearray(b"b" * (LARGE + 1)))]).join()
    assert payload[:4] == MAGIC
    assert payload.index(b"a" * LARGE) % 64 == 0
    assert payload.index(b"b" * (LARGE + 1)) % 64 == 0


@pytest.mark.parametrize("size", [0, 10, 65_535, 65_536, LARGE])
@pytest.mark.parametrize("make", [bytes, bytearray])
def test_writable_stays_writable(size: int, make: type) -> None:
    """Memory that could be written to can be written to again, in whatever buffer it came; what could not, cannot."""
    found = again(Raster(make(size)))
    view = memoryview(found.memory)
    assert view.nbytes == size
    assert view.readonly == (make is bytes)


def test_mapped_file_is_not_copied() -> None:
    """An array over a private mapping is the mapping's memory, and writing to it leaves the file alone."""
    data = dumps(Raster(bytearray(LARGE)))
    with tempfile.TemporaryFile() as file:
        file.write(data.join())
        file.flush()
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        found = loads(mapped)
        assert found.memory.obj is mapped.obj
        found.memory[0] = 7
        file.seek(0)
        assert file.read() == data.join()


def test_read_only_mapping_is_copied_once() -> None:
    """Over a read-only mapping a writable array gets memory of its own."""
    with tempfile.TemporaryFile() as file:
        file.write(dumps(Raster(bytearray(LARGE))).join())
        file.flush()
        found = loads(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    assert type(found.memory) is bytearray


@pytest.mark.parametrize(
    "view",
    [
        memoryview(b"abc"),
        memoryview(bytes(LARGE)),
        memoryview(array.array("d", [1.5] * 4)).cast("B").cast("d", (2, 2)),
        memoryview(b"abcdef")[::2],
        memoryview(b""),
    ],
)
def test_memory_views(view: memoryview) -> None:
    """A memoryview comes back as one, with its layout."""
    found = again([view])[0]
    assert type(found) is memoryview
    assert (found.tolist(), found.shape, found.format) == (view.tolist(), view.shape, view.format)


# -- definitions --------------------------------------------------------------------------------------


def test_functions_by_value() -> None:
    """Lambdas and closures travel with what they need."""
    factor = 3

    def scale(value: int) -> int:
        return value * factor

    assert again(scale)(5) == 15
    assert [f(2) for f in again([lambda x: x + 1, lambda x: x * 10])] == [3, 20]


def test_local_class_keeps_its_identity_on_the_way_back() -> None:
    """A class from inside a function travels by value, and what comes back is an instance of the original."""

    class Local:
        x = 1

    found = again(Local())
    assert type(found) is Local


def test_importable_definitions_by_reference() -> None:
    """What both sides can import is the same object, not a copy."""
    assert again(Order) is Order
    assert again(again) is again


def test_by_value_for_modules_that_are_not_shipped() -> None:
    """With `by_value`, definitions of a module travel, so it need not exist on the other side."""
    module = types.ModuleType("not_shipped")
    exec(
        "class Thing:\n    def __init__(self): self.n = helper()\ndef helper(): return 42\n", module.__dict__
    )
    sys.modules["not_shipped"] = module
    data = dumps(module.__dict__["Thing"], by_value=("not_shipped",)).join()
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "not_shipped")
        program = f"import pickle; print(pickle.loads({data!r})().n)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    del sys.modules["not_shipped"]
    assert (done.stdout, done.stderr) == ("42\n", "")


# -- the entry module ---------------------------------------------------------------------------------

SCRIPT = '''
import dataclasses, enum, pickle, subprocess, sys
from afield import serialization

@dataclasses.dataclass
class Point:
    x: int
    class Inner:
        pass

class Color(enum.Enum):
    RED = 1

class Oops(Exception):
    def __init__(self, a, b):
        super().__init__("oops")
        self.a = a

def helper(x):
    return Point(x + 1)

def factory():
    class Made(Point):
        pass
    return Made

double = lambda x: x * 2
CONTAINER = """
import importlib, pickle, sys
sys.path.insert(0, {folder!r})
from afield import serialization
module = sys.modules["__main__"] = importlib.import_module({name!r})
value = serialization.loads(sys.stdin.buffer.read())
classes = [module.Point, module.Point.Inner, module.Color, module.Oops, module.helper]
told = [any(part is each for each in classes) for part in value]
answer = told, value, [module.Point(9), module.Point, module.Color.RED, module.helper], pickle.dumps(module.Point(1))
sys.stdout.buffer.write(serialization.dumps(answer).join())
"""

def there_and_back(name, *values):
    code = CONTAINER.format(folder=sys.path[0], name=name)
    sent = serialization.dumps(values).join()
    done = subprocess.run([sys.executable, "-c", code], input=sent, stdout=subprocess.PIPE, check=True)
    return serialization.loads(done.stdout)

def check(name):
    told, back, made, dumped = there_and_back(name, Point, Point.Inner, Color, Oops, helper)
    assert told == [True] * 5, told
    assert list(back) == [Point, Point.Inner, Color, Oops, helper], back
    assert made == [Point(9), Point, Color.RED, helper], made
    assert pickle.loads(dumped) == Point(1)
    point, color, oops, doubled, local = there_and_back(
        name, Point(3), Color.RED, Oops(1, 2), double, factory()(5))[1]
    assert type(point) is Point and color is Color.RED, (point, color)
    assert type(oops) is Oops and oops.a == 1 and doubled(4) == 8
    assert isinstance(local, Point) and local.x == 5
    print("same")

GUARDED = """
class Guarded:
    pass
"""
if __name__ == "__main__":
    class Guarded:
        def where(self):
            return helper(1)
    serialization.set_main_module(ENTRY)
    check(ENTRY)
    told, (guarded,), *_ = there_and_back(ENTRY, Guarded())
    assert type(guarded) is Guarded and guarded.where() == Point(2)
'''


def write_script(path: Path, module: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SCRIPT.replace("ENTRY", repr(module)))


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=cwd, timeout=50)
    assert done.stderr == ""
    return done.stdout


def test_identity_of_a_plain_script(tmp_path: Path) -> None:
    """What a script defines is the same on both sides, in both directions; what its guard defines goes by value."""
    write_script(tmp_path / "shop.py", "shop")
    assert run(tmp_path / "shop.py", cwd=tmp_path) == "same\n"


def test_identity_of_a_module_in_a_package(tmp_path: Path) -> None:
    """The same with `python -m package.module`."""
    write_script(tmp_path / "store" / "jobs.py", "store.jobs")
    (tmp_path / "store" / "__init__.py").touch()
    assert run("-m", "store.jobs", cwd=tmp_path) == "same\n"


def test_identity_when_imported(tmp_path: Path) -> None:
    """The same where the file is imported under its module's name, as `afield run` does."""
    write_script(tmp_path / "shop.py", "shop")
    assert run("-c", "import shop; shop.check('shop')", cwd=tmp_path) == "same\n"


def test_file_is_not_run_twice(tmp_path: Path) -> None:
    """After set_main_module, a sibling that imports the script by name gets the one that runs."""
    script = tmp_path / "shop.py"
    script.write_text(
        "from afield.serialization import set_main_module\n"
        "print('ran')\nclass A: pass\n"
        "if __name__ == '__main__':\n"
        "    set_main_module('shop')\n    import shop\n    assert shop.A is A\n"
        "    set_main_module(None)\n    import sys\n    assert 'shop' not in sys.modules\n"
    )
    assert run(script, cwd=tmp_path) == "ran\n"


def test_name_of_another_module_is_refused() -> None:
    """A main module cannot take the name of a module that is something else."""
    with pytest.raises(InvalidError, match=r"has the name of the module 'json' .* Rename the file"):
        serialization.set_main_module("json")
    assert serialization.main_module() is None


def test_interactive_definitions_by_value() -> None:
    """Without a source file everything travels by value."""
    program = (
        "from afield.serialization import dumps, set_main_module\n"
        "import subprocess, sys\nset_main_module('shop')\n"
        "class A:\n    n = 5\n"
        "code = 'import sys; from afield.serialization import loads; print(loads(sys.stdin.buffer.read()).n)'\n"
        "print(subprocess.run([sys.executable, '-c', code], input=dumps(A()).join(), capture_output=True))\n"
    )
    assert "stdout=b'5\\n'" in run("-c", program, cwd=Path.cwd())


# -- what cannot travel -------------------------------------------------------------------------------


class Connection:
    def __init__(self) -> None:
        self.lock = threading.Lock()


class Slotted:
    __slots__ = ("inner", "unset")

    def __init__(self, inner: Any) -> None:
        self.inner = inner


def closure_over(value: Any) -> Any:
    return lambda: value


@pytest.mark.parametrize(
    ("args", "kwargs", "path"),
    [
        ((threading.Lock(),), {}, "args[0]"),
        ((1, [0, Connection()]), {}, "args[1][1].lock"),
        (({"conn": Connection()},), {}, "args[0]['conn'].lock"),
        ((), {"x": Order(items=(1, Connection()))}, "kwargs['x'].items[1].lock"),
        ((Pair(1, Connection()),), {}, "args[0].right.lock"),
        ((Slotted(Connection()),), {}, "args[0].inner.lock"),
        ((functools.partial(print, Connection()),), {}, "args[0].args[0].lock"),
        ((closure_over(Connection()),), {}, "args[0].<closure variable value>.lock"),
        (
            ({1, frozenset({weakref.ref(Connection)})},),
            {},
            "args[0].<element frozenset>.<element weakref.ReferenceType>",
        ),
        ((ValueError("x", threading.Lock()),), {}, "args[0].args[1]"),
        (((n for n in range(3)),), {}, "args[0]"),
        (({Order: sys._getframe()},), {}, "args[0][<type>]"),
    ],
)
def test_culprit_is_named(args: Any, kwargs: Any, path: str) -> None:
    """The error names the path and the class of what cannot be pickled."""
    with pytest.raises(SerializationError) as caught:
        dumps_call(args, kwargs)
    assert caught.value.path == path
    assert f"cannot serialize {path}, a " in str(caught.value)
    assert "cannot pickle" in str(caught.value)


def test_culprit_in_a_result() -> None:
    """`what` is how paths begin."""
    with pytest.raises(SerializationError, match=r"cannot serialize result\['a'\], a _thread.lock object"):
        dumps({"a": threading.Lock()}, what="result")


def test_culprit_made_while_pickling() -> None:
    """What is made only while pickling is named by its class alone."""

    class Lazy:
        def __getstate__(self) -> Any:
            return {"made": threading.Lock()}

    with pytest.raises(SerializationError, match=r"somewhere in it is a _thread.lock object"):
        dumps(Lazy())


def test_culprit_among_many() -> None:
    """The search ends in a long list as well."""
    with pytest.raises(SerializationError) as caught:
        dumps([{"n": n} for n in range(50_000)] + [Connection()])
    assert caught.value.path == "value[50000].lock"


def test_error_of_the_users_own_reduction() -> None:
    """What a class raises when it is pickled is told, and is the cause."""

    class Stubborn:
        def __reduce__(self) -> Any:
            raise RuntimeError("not today")

    with pytest.raises(
        SerializationError, match=r"value.key, a .*Stubborn object \(RuntimeError: not today\)"
    ) as caught:
        dumps(Order(1, Stubborn()))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_object_that_refuses_to_be_looked_at() -> None:
    """The search for the culprit survives classes that raise whatever is asked of them."""

    class Touchy:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("hands off")

    with pytest.raises(SerializationError, match="hands off"):
        dumps([Touchy()])


def test_nested_without_end() -> None:
    """A value that is nested too deeply is told so, not a RecursionError."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(SerializationError, match="nested too deeply"):
        dumps(deep)


# -- what cannot be read back -------------------------------------------------------------------------


def test_missing_module() -> None:
    """The error names the module that is missing here."""
    data = b"\x80\x05\x8c\x0bno_such_mod\x8c\x01X\x93."
    with pytest.raises(
        DeserializationError, match=r"looking up no_such_mod.X\. The module 'no_such_mod' cannot be"
    ):
        loads(data)


class Picky:
    def __init__(self, one: int, two: int) -> None:
        self.sum = one + two

    def __reduce__(self) -> Any:
        return Picky, (1,)


def test_class_that_cannot_be_made_again() -> None:
    """The error names the class whose constructor refuses."""
    with pytest.raises(
        DeserializationError, match=r"missing 1 required .* when making an object of .*\.Picky"
    ):
        again([1, Picky(1, 2)])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x80",
        dumps([1, "a" * 100]).join()[:-20],
        dumps(Raster(bytearray(LARGE))).join()[:-1],
        MAGIC,
    ],
)
def test_damaged_bytes(data: bytes) -> None:
    """Bytes that are cut off or no payload at all are told so."""
    with pytest.raises(DeserializationError, match=r"cut off|that are none"):
        loads(data)


@pytest.mark.parametrize("value", [1, (1, 2), ((), {}, 3), ([], {})])
def test_not_a_call(value: Any) -> None:
    """What is not `(args, kwargs)` is refused as the arguments of a call."""
    with pytest.raises(DeserializationError, match="expected the arguments of a call"):
        loads_call(dumps(value).join())


def test_interruption_is_not_swallowed() -> None:
    """KeyboardInterrupt passes through, even out of a user's class."""

    class Interrupting:
        def __reduce__(self) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dumps(Interrupting())
