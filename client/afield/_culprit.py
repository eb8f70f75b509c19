"""What was at fault when pickling or unpickling failed: its path and its class, for people."""

import inspect
import io
import pickle
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any, ClassVar, Final

from afield._pickler import Pickler

_MOST_OBJECTS: Final = 200_000
"""How many objects are looked at before the search is given up."""
_LONGEST_KEY: Final = 40
_LEAVES: Final = frozenset({int, float, bool, complex, str, bytes, bytearray, type(None), range})

Edge = tuple[str, Any]
"""How a child hangs on its parent: `[0]`, `.name`; and the child."""


def explain_dump(pickler: Pickler, names: Mapping[str, Any], error: Exception) -> tuple[str, str]:
    """Return a sentence about why `pickler` failed, and the path of the object at fault ("" if unknown).

    `names` are the roots of paths: `{"args": args, "kwargs": kwargs}`.
    """
    roots = " and ".join(names)
    if isinstance(error.__cause__ or error, RecursionError):
        return f"cannot serialize {roots}: nested too deeply, or without end; send a flatter value", ""
    culprit = pickler.last
    reason = _say(error)
    if culprit is None:
        return f"cannot serialize {roots}: {reason}", ""
    kind = _class_name(culprit)
    try:
        path = find_path(names, culprit, pickler)
    except Exception:  # objects of user classes may raise whatever they like when they are looked at
        path = ""
    advice = "Make it inside the function instead of sending it, or leave it out in __getstate__."
    if not path:
        return f"cannot serialize {roots}: somewhere in it is a {kind} object ({reason}). {advice}", ""
    return f"cannot serialize {path}, a {kind} object ({reason}). {advice}", path


def find_path(names: Mapping[str, Any], wanted: Any, pickler: Pickler) -> str:
    """Return the shortest path from one of `names` to the object `wanted`, such as `args[0]['conn'].lock`, or ""."""
    waiting = deque(names.items())
    seen = {
        id(each): each for each in names.values()
    }  # also keeps objects made on the way alive, so ids stay unique
    while waiting and len(seen) < _MOST_OBJECTS:
        path, parent = waiting.popleft()
        if parent is wanted:
            return path
        for label, child in _children(parent, pickler):
            if child is wanted:
                return path + label
            if type(child) not in _LEAVES and id(child) not in seen:
                seen[id(child)] = child
                waiting.append((path + label, child))
    return ""


def _children(obj: Any, pickler: Pickler) -> Iterator[Edge]:
    """Yield what pickling `obj` would pickle too, as far as can be seen from outside."""
    if isinstance(obj, ModuleType):
        return
    if isinstance(obj, (type, FunctionType)):
        if pickler.travels_by_value(obj):
            yield from _function_parts(obj) if isinstance(obj, FunctionType) else _attributes(vars(obj))
        return
    if isinstance(obj, MethodType):
        yield ".__self__", obj.__self__
        yield ".__func__", obj.__func__
    elif isinstance(obj, partial):
        yield from ((".func", obj.func), (".args", obj.args), (".keywords", obj.keywords))
    elif isinstance(obj, BaseException):
        yield ".args", obj.args
    yield from _items(obj)
    yield from _attributes(_instance_dict(obj))
    yield from _slots(obj)


def _items(obj: Any) -> Iterator[Edge]:
    """Yield the elements of a container. Only builtin containers and their children: others may do anything."""
    if isinstance(obj, dict):
        for key, value in dict.items(obj):
            text = repr(key) if type(key) in _LEAVES else f"<{_class_name(key)}>"
            yield f"[{text[:_LONGEST_KEY]}]", value
            yield f".keys()[{text[:_LONGEST_KEY]}]", key
    elif isinstance(obj, (list, tuple, deque)):
        fields = getattr(type(obj), "_fields", ())
        for index, value in enumerate(obj):
            yield f".{fields[index]}" if index < len(fields) else f"[{index}]", value
    elif isinstance(obj, (set, frozenset)):
        for value in obj:
            yield f".<element {_class_name(value)}>", value


def _attributes(found: Mapping[str, Any]) -> Iterator[Edge]:
    for name, value in list(found.items()):
        yield f".{name}", value


def _instance_dict(obj: Any) -> Mapping[str, Any]:
    try:
        found = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def _slots(obj: Any) -> Iterator[Edge]:
    for cls in type(obj).__mro__:
        names = vars(cls).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            try:
                yield f".{name}", object.__getattribute__(obj, name)
            except AttributeError:
                continue  # a slot that was never set


def _function_parts(function: FunctionType) -> Iterator[Edge]:
    try:
        variables = inspect.getclosurevars(function)
    except ValueError:  # a closure variable that has no value yet
        return
    for name, value in variables.nonlocals.items():
        yield f".<closure variable {name}>", value
    for name, value in variables.globals.items():
        yield f".<global {name}>", value
    for index, value in enumerate(function.__defaults__ or ()):
        yield f".<default {index}>", value
    yield from ((f".<default {name}>", value) for name, value in (function.__kwdefaults__ or {}).items())
    yield from _attributes(function.__dict__)


def _say(error: Exception) -> str:
    try:
        return f"{_class_name(error)}: {error}"
    except Exception:  # a user's class, whose __str__ fails
        return _class_name(error)


def _class_name(obj: Any) -> str:
    cls = type(obj)
    return (
        cls.__qualname__
        if cls.__module__ in ("builtins", "__main__")
        else f"{cls.__module__}.{cls.__qualname__}"
    )


# -- reading --------------------------------------------------------------------------------------


class _Tracer(pickle._Unpickler):
    """Reads a pickle once more, slowly, and remembers what it was making when it failed."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    making = ""

    def find_class(self, module: str, name: str, /) -> Any:
        self.making = f"looking up {module}.{name}"
        return super().find_class(module, name)

    def _note(self, depth: int) -> None:
        made_by = self.stack[-depth]
        cls = made_by if isinstance(made_by, (type, FunctionType)) else type(made_by)
        if getattr(made_by, "__name__", "") == "rebuild_exception":
            cls = self.stack[-1][0]
        self.making = f"making an object of {cls.__module__}.{cls.__qualname__}"


def _noting(opcode: bytes, depth: int) -> None:
    original = _Tracer.dispatch[opcode[0]]

    def load(self: _Tracer) -> None:
        self._note(depth)
        original(self)

    _Tracer.dispatch[opcode[0]] = load


_noting(pickle.REDUCE, 2)
_noting(pickle.NEWOBJ, 2)
_noting(pickle.NEWOBJ_EX, 3)
_noting(pickle.BUILD, 2)


def explain_load(stream: Any, buffers: Collection[Any], error: Exception) -> str:
    """Return a sentence about why unpickling `stream` failed with `error`."""
    tracer = _Tracer(io.BytesIO(bytes(stream)), buffers=buffers)
    reason = _say(error)
    try:
        tracer.load()
    except Exception as again:
        if type(again) is type(error) and tracer.making:
            reason = f"{reason}, when {tracer.making}"
    if isinstance(error, ModuleNotFoundError):
        reason += f". The module {error.name!r} cannot be imported here"
    elif isinstance(error, EOFError) or "truncated" in str(error):
        reason += ". The bytes are cut off or damaged"
    return f"cannot read a serialized value back ({reason})"
