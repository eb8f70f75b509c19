"""Arguments and values to bytes, and back.

A payload is a bare pickle (protocol 5), or, when it has large buffers, a container of aligned sections:

=================  =================================================================================
4 bytes            MAGIC
u32                number of buffers
u64                offset of the pickle, then u64 its length
per buffer         u64 offset, u64 length, u64 1 if it was writable, else 0
...                the pickle, then each buffer at a multiple of 64 bytes from the start
=================  =================================================================================

All integers are little-endian. So a payload in a mapped file is read without copying: an array over a private mapping
(`mmap.ACCESS_COPY`) is writable and shares the file's pages until it is written to. Over a read-only buffer (inline
bytes, `ACCESS_READ`) what was writable is copied once, so that it is writable again; what was read-only never is.
`bytes` and `bytearray` objects are copied once, as Python owns their memory.
"""

import pickle
import struct
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from afield._entry import main_module, set_main_module
from afield.exception import DeserializationError, SerializationError

__all__ = [
    "Buffer",
    "Serialized",
    "dumps",
    "dumps_call",
    "loads",
    "loads_call",
    "main_module",
    "set_main_module",
]

Buffer = bytes | bytearray | memoryview

MAGIC: Final = b"AFB1"
ALIGNMENT: Final = 64
_HEAD: Final = struct.Struct("<4sIQQ")
_ENTRY: Final = struct.Struct("<QQQ")
_PROTOCOL_OPCODE: Final = 0x80

# A pickle of these holds no names of ours or of the user, so the plain pickler says the same as ours.
_all_atoms: Final = frozenset({int, float, bool, type(None), str}).issuperset
_FEW: Final = 8
_SMALL: Final = 4096
_LARGE: Final = 2 * 2**20
"""Bytes from which a pickle is read as a file (see `_pickle_source`)."""
_LEVELS: Final = 2

_tuple: Final = tuple.__new__
"""Makes a named tuple without its Python-level constructor, which would be a third of the time of a small value."""


class Serialized(NamedTuple):
    """A payload in pieces, in order; some are the caller's own buffers, so send it before they change."""

    parts: list[bytes | memoryview]
    size: int
    """Bytes in all."""

    def join(self) -> bytes:
        """Return the payload as one bytes object (no copy if it is a single one already)."""
        first = self.parts[0]
        return first if len(self.parts) == 1 and type(first) is bytes else b"".join(self.parts)


def dumps(obj: Any, *, what: str = "value", by_value: Collection[str] = ()) -> Serialized:
    """Return `obj` as bytes.

    `what` names it in errors. Classes and functions of the modules in `by_value` travel as definitions, for containers
    that do not have these modules.
    Raises SerializationError, which names the part at fault, for example `value['conn'].lock`.
    """
    if _is_plain(obj, _LEVELS):
        data = pickle.dumps(obj, 5)
        return _tuple(Serialized, ([data], len(data)))
    return _dump(obj, {what: obj}, by_value)


def dumps_call(
    args: tuple[Any, ...], kwargs: dict[str, Any], *, by_value: Collection[str] = ()
) -> Serialized:
    """Return the arguments of a call as bytes. As `dumps`; errors name `args[i]` or `kwargs['name']`."""
    if _are_plain(args, _LEVELS) and (not kwargs or _is_plain(kwargs, _LEVELS)):
        data = pickle.dumps((args, kwargs), 5)
        return _tuple(Serialized, ([data], len(data)))
    return _dump((args, kwargs), {"args": args, "kwargs": kwargs}, by_value)


def loads(buffer: Buffer) -> Any:
    """Return the object that `buffer` holds. What is returned may keep `buffer` alive (see the module's docstring).

    Raises DeserializationError, which names the class or module at fault.
    """
    try:
        if buffer[0] == _PROTOCOL_OPCODE:
            return pickle.loads(buffer) if len(buffer) < _LARGE else _load_large(memoryview(buffer), ())
        return _load_sections(memoryview(buffer))
    except DeserializationError:
        raise
    except Exception as error:
        raise _load_error(buffer, error) from error


