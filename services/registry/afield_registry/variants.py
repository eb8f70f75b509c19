"""Variants of a function: a class with arguments, or a function with other options. Pure, records to records.

The id of a variant follows from its base, its arguments and its options, so equal requests mean one variant, whoever
answers them and whenever. A variant of a variant is one of the same base.
"""

import base64
import hashlib
from dataclasses import fields, replace
from typing import Final, TypeVar

from afield._wire.codec import encode
from afield._wire.functions import FunctionRecord, FunctionSpec, Options
from afield_registry.apps import renewed, shard_of

T = TypeVar("T")

MAX_VARIANTS: Final = 10_000
"""Variants of one app: each has two consumers on the server, and containers of its own."""

_DIGEST_BYTES: Final = 10


def merged(old: Options | None, new: Options | None) -> Options | None:
    """Return `old` with what `new` asks for, None when that is nothing. Variables and labels are added, not replaced."""
    old, new = old or Options(), new or Options()
    given = {f.name: getattr(new, f.name) for f in fields(Options) if getattr(new, f.name) is not None}
    # Who says what is reserved has said all of that resource, see Options.
    for reserved, limit in (("cpu", "cpu_limit"), ("memory_mib", "memory_limit_mib")):
        if reserved in given:
            given.setdefault(limit, None)
    both = replace(
        old,
        **{
            **given,
            "env": _in_order(old.env, new.env),
            "labels": _in_order(old.labels, new.labels),
        },
    )
    return None if both == Options() else both


def _in_order(old: dict[str, T] | None, new: dict[str, T] | None) -> dict[str, T] | None:
    """Return both together, sorted: equal options must have equal bytes."""
    both = {**(old or {}), **(new or {})}
    return dict(sorted(both.items())) or None


def variant_id(base_id: str, params: bytes, options: Options | None) -> str:
    """Return the id of a variant: that of its base, and a digest."""
    digest = hashlib.sha256(encode((params, options)))
    return f"{base_id}-{base64.b32encode(digest.digest()[:_DIGEST_BYTES]).decode().lower()}"


def belongs_to(function_id: str, base_id: str) -> bool:
    """Tell by the id whether a function is a variant of another."""
    return function_id.startswith(f"{base_id}-")


def bound(
    base: FunctionRecord, params: bytes, options: Options | None, shards: int, known: FunctionRecord | None
) -> FunctionRecord:
    """Return the variant of `base` with these arguments and (merged) options.

    `known` is the present record of that variant, if there is one: it is returned as it is unless the base changed.
    """
    if known is not None:
        return derived(base, known)
    function_id = variant_id(base.function_id, params, options)
    return replace(
        base,
        function_id=function_id,
        shard=shard_of(function_id, shards),
        spec=with_options(base.spec, options),
        version=1,
        base_id=base.function_id,
        params=params,
        options=options,
    )


def derived(base: FunctionRecord, variant: FunctionRecord) -> FunctionRecord:
    """Return a variant as its base makes it now: the next version, unless it is so already.

    What FUNCTION_SCALE set stays as long as the base stays.
    """
    spec = with_options(base.spec, variant.options)
    if replace(spec, scaling=variant.spec.scaling) == variant.spec:
        return variant
    return renewed(variant, spec)


def republished(base: FunctionRecord, variant: FunctionRecord) -> FunctionRecord:
    """Return a variant after its base was published again: as `derived`, and what FUNCTION_SCALE set is undone."""
    return renewed(variant, with_options(base.spec, variant.options))


def with_options(spec: FunctionSpec, options: Options | None) -> FunctionSpec:
    """Return the spec of a variant."""
    return spec if options is None else options.applied(spec)
