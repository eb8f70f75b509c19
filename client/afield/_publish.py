"""The code of an app's functions: found, packed, uploaded, and told to the registry."""

import hashlib
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

import anyio.to_thread

from afield import _alias, _source
from afield._bus.blobs import BlobStore
from afield._bus_errors import as_user_errors
from afield._declared import Declared
from afield._platform import Client
from afield._wire.api import APP_PUBLISH, PublishFunctions
from afield._wire.functions import CodeRef, FunctionRecord, FunctionSpec
from afield.exception import InvalidError, SerializationError
from afield.serialization import dumps, set_main_module

MOST_SERIALIZED: Final = 16 * 2**20
"""Bytes that a function sent by value may take with all that it refers to."""


class Shipment(NamedTuple):
    """What must reach the platform before the functions can run."""

    specs: tuple[FunctionSpec, ...]
    objects: dict[str, bytes]
    """SHA-256 in hex to content, for the bucket CODE."""


async def publish(
    client: Client, app_id: str, functions: Iterable[Declared], *, include_source: bool
) -> tuple[FunctionRecord, ...]:
    """Upload the code of functions and publish them under an app; return their records, in order."""
    shipment = await anyio.to_thread.run_sync(prepare, tuple(functions), include_source)
    if not shipment.specs:
        return ()
    store = BlobStore(client.bus, "CODE")
    with as_user_errors():
        for digest, data in shipment.objects.items():
            await store.put_if_absent(digest, data)
    request = PublishFunctions(ws=client.ws, app_id=app_id, functions=shipment.specs)
    return (await client.request(APP_PUBLISH, request, timeout=60.0)).functions


def prepare(functions: tuple[Declared, ...], include_source: bool) -> Shipment:
    """Find and pack the code of functions. Blocking.

    Raises InvalidError for code that containers could not import, or that is too large.
    """
    bundles: dict[str, tuple[str, _source.SourceBundle]] = {}
    objects: dict[str, bytes] = {}
    specs = []
    for declared in functions:
        wanted = include_source if declared.include_source is None else declared.include_source
        code = _code(declared, wanted, bundles, objects)
        if declared.serialized:
            code = replace(code, serialized=_serialize(declared, objects))
        env = {**_alias.environment(), **declared.spec.env}
        specs.append(replace(declared.spec, code=code, env=env))
    return Shipment(tuple(specs), objects)


def _code(
    declared: Declared,
    include_source: bool,
    bundles: dict[str, tuple[str, _source.SourceBundle]],
    objects: dict[str, bytes],
) -> CodeRef:
    raw_f = declared.raw_f
    module = sys.modules.get(raw_f.__module__)
    has_file = module is not None and bool(getattr(module, "__file__", None))
    if module is None or not has_file or not include_source:
        # Either it travels by value, or the workers have the module.
        return CodeRef(module=_module_name(raw_f.__module__), qualname=raw_f.__qualname__)
    if module.__name__ not in bundles:
        bundle = _source.collect(module)
        digest, data = _source.pack(bundle)
        objects[digest] = data
        bundles[module.__name__] = digest, bundle
        _name_main(bundle)
    digest, bundle = bundles[module.__name__]
    return CodeRef(
        module=bundle.module,
        qualname=raw_f.__qualname__,
        bundle=digest,
        entry=bundle.entry,
        local_root=bundle.local_root,
    )


def _module_name(module: str) -> str:
    main = sys.modules["__main__"]
    if module != "__main__" or not getattr(main, "__file__", None):
        return module
    spec = getattr(main, "__spec__", None)
    return spec.name if spec is not None else _source.module_name(str(main.__file__))


def _name_main(bundle: _source.SourceBundle) -> None:
    """Let what `__main__` defines travel under the name that containers import it by, if they have its file."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if file is None or not any(_same(path, file) for path in map(str, bundle.files.values())):
        return
    set_main_module(_module_name("__main__"))


def _same(one: str, other: str) -> bool:
    return os.path.abspath(one) == os.path.abspath(other)


def _serialize(declared: Declared, objects: dict[str, bytes]) -> str:
    try:
        data = dumps(declared.raw_f, what=declared.name, by_value={declared.raw_f.__module__}).join()
    except SerializationError as error:
        raise InvalidError(f"function {declared.name!r} cannot be sent by value: {error}") from error
    if len(data) > MOST_SERIALIZED:
        raise InvalidError(
            f"function {declared.name!r} is {len(data):,} bytes with all that it refers to, at most "
            f"{MOST_SERIALIZED:,} can be sent by value: pass large values as arguments"
        )
    digest = hashlib.sha256(data).hexdigest()
    objects[digest] = data
    return digest