def loads_call(buffer: Buffer) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return `(args, kwargs)` from what dumps_call made. Raises DeserializationError as `loads`."""
    call = loads(buffer)
    if type(call) is not tuple or len(call) != 2 or type(call[0]) is not tuple or type(call[1]) is not dict:
        raise DeserializationError(f"expected the arguments of a call, got a {type(call).__name__}")
    return call


# -- writing --------------------------------------------------------------------------------------


def _are_plain(objects: Collection[Any], levels: int) -> bool:
    if len(objects) > _FEW:
        return False
    if _all_atoms(map(type, objects)):
        return True
    for each in objects:  # a loop, because a generator expression would cost more than it runs  # noqa: SIM110
        if not _is_plain(each, levels):
            return False
    return True


def _is_plain(obj: Any, levels: int) -> bool:
    """Tell, quickly, whether `obj` is a small value of exactly builtin types. False is always a safe answer."""
    kind = type(obj)
    if kind is tuple or kind is list:
        return levels > 0 and _are_plain(obj, levels - 1)
    if kind is dict:
        return not obj or (
            levels > 0 and _are_plain(obj, levels - 1) and _are_plain(obj.values(), levels - 1)
        )
    return _all_atoms((kind,)) or (kind is bytes and len(obj) <= _SMALL)


def _dump(obj: Any, names: dict[str, Any], by_value: Collection[str]) -> Serialized:
    from afield._pickler import Pickler, Sink

    sink = Sink()
    pickler = Pickler(sink, by_value)
    try:
        pickler.dump(obj)
    except Exception as error:
        from afield._culprit import explain_dump

        message, path = explain_dump(pickler, names, error)
        failure = SerializationError(message)
        failure.path = path
        raise failure from error
    if pickler.buffers:
        return _layout(sink, pickler.buffers)
    return Serialized(sink, sum(map(len, sink)))


def _layout(stream: list[bytes | memoryview], buffers: list[memoryview]) -> Serialized:
    length = sum(map(len, stream))
    start = _HEAD.size + _ENTRY.size * len(buffers)
    head = [_HEAD.pack(MAGIC, len(buffers), start, length)]
    body: list[bytes | memoryview] = []
    end = start + length
    for view in buffers:
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        head.append(_ENTRY.pack(offset, view.nbytes, not view.readonly))
        body += [bytes(offset - end), view]
        end = offset + view.nbytes
    return Serialized([b"".join(head), *stream, *body], end)


# -- reading --------------------------------------------------------------------------------------


def _load_sections(payload: memoryview) -> Any:
    stream, buffers = _sections(payload)
    if len(stream) < _LARGE:
        return pickle.loads(stream, buffers=buffers)
    return _load_large(stream, buffers)


def _load_large(pickled: memoryview, buffers: Collection[Buffer]) -> Any:
    from afield._pickle_source import load_large

    return load_large(pickled, buffers)


def _sections(payload: memoryview) -> tuple[memoryview, list[Buffer]]:
    """Return the pickle of a payload and the buffers that belong to it."""
    magic, count, start, length = _HEAD.unpack_from(payload)
    if magic != MAGIC:
        raise DeserializationError(
            f"expected a pickle or a payload that begins with {MAGIC!r}, got {bytes(magic)!r}"
        )
    table = _ENTRY.iter_unpack(payload[_HEAD.size : _HEAD.size + _ENTRY.size * count])
    return payload[start : start + length], [_section(payload, *entry) for entry in table]


def _section(payload: memoryview, offset: int, length: int, writable: int) -> Buffer:
    view = payload[offset : offset + length]
    if view.nbytes != length:
        raise DeserializationError(
            f"expected a payload of at least {offset + length} bytes, got {payload.nbytes}: it is cut off"
        )
    if writable:
        return bytearray(view) if view.readonly else view
    return view.toreadonly()


def _load_error(buffer: Buffer, error: Exception) -> DeserializationError:
    from afield._culprit import explain_load

    try:
        stream, buffers = (buffer, []) if buffer[0] == _PROTOCOL_OPCODE else _sections(memoryview(buffer))
    except (DeserializationError, struct.error, IndexError):
        return DeserializationError(f"expected a serialized value, got {len(buffer)} bytes that are none")
    return DeserializationError(explain_load(stream, buffers, error))
