"""Calls a batched function: arguments put together into lists, and its list of values taken apart."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from afield import _context
from afield._guest.batches import Batch, Item
from afield._guest.outcomes import Outcomes, Phase
from afield._guest.reports import Reports
from afield._guest.targets import Target
from afield._guest.turns import INTERRUPTIONS, SyncTurn, Turn
from afield._wire.messages import BlobRef, InputResult
from afield.exception import ExecutionError, InvalidError
from afield.serialization import Serialized

_STARRED: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class BatchCalls:
    """Runs batches. Their inputs end together, each by its own token."""

    def __init__(self, outcomes: Outcomes, target: Target, name: str, send: Callable[[Any], None]) -> None:
        """`name` is what errors call the function. `send(frame)` sends to the worker.

        Raises InvalidError for a function that cannot be batched.
        """
        if target.is_generator:
            raise InvalidError(f"{name} is a generator, and those cannot be batched")
        self._outcomes = outcomes
        self._function = target.call
        self._name = name
        self._send = send
        self._signature = inspect.signature(target.call)
        for parameter in self._signature.parameters.values():
            if parameter.kind in _STARRED:
                raise InvalidError(
                    f"{name} takes {parameter}, of which nobody could make a list: name each parameter of a "
                    "batched function"
                )

    def run(self, turn: SyncTurn, batch: Batch) -> "BatchCall":
        """Run a batch in this thread."""
        call = BatchCall(self, batch)
        token = call.enter()
        try:
            try:
                turn.arm()
                if call.gather():
                    call.spread(self._function(*call.args, **call.kwargs))
                turn.disarm()
            except BaseException as error:
                call.error = error
                turn.disarm()
        except INTERRUPTIONS as error:
            turn.disarm()
            call.error = call.error or error
        finally:
            _context.leave_input(token)
        return call

    async def run_async(self, batch: Batch) -> "BatchCall":
        """Run a batch in this task."""
        call = BatchCall(self, batch)
        call.enter()
        try:
            if call.gather():
                call.spread(await self._function(*call.args, **call.kwargs))
        except BaseException as error:
            call.error = error
        return call

    def not_run(self, batch: Batch, error: BaseException) -> "BatchCall":
        """Return the call of a batch that was ended before it began."""
        call = BatchCall(self, batch)
        call.error = error
        return call

    def report(self, ends: list[tuple[Item, InputResult]]) -> None:
        """Send how the inputs of a batch ended, but for those whose end was told before."""
        by_token: dict[int, list[InputResult]] = {}
        for item, result in ends:
            if item.pack.claim(item.number):
                by_token.setdefault(item.pack.run.token, []).append(result)
        reports = Reports(self._send)
        for token, results in by_token.items():
            reports.begin(token)
            for result in results:
                reports.add(result)
            reports.flush()

    # -- for BatchCall --------------------------------------------------------------------------------------

    def bind(self, item: Item) -> dict[str, Any]:
        """Return the arguments of an input by parameter. Raises what reading or binding them raises."""
        args, kwargs = self._outcomes.arguments(item.payload)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def combine(self, inputs: list[dict[str, Any]]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of the one call that runs all these inputs."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, parameter in self._signature.parameters.items():
            values = [bound[name] for bound in inputs]
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                args.append(values)
            else:
                kwargs[name] = values
        return args, kwargs

    def checked(self, values: Any, count: int) -> list[Any]:
        """Return what the function returned. Raises ExecutionError unless it is a list of so many."""
        wanted = (
            f"expected {self._name}, which is batched, to return a list of {count} values, one for each input"
        )
        if not isinstance(values, list):
            raise ExecutionError(f"{wanted}; got {_a(type(values).__name__)}")
        if len(values) != count:
            raise ExecutionError(f"{wanted}; got a list of {len(values)}")
        return values

    def serialize(self, value: Any) -> Serialized:
        return self._outcomes.serialize(value)


class BatchCall:
    """One call for one batch: what goes in, and what comes of each input."""

    def __init__(self, calls: BatchCalls, batch: Batch) -> None:
        self._calls = calls
        self._items = batch.items
        self._failed: dict[Item, tuple[BaseException, Phase]] = {}
        self._values: dict[Item, Serialized] = {}
        self.args: list[Any] = []
        self.kwargs: dict[str, Any] = {}
        self.error: BaseException | None = None
        """What ended the call; it ends each input that has no error of its own."""

    def enter(self) -> Any:
        """Say that what follows runs for the first input of the batch."""
        first = self._items[0]
        return _context.enter_input(first.call_id, first.number)

    def gather(self) -> bool:
        """Read the arguments; tell whether there is any input left whose could be."""
        inputs = []
        for item in self._items:
            try:
                inputs.append(self._calls.bind(item))
            except TypeError as error:
                self._failed[item] = (error, "exception")
            except Exception as error:
                self._failed[item] = (error, "deserialization")
        self.args, self.kwargs = self._calls.combine(inputs)
        return bool(inputs)

    def spread(self, values: Any) -> None:
        """Take what the function returned apart. Raises ExecutionError when it does not fit the inputs."""
        items = [item for item in self._items if item not in self._failed]
        for item, value in zip(items, self._calls.checked(values, len(items)), strict=True):
            try:
                self._values[item] = self._calls.serialize(value)
            except Exception as error:
                self._failed[item] = (error, "serialization")

    def results(self, turn: Turn) -> list[tuple[Item, InputResult]]:
        """Return how each input ended; those that run again elsewhere are missing."""
        found: list[tuple[Item, InputResult]] = []
        shared: InputResult | None = None
        for item in self._items:
            if shared is not None and item not in self._failed:
                found.append((item, replace(shared, index=item.number)))
                continue
            result = self._result(turn, item)
            if result is None:
                continue
            found.append((item, result))
            if self.error is not None and item not in self._failed and _can_be_shared(result):
                shared = result
        return found

    def _result(self, turn: Turn, item: Item) -> InputResult | None:
        call_id, index = item.call_id, item.number
        if item in self._failed:
            error, phase = self._failed[item]
            return turn.failed(call_id, index, error, phase)
        if self.error is not None:
            return turn.failed(call_id, index, self.error, "exception")
        return turn.ok(call_id, index, self._values[item])


def _can_be_shared(result: InputResult) -> bool:
    """Whether another input can end the same way; a file belongs to one."""
    return result.error is None or not isinstance(result.error.exception, BlobRef)


def _a(noun: str) -> str:
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"
