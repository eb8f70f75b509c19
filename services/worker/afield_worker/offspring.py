"""Calls that running inputs made, which end with them. Pure."""

from collections.abc import Iterable
from typing import Final

from afield._wire.ids import input_id
from afield._wire.messages import Children, InputResult
from afield_worker.held import Held
from afield_worker.instructions import CancelCalls, Instruction
from afield_worker.recent import Recent

MOST_CALLS: Final = 10_000
"""Calls of one input that are remembered; beyond it the oldest are forgotten, and go on."""

_MOST_ENDS: Final = 4096


class Offspring:
    """Remembers, for each input that runs, the calls that it made and that have not ended.

    A call that is waited for is of no use once its caller is gone. A spawned one is meant to outlive it, and is
    cancelled only when the input itself is cancelled.
    """

    __slots__ = ("_cancelled", "of")

    def __init__(self) -> None:
        self.of: dict[str, dict[str, tuple[str, bool]]] = {}
        """Input id to its calls, oldest first, with their environment and whether they were spawned.

        Calls of no input in particular stand under the id of their container.
        """
        self._cancelled = Recent(_MOST_ENDS)
        """Inputs that ended as cancelled: what they made may be told after that."""

    def told(self, children: Children, *, runs: bool, lives: bool) -> list[Instruction]:
        """A container told of calls that the input `parent` made. `runs`: the input runs; `lives`: its container does."""
        parent = children.parent or children.container_id
        if runs if children.parent else lives:
            self._note(parent, children)
            return []
        of_no_use = parent in self._cancelled or (not lives and not children.spawned)
        return [CancelCalls(children.ws, children.call_ids)] if of_no_use and not children.over else []

    def over(self, held: Held, results: Iterable[InputResult], out: list[Instruction]) -> None:
        """Inputs of a pack have ended. Nothing comes of it while `of` is empty and none of them was cancelled."""
        for result in results:
            self._end(held, result.index, out, waited=False)

    def lost(self, held: Held, out: list[Instruction]) -> None:
        """A pack is lost with its container, or taken from it, before inputs of it ended."""
        for index in held.unfinished():
            self._end(held, index, out, waited=True)

    def gone(self, container_id: str, out: list[Instruction]) -> None:
        """A container is gone, and whoever in it waited for calls of no input in particular."""
        self._cancel(self.of.pop(container_id, {}), out, waited=True)

    def _note(self, parent: str, children: Children) -> None:
        calls = self.of.setdefault(parent, {})
        if children.over:
            for call_id in children.call_ids:
                calls.pop(call_id, None)
        else:
            for call_id in children.call_ids:
                calls[call_id] = children.ws, children.spawned
            while len(calls) > MOST_CALLS:
                del calls[next(iter(calls))]
        if not calls:
            del self.of[parent]

    def _end(self, held: Held, index: int, out: list[Instruction], *, waited: bool) -> None:
        """An input has ended. Cancel its calls: all of them if it was cancelled, else those `waited` for."""
        parent = input_id(held.pack.call_id, index)
        cancelled = index in held.cancelled
        if cancelled:
            self._cancelled.add(parent)
        self._cancel(self.of.pop(parent, {}), out, waited=waited, spawned=cancelled)

    def _cancel(
        self,
        calls: dict[str, tuple[str, bool]],
        out: list[Instruction],
        *,
        waited: bool,
        spawned: bool = False,
    ) -> None:
        """Cancel calls that are `waited` for, or with `spawned` all of them."""
        ended: dict[str, list[str]] = {}
        for call_id, (ws, was_spawned) in calls.items():
            if spawned or (waited and not was_spawned):
                ended.setdefault(ws, []).append(call_id)
        out += [CancelCalls(ws, tuple(call_ids)) for ws, call_ids in ended.items()]
