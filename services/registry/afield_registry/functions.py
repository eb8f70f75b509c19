"""The functions of apps and their variants: written, changed, and taken away with all that waits for them."""

from collections.abc import Callable, Iterable
from typing import Final

import anyio

from afield._bus.connection import Bus
from afield._bus.errors import ConflictError
from afield._wire import subjects
from afield._wire.api import BindFunction, ScaleFunction
from afield._wire.functions import AppRecord, FunctionRecord, FunctionSpec
from afield._wire.messages import ErrorInfo
from afield._wire.subjects import function_key
from afield_common.endings import Endings, Verdict
from afield_common.errors import RefusedError
from afield_common.jetstream import JetStream
from afield_common.lanes import close_lanes, open_lanes
from afield_common.log import get_logger
from afield_registry import apps, validation, variants
from afield_registry.beats import AppKey
from afield_registry.store import RecordStore

log = get_logger(__name__)

TRIES: Final = 5
"""Compare-and-sets of one change; another registry would have to win every one of them."""

_AT_ONCE: Final = 32
"""Records that are written, or functions that are taken away, at the same time."""


class Functions:
    """Changes the records of functions, with their consumers."""

    def __init__(self, bus: Bus, store: RecordStore, shards: int, now: Callable[[], float]) -> None:
        """`now` returns Unix time."""
        self._jet = JetStream(bus)
        self._store = store
        self._index = store.index
        self._shards = shards
        self._endings = Endings(bus, now)
        self._checked: dict[str, int] = {}
        """Key of a base to its revision when its variants were last compared with it."""

    async def publish(self, app: AppRecord, specs: tuple[FunctionSpec, ...]) -> tuple[FunctionRecord, ...]:
        """Write the functions of an app, which has ids for them, and derive their variants anew."""
        known = {record.function_id: record for record in self._index.functions_of(app)}
        records = tuple(
            apps.function_record(app, spec, self._shards, known, len(known) + number)
            for number, spec in enumerate(specs)
        )
        async with anyio.create_task_group() as tasks:
            for record in records:
                tasks.start_soon(self._store.put_function, record)
            tasks.start_soon(open_lanes, self._jet, [record for record in records if not record.asleep])
        for record in records:
            await self._renew_variants(record, variants.republished)
        return records

    async def bind(self, base: FunctionRecord, request: BindFunction) -> FunctionRecord:
        """Return the variant that is asked for, made if need be; the base itself when nothing is asked for.

        Raises RefusedError: `invalid` for what cannot be, `exhausted` when the app has too many variants.
        """
        target = self._stored(request.ws, request.function_id)
        validation.check_bind(request, base.spec)
        params = request.params or target.params
        options = variants.merged(target.options, request.options)
        if not params and options is None:
            return base
        validation.check_function(variants.with_options(base.spec, options))
        function_id = variants.variant_id(base.function_id, params, options)

        def make(known: FunctionRecord | None) -> FunctionRecord:
            return variants.bound(base, params, options, self._shards, known)

        if self._index.function(base.ws, function_id) is not None:
            return await self._change(base.ws, function_id, make)
        self._check_room(base)
        await open_lanes(self._jet, [make(None)])
        return await self._change(base.ws, function_id, make)

    async def scale(self, request: ScaleFunction) -> FunctionRecord:
        """Change how many containers a function may have."""

        def change(known: FunctionRecord | None) -> FunctionRecord:
            if known is None:
                raise _not_found(request.ws, request.function_id)
            record = apps.scaled(known, request)
            validation.check_scaling(record.spec.name, record.spec.scaling)
            return record

        return await self._change(request.ws, request.function_id, change)

    async def remove(self, functions: Iterable[FunctionRecord], reason: str) -> None:
        """Take functions away: consumers, waiting inputs (their callers get an error), and the record last.

        The record says that work is left, so whoever finds it after a crash can finish.
        """
        limit = anyio.CapacityLimiter(_AT_ONCE)

        async def remove(function: FunctionRecord) -> None:
            async with limit:
                await close_lanes(self._jet, function)
                await self.end_inputs(function.ws, function.function_id, [function.shard], reason)
                await self._store.remove_function(function)

        async with anyio.create_task_group() as tasks:
            for function in functions:
                tasks.start_soon(remove, function)

    async def end_inputs(self, ws: str, function_id: str, shards: Iterable[int], reason: str) -> int:
        """End the inputs of a function that is no more, as cancelled for `reason`; return how many those were."""
        verdict = Verdict("cancelled", ErrorInfo(kind="cancelled", message=reason))
        ended = 0
        for shard in shards:
            wanted = subjects.inputs_of_function(shard, ws, function_id)
            ended += (await self._endings.end(shard, wanted, verdict)).inputs
        return ended

    async def check_variants(self) -> None:
        """Derive again what another registry derived from a base that was being replaced at that moment."""
        for base, revision in self._index.bases():
            key = function_key(base.ws, base.function_id)
            if self._checked.get(key) != revision:
                await self._renew_variants(base, variants.derived)
                self._checked[key] = revision

    # -- inside -------------------------------------------------------------------------------------

    def _stored(self, ws: str, function_id: str) -> FunctionRecord:
        stored = self._index.function(ws, function_id)
        if stored is None:
            raise _not_found(ws, function_id)
        return stored.record

    def _check_room(self, base: FunctionRecord) -> None:
        count = self._index.count_variants(AppKey(base.ws, base.app_id))
        if count >= variants.MAX_VARIANTS:
            raise RefusedError(
                "exhausted",
                f"app {base.app_name or base.app_id} has {count:,} variants of its functions (by arguments and "
                f"options), and no more than {variants.MAX_VARIANTS:,} may be; reuse some, or stop the app",
            )

    async def _renew_variants(
        self, base: FunctionRecord, make: Callable[[FunctionRecord, FunctionRecord], FunctionRecord]
    ) -> None:
        """Write the variants of a function as `make(base, variant)` returns them.

        One that cannot be any more, since its base changed in what it is combined with, is taken away.
        """
        limit = anyio.CapacityLimiter(_AT_ONCE)

        async def renew(variant: FunctionRecord) -> None:
            def change(known: FunctionRecord | None) -> FunctionRecord:
                if known is None:
                    raise _not_found(variant.ws, variant.function_id)
                record = make(base, known)
                validation.check_function(record.spec)
                return record

            async with limit:
                try:
                    await self._change(variant.ws, variant.function_id, change)
                except RefusedError as refused:
                    if refused.code == "not_found":  # taken away meanwhile
                        return
                    if refused.code != "invalid":
                        raise
                    log.warning(
                        "a variant cannot be any more", function_id=variant.function_id, why=str(refused)
                    )
                    await self.remove([variant], f"the function was published again: {refused.message}")

        async with anyio.create_task_group() as tasks:
            for variant in self._index.variants_of(AppKey(base.ws, base.app_id), base.function_id):
                tasks.start_soon(renew, variant)

    async def _change(
        self, ws: str, function_id: str, change: Callable[[FunctionRecord | None], FunctionRecord]
    ) -> FunctionRecord:
        """Write what `change` makes of a record (None: there is none), again on a fresher one when somebody was faster."""
        for _ in range(TRIES):
            stored = self._index.function(ws, function_id)
            record = change(None if stored is None else stored.record)
            try:
                await self._store.put_function(record)
            except ConflictError:
                await self._store.reload(function_key(ws, function_id))
            else:
                return record
        raise RefusedError("unavailable", f"function {function_id} is being changed by others; try again")


def _not_found(ws: str, function_id: str) -> RefusedError:
    return RefusedError("not_found", f"there is no function {function_id} in {ws!r}")
