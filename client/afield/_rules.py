"""What must hold between the settings of a function or class, each of which is fine by itself."""

import inspect
from collections.abc import Sequence
from typing import Any

from afield._class_hooks import find_hooks
from afield._wire.functions import FunctionSpec
from afield.exception import InvalidError


def check(raw_f: Any, spec: FunctionSpec) -> None:
    """Raise InvalidError if settings of `raw_f`, a function or a class as it was written, contradict each other."""
    _check_scaling(spec)
    _check_single_use(spec)
    if spec.is_generator and spec.retries.max_retries:
        raise InvalidError(
            f"{spec.name} is a generator: its values cannot be taken back, so it cannot have retries"
        )
    if spec.batching is None:
        return
    if inspect.isclass(raw_f):
        _check_batched_class(raw_f, spec.name)
    else:
        parameters = list(inspect.signature(raw_f).parameters.values())
        _check_batched(parameters, spec.name, is_generator=spec.is_generator)


def _check_scaling(spec: FunctionSpec) -> None:
    least, most = spec.scaling.min_containers, spec.scaling.max_containers
    if most is not None and least > most:
        raise InvalidError(f"{spec.name}: min_containers ({least}) is above max_containers ({most})")


def _check_single_use(spec: FunctionSpec) -> None:
    several = spec.concurrency.max_inputs > 1 or (
        spec.batching is not None and spec.batching.max_batch_size > 1
    )
    if spec.single_use and several:
        raise InvalidError(
            f"{spec.name} has single_use_containers=True, so no container runs several inputs: "
            f"leave out that, or concurrency and batches"
        )


def _check_batched_class(user_cls: type, name: str) -> None:
    methods = find_hooks(user_cls).methods
    if len(methods) > 1:
        raise InvalidError(
            f"{name} takes its inputs in batches, so it can have one method only; it has {', '.join(methods)}: "
            f"move the others to another class"
        )
    for attribute, method in methods.items():
        parameters = list(inspect.signature(method.raw).parameters.values())[1:]
        _check_batched(parameters, f"{name}.{attribute}", is_generator=method.is_generator)


def _check_batched(parameters: Sequence[inspect.Parameter], name: str, *, is_generator: bool) -> None:
    if is_generator:
        raise InvalidError(f"{name} is a generator, so it cannot be batched: it must return a list")
    if not parameters:
        raise InvalidError(
            f"{name} is batched, so it must have a parameter: it is called with lists of inputs"
        )
    for each in parameters:
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            raise InvalidError(
                f"{name} is batched, so each of its parameters must have a name: nobody could make a list of {each}"
            )
        if each.default is not each.empty:
            raise InvalidError(
                f"{name} is batched, so it can have no defaults: {each.name} would be missing from some inputs "
                f"of a batch and not from others"
            )
