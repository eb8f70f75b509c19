"""All records of REG in memory, by what they are asked for. Pure; fed by the store."""

from collections import defaultdict
from collections.abc import Iterator
from math import inf
from typing import Generic, NamedTuple, TypeVar

from afield._wire.codec import decode
from afield._wire.functions import AppRecord, FunctionRecord
from afield._wire.subjects import app_key, function_key
from afield_registry.beats import AppKey
from afield_registry.states import RUNNING

R = TypeVar("R", AppRecord, FunctionRecord)

_GONE_KEPT = 10_000


class Stored(NamedTuple, Generic[R]):
    """A record with the revision that a compare-and-set needs."""

    record: R
    revision: int


class Index:
    """Apps and functions, with the revisions of their keys."""

    def __init__(self) -> None:
        self._apps: dict[str, Stored[AppRecord]] = {}
        self._functions: dict[str, Stored[FunctionRecord]] = {}
        self._variants: defaultdict[AppKey, dict[str, None]] = defaultdict(dict)
        """The keys of an app's variants, in the order in which they came."""
        self._gone: dict[str, float] = {}
        """Removed keys with the last revision that was known of each; inf when none was."""

    # -- changes ----------------------------------------------------------------------------------

    def apply(self, key: str, data: bytes, revision: int) -> None:
        """Take over a committed value; an older revision than the known one is ignored.

        A key that was removed stays so, however late an old value comes by; only a variant is ever made again.
        """
        kind = key.partition(".")[0]
        if revision <= self._gone.get(key, -1):
            return
        if kind == "app":
            self._newer(self._apps, key, Stored(decode(AppRecord, data), revision))
        elif kind == "fn":
            self._take_function(key, Stored(decode(FunctionRecord, data), revision))

    def put_app(self, record: AppRecord, revision: int) -> None:
        """Take over an app that was just written."""
        self._newer(self._apps, app_key(record.ws, record.app_id), Stored(record, revision))

    def put_function(self, record: FunctionRecord, revision: int) -> None:
        """Take over a function that was just written."""
        self._take_function(function_key(record.ws, record.function_id), Stored(record, revision))

    def remove(self, key: str) -> None:
        """Forget a key."""
        app, function = self._apps.pop(key, None), self._functions.pop(key, None)
        if function is not None and function.record.base_id:
            owner = _owner(function.record)
            self._variants[owner].pop(key, None)
            if not self._variants[owner]:
                del self._variants[owner]
        known = function or app
        if known is not None:
            self._gone[key] = known.revision
        else:
            self._gone.setdefault(key, inf)
        if len(self._gone) > _GONE_KEPT:
            del self._gone[next(iter(self._gone))]

    def _take_function(self, key: str, stored: Stored[FunctionRecord]) -> None:
        self._newer(self._functions, key, stored)
        if stored.record.base_id:
            self._variants[_owner(stored.record)][key] = None

    @staticmethod
    def _newer(table: dict[str, Stored[R]], key: str, stored: Stored[R]) -> None:
        known = table.get(key)
        if known is None or known.revision < stored.revision:
            table[key] = stored

    # -- questions --------------------------------------------------------------------------------

    def app(self, ws: str, app_id: str) -> Stored[AppRecord] | None:
        """Return an app by its id, running or stopped."""
        return self._apps.get(app_key(ws, app_id))

    def latest(self, ws: str, name: str) -> Stored[AppRecord] | None:
        """Return the running app of this name that was started last."""
        named = [s for s in self._apps.values() if s.record.ws == ws and s.record.name == name]
        running = [s for s in named if s.record.state in RUNNING]
        return max(running, key=lambda s: (s.record.created_at, s.record.app_id), default=None)

    def apps(self, ws: str | None = None) -> list[AppRecord]:
        """Return all apps (of one environment), newest first."""
        found = [s.record for s in self._apps.values() if ws is None or s.record.ws == ws]
        return sorted(found, key=lambda app: (app.created_at, app.app_id), reverse=True)

    def function(self, ws: str, function_id: str) -> Stored[FunctionRecord] | None:
        """Return a function by its id."""
        return self._functions.get(function_key(ws, function_id))

    def functions_of(self, app: AppRecord) -> list[FunctionRecord]:
        """Return the functions recorded for an app, as published: without variants."""
        found = (self.function(app.ws, function_id) for function_id in app.functions.values())
        return [stored.record for stored in found if stored is not None]

    def variants_of(self, app: AppKey, base_id: str = "") -> list[FunctionRecord]:
        """Return the variants of an app's functions, or of one of them."""
        records = (self._functions[key].record for key in self._variants.get(app, ()))
        return [record for record in records if base_id in ("", record.base_id)]

    def count_variants(self, app: AppKey) -> int:
        """Return how many variants an app has."""
        return len(self._variants.get(app, ()))

    def bases(self) -> list[Stored[FunctionRecord]]:
        """Return the functions that have variants, with their revisions."""
        found: dict[str, Stored[FunctionRecord]] = {}
        for owner, keys in self._variants.items():
            for key in keys:
                base_id = self._functions[key].record.base_id
                if base_id not in found and (base := self.function(owner.ws, base_id)) is not None:
                    found[base_id] = base
        return list(found.values())

    def ephemeral(self) -> set[AppKey]:
        """Return the apps that live by the heartbeats of their clients."""
        return {AppKey(a.ws, a.app_id) for a in self.apps() if a.state == "ephemeral"}

    def leftovers(self, of: AppKey | None = None) -> Iterator[FunctionRecord]:
        """Yield functions, variants too, whose app (any, or this one) is stopped or gone: they are to be cleared away."""
        for function, _ in list(self._functions.values()):
            if of not in (None, _owner(function)):
                continue
            app = self.app(function.ws, function.app_id)
            if app is None or app.record.state == "stopped":
                yield function

    def expired(self, before: float) -> list[AppRecord]:
        """Return the apps that were stopped before a Unix time."""
        return [a for a in self.apps() if a.state == "stopped" and a.stopped_at <= before]


def _owner(function: FunctionRecord) -> AppKey:
    return AppKey(function.ws, function.app_id)
