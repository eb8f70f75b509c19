"""How objects become pickles: cloudpickle's rules, and ours for the entry module, exceptions and buffers.

- Classes and functions of the entry module go by reference, under the name that containers know (see `_entry`).
- Exceptions come back without their `__init__` being called: most classes have one that does not fit their `args`.
- Large `bytes` and `bytearray` anywhere in a value are passed on as they are, not copied into the stream.
- Contiguous buffers (numpy, `memoryview`) go out of band from OUT_OF_BAND bytes.
"""

import copyreg
import importlib
import pickle
from collections.abc import Callable, Collection
from functools import partial
from types import FunctionType
from typing import Any, Final

import cloudpickle
from cloudpickle import cloudpickle as _rules

from afield import _entry

OUT_OF_BAND: Final = 64 * 1024
"""Bytes from which a buffer is kept beside the pickle stream. Also the size from which C pickle hands over bytes as is."""

_HEAP_TYPE: Final = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: set for classes made by a class statement."""


class Sink(list[bytes | memoryview]):
    """The file that a pickler writes to: a list of the pieces, the large ones not copied."""

    __slots__ = ()

    def write(self, data: Any) -> None:
        """Take a piece. Of a large object the pickler hands over the object itself."""
        kind = type(data)
        if kind is bytes:
            self.append(data)
        elif kind is bytearray:
            self.append(memoryview(data))
        else:
            # A view of memory that the pickler owns, valid during this call only: the UTF-8 form of a long str.
            self.append(bytes(data))


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles one object into `sink`; large buffers are left in `buffers`."""

    def __init__(self, sink: Sink, by_value: Collection[str] = ()) -> None:
        self.buffers: list[memoryview] = []
        # Not a method of this object: the cycle would keep what was pickled, however large, until a collection.
        super().__init__(sink, protocol=5, buffer_callback=partial(_keep_buffer, self.buffers))
        self.last: Any = None
        """The object that was looked at last: if pickling fails, the one at fault."""
        self._by_value = by_value

    def reducer_override(self, obj: Any) -> Any:
        """Return how to rebuild `obj`; called for everything that is not exactly a builtin container or scalar."""
        self.last = obj
        kind = type(obj)
        if kind is FunctionType or issubclass(kind, type):
            return self._reduce_definition(obj)
        if isinstance(obj, BaseException):
            return reduce_exception(obj)
        if kind is memoryview:
            return _reduce_memoryview(obj)
        return NotImplemented

    def _reduce_definition(self, obj: Any) -> Any:
        module = getattr(obj, "__module__", None)
        if module == "__main__":
            reference = None if module in self._by_value else _entry.entry_reference(obj)
            if reference is not None:
                return entry_object, reference
        elif module in self._by_value:
            if isinstance(obj, FunctionType):
                return self._dynamic_function_reduce(obj)
            return _rules._dynamic_class_reduce(obj)
        return super().reducer_override(obj)

    def travels_by_value(self, obj: Any) -> bool:
        """Tell whether a class or function is sent as its definition, not as its name."""
        if not isinstance(obj, (type, FunctionType)):
            return False
        how = self._reduce_definition(obj)
        return how is not NotImplemented and how[0] is not entry_object


def _keep_buffer(buffers: list[memoryview], buffer: pickle.PickleBuffer) -> bool:
    """Return True to have a buffer written into the stream."""
    raw = buffer.raw()
    if raw.nbytes < OUT_OF_BAND:
        return True
    buffers.append(raw)
    return False


def entry_object(module: str, qualname: str) -> Any:
    """Return a class or function of the entry module, by the name that it has in containers."""
    return _entry.resolve(importlib.import_module(module), qualname)


# -- exceptions -----------------------------------------------------------------------------------


def reduce_exception(error: BaseException) -> Any:
    """Return how to rebuild an exception without calling its `__init__`; NotImplemented if its class says how."""
    cls = type(error)
    base = _static_base(cls)
    customised = (
        cls.__reduce_ex__ is not object.__reduce_ex__
        or cls.__reduce__ is not base.__reduce__
        or cls.__setstate__ is not base.__setstate__
        or cls in copyreg.dispatch_table
    )
    # A class of a C extension may have a constructor of its own that nobody else can call safely.
    foreign = not isinstance(cls.__new__, FunctionType) and cls.__new__ is not base.__new__
    if cls is base or customised or foreign:
        return NotImplemented
    reduced: Any = error.__reduce__()
    args = reduced[1]
    if isinstance(error, BaseExceptionGroup):
        args = (error.message, list(error.exceptions))
    fields = _slots(error)
    if len(reduced) > 2 and reduced[2]:
        fields.update(reduced[2])
    attributes = error.__dict__
    state = (attributes, {name: value for name, value in fields.items() if name not in attributes})
    has_state = any(state)
    return rebuild_exception, (cls, base, args), state if has_state else None, None, None, restore_exception


def rebuild_exception(
    cls: type[BaseException], base: type[BaseException], args: tuple[Any, ...]
) -> BaseException:
    """Make an exception of class `cls` as its builtin base class `base` would."""
    made: BaseException = base.__new__(cls, *args)
    base.__init__(made, *args)
    return made


def restore_exception(error: BaseException, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Give an exception its attributes back, past properties and `__setattr__` of its class.

    `state`: the instance dictionary, and what is kept in slots and fields.
    """
    attributes, fields = state
    error.__dict__.update(attributes)
    for name, value in fields.items():
        object.__setattr__(error, name, value)


def _static_base(cls: type[BaseException]) -> type[BaseException]:
    while cls.__flags__ & _HEAP_TYPE:
        cls = cls.__base__  # type: ignore[assignment]
    return cls


def _slots(error: BaseException) -> dict[str, Any]:
    found = {}
    for cls in type(error).__mro__:
        names = vars(cls).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name not in ("__dict__", "__weakref__") and hasattr(error, name):
                found[name] = getattr(error, name)
    return found


# -- memory views ---------------------------------------------------------------------------------


def _reduce_memoryview(view: memoryview) -> Any:
    castable = view.c_contiguous and view.nbytes and view.ndim and len(view.format) == 1
    if not castable:
        return memoryview, (view.tobytes(),)
    flat = view if view.format == "B" and view.ndim == 1 else view.cast("B")
    return rebuild_memoryview, (pickle.PickleBuffer(flat), view.format, view.shape)


def rebuild_memoryview(buffer: Any, layout: str, shape: tuple[int, ...]) -> memoryview:
    """Return a view of `buffer` with the item format and shape that it had."""
    flat = memoryview(buffer)
    if layout == "B" and len(shape) == 1:
        return flat
    cast: Callable[..., memoryview] = flat.cast
    return cast(layout, shape)
