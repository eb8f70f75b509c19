"""A lease: at most one holder at a time, taken over soon after the holder is gone."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import anyio
import anyio.abc

from afield._bus.direct import StoredMessage
from afield._bus.errors import BusError, ConflictError
from afield._bus.kv import Bucket, is_deletion
from afield._bus.leaders import read_last
from afield._bus.msg import Msg

log = logging.getLogger("afield.bus")

MARGIN: Final = 0.25
"""Seconds before the lease lapses at which a holder that could not renew it gives up."""

GRACE: Final = 0.05
"""Seconds after a lease should have lapsed at which others try to take it."""


class Lease:
    """One candidate for the lease `key` in `bucket` (which allows times to live and has no limit markers).

    `ttl` and `renew` are in seconds. The holder renews by compare-and-set; who cannot, for whatever reason, gives the
    lease up before it can lapse. With limit markers the bucket would refuse a new holder until the marker has lapsed.

    `is_dead` tells of a holder's name whether it is certain that this holder is no more: its lease is taken over at once.
    """

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        holder: str,
        ttl: float = 5.0,
        renew: float = 1.5,
        *,
        is_dead: Callable[[str], bool] = lambda _: False,
    ) -> None:
        if not renew + MARGIN < ttl:
            raise ValueError(f"expected renew + {MARGIN:g} s < ttl, got renew={renew:g} s and ttl={ttl:g} s")
        self._bucket = bucket
        self._key = key
        self._holder = holder.encode()
        self._ttl = ttl
        self._renew = renew
        self._is_dead = is_dead
        self._seen = 0
        self._seen_at = 0.0
        self._current = 0
        self._fence = 0
        self._sent_at = 0.0
        self._freed = asyncio.Event()

    @property
    def held(self) -> bool:
        """Tell whether we hold it now."""
        return self._fence > 0

    @property
    def revision(self) -> int:
        """The fence: the revision at which we took it, larger than that of any holder before; 0 while not held."""
        return self._fence

    async def run(
        self,
        on_acquired: Callable[[], None],
        on_lost: Callable[[], None],
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Take the lease whenever it is free, and keep it; until cancelled, when it is given back.

        The plain functions `on_acquired` and `on_lost` are called each time; `on_lost` also at the end if held.
        """
        # Only a hint that spares the others the wait: a deletion that lost looks the same.
        subscription = await self._bucket.bus.subscribe(self._bucket.subject(self._key), self._on_change)
        task_status.started()
        try:
            while True:
                await self._acquire()
                log.info("lease %s acquired, fence %d", self._key, self._fence)
                on_acquired()
                try:
                    await self._keep()
                finally:
                    await self._end(on_lost)
        finally:
            subscription.close()

    async def _acquire(self) -> None:
        over = 0
        while True:
            self._freed.clear()
            before = time.monotonic()
            try:
                # The server may carry a repeated request out late: count from before the first try.
                revision = await self._take(over)
            except ConflictError:
                over = await self._wait_until_free()
            except BusError as error:
                log.warning("lease %s: %s", self._key, error)
                await anyio.sleep(self._renew)
            else:
                if time.monotonic() < before + self._ttl - MARGIN:
                    self._current = self._fence = revision
                    self._sent_at = before
                    return

    async def _take(self, over: int) -> int:
        """Take the free lease, or that of a holder who has it no more, at revision `over`; return the new revision."""
        timeout = self._ttl / 2
        if over:
            return await self._bucket.update(self._key, self._holder, over, self._ttl, timeout=timeout)
        return await self._bucket.create(self._key, self._holder, self._ttl, timeout=timeout)

    async def _wait_until_free(self) -> int:
        """Wait until the present lease should lapse, or its holder gives it back; 0 then.

        The revision to take over, at once, where the holder is dead, or where the server keeps a lease beyond its time,
        as one that was killed may: whoever has not renewed while we looked on has given up.
        """
        wait = self._ttl
        try:
            stored = await read_last(self._bucket.bus, self._bucket.stream, self._bucket.subject(self._key))
            if stored is None or is_deletion(stored.headers):
                return 0
            if self._is_over(stored):
                return stored.seq
            # Two hosts' clocks may differ: an estimate beyond the possible is cut, and costs a try too many or a delay.
            wait = stored.time + self._ttl + GRACE - time.time()
        except BusError as error:
            log.warning("lease %s: %s", self._key, error)
        with anyio.move_on_after(min(max(wait, GRACE), self._ttl)):
            await self._freed.wait()
        return 0

    def _is_over(self, stored: StoredMessage) -> bool:
        now = time.monotonic()
        if stored.seq != self._seen:
            self._seen, self._seen_at = stored.seq, now
        return now >= self._seen_at + self._ttl + GRACE or self._is_dead(stored.data.decode(errors="replace"))

    def _on_change(self, msg: Msg) -> None:
        if is_deletion(msg.headers):
            self._freed.set()

    async def _keep(self) -> None:
        """Renew until it cannot be."""
        pause = self._renew
        while True:
            await anyio.sleep(pause)
            before = time.monotonic()
            left = self._sent_at + self._ttl - MARGIN - before
            if left <= 0:
                log.warning("lease %s could not be renewed in time", self._key)
                return
            try:
                self._current = await self._bucket.update(
                    self._key, self._holder, self._current, self._ttl, timeout=left
                )
            except ConflictError:
                log.warning("lease %s was taken by somebody else", self._key)
                return
            except BusError as error:
                log.warning("lease %s: %s", self._key, error)
                pause = min(GRACE, left)
            else:
                self._sent_at = before
                pause = self._renew

    async def _end(self, on_lost: Callable[[], None]) -> None:
        current, self._fence = self._current, 0
        on_lost()
        if time.monotonic() < self._sent_at + self._ttl:
            with anyio.CancelScope(shield=True):
                await self._give_back(current)

    async def _give_back(self, revision: int) -> None:
        if not self._bucket.bus.connected:
            return  # it lapses by itself
        with anyio.move_on_after(1):
            try:
                await self._bucket.delete(self._key, revision, ttl=self._ttl)
            except BusError as error:
                log.info("lease %s lapses by itself: %s", self._key, error)
