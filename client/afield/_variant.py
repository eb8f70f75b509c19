"""Variant: a function with other settings, or a class with constructor arguments; it has containers of its own."""

from typing import Any, NamedTuple, ParamSpec, TypeVar

from afield import _rules
from afield._arguments import encode_arguments
from afield._hydrate import Binding
from afield._options import merged
from afield._wire.api import FUNCTION_BIND, BindFunction
from afield._wire.functions import FunctionRecord, FunctionSpec, Options
from afield.exception import InvalidError
from afield.function import Function

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - see afield.function


class Arguments(NamedTuple):
    """Constructor arguments of a class that was looked up: what it takes is not known yet."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Variant(Function[P, R, O]):
    """A function made from another, its base. The registry is asked for its record when it is first used.

    `params`: the constructor arguments of a class, as bytes, or not encoded yet. Without any, and without options, it is
    the base itself.
    """

    def __init__(
        self,
        base: Function[P, R, O],
        *,
        options: Options | None = None,
        params: bytes | Arguments = b"",
    ) -> None:
        declared = base._declared
        super().__init__(app=base._app, declared=declared)
        if declared is not None and options is not None:
            _rules.check(declared.raw_f, options.applied(declared.spec))
        self._base = base
        self._options = None if options == Options() else options
        self._params = params
        self._bound_to: Binding | None = None

    @property
    def _binding(self) -> Binding | None:
        # When its app ends or runs anew, what was bound to the earlier run is not valid any more.
        return self._bound if self._bound_to is self._base._binding else None

    @property
    def _name(self) -> str:
        return self._base._name

    def _is_here(self) -> bool:
        return self._base._is_here()

    def _can_hydrate(self) -> bool:
        return self._base._can_hydrate()

    async def _hydrate(self) -> Binding:
        known = self._binding
        if known is not None:
            return known
        base = await self._base._hydrate()
        params = self._encoded(base.record)
        binding = base
        if params or self._options is not None:
            client = await base.uplink.client()
            request = BindFunction(
                ws=base.record.ws, function_id=base.record.function_id, params=params, options=self._options
            )
            binding = Binding(base.uplink, await client.request(FUNCTION_BIND, request))
        self._bound, self._bound_to = binding, base
        return binding

    def _encoded(self, record: FunctionRecord) -> bytes:
        if isinstance(self._params, bytes):
            return self._params
        spec = record.spec
        _check_class(record, spec)
        return encode_arguments(spec.name, spec.parameters, *self._params)

    def _variant(self, options: Options) -> Function[P, R, O]:
        return Variant(self._base, options=merged(self._options, options), params=self._params)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel by id, or if there is none yet as its base and what is different."""
        if self._binding is not None:
            return super().__reduce__()
        return _revive, (self._base, self._options, self._params)


def _check_class(record: FunctionRecord, spec: FunctionSpec) -> None:
    if not spec.is_class:
        raise InvalidError(
            f"{spec.name} of app {record.app_name!r} is a function: look it up with "
            f"afield.Function.from_name({record.app_name!r}, {spec.name!r})"
        )


def _revive(
    base: Function[..., Any, Any], options: Options | None, params: bytes | Arguments
) -> Variant[..., Any, Any]:
    return Variant(base, options=options, params=params)
