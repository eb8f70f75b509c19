"""What is free where, and who could make room: kept up to date, so that no decision has to add it up. Pure."""

from collections.abc import Collection, Mapping
from math import inf
from typing import Final

from afield._wire.functions import FunctionRecord, WorkerRecord
from afield_scheduler.account import NO_STANDING, Account, Standing, account_of
from afield_scheduler.claims import Claims
from afield_scheduler.crews import Crews
from afield_scheduler.hosts import Hosts
from afield_scheduler.order import Order
from afield_scheduler.placement import Taken, occupied

_MOST_UNSEEN: Final = 10_000
"""Changes that may wait for a question: where another scheduler leads, nobody asks for long."""


class Ledger:
    """Accounts of all hosts. What has changed since the last question is taken in with the next one."""

    def __init__(
        self,
        functions: Mapping[str, FunctionRecord],
        workers: Mapping[str, WorkerRecord],
        crews: Crews,
        claims: Claims,
    ) -> None:
        self._functions = functions
        self._workers = workers
        self._crews = crews
        self._claims = claims
        self._accounts: dict[str, Account] = {}
        self.now = Hosts()
        self.settled = Hosts()
        self.cleared = Hosts()
        self.vacated = Hosts()
        self._all_hosts: Final = self.now, self.settled, self.cleared, self.vacated
        """Hosts as in the accounts, less what is being started there, and all that is claimed."""
        self.idle: Order[tuple[float, str]] = Order()
        """Workers with the container that was idle for longest and may go: since when, and its id."""
        self.standings: dict[str, Standing] = {}
        self.shares: Order[Standing] = Order()
        """Functions that have containers, largest first."""
        self.strange: set[str] = set()
        """Functions that nobody knows, but of which containers are there."""

    def __getitem__(self, worker_id: str) -> Account:
        return self._accounts[worker_id]

    def anew(self, worker_id: str, *, told: Collection[str] = (), gone: Collection[str] = ()) -> Account:
        """Return the account of a host as it would be with these containers told to stop, or gone."""
        return account_of(self._workers[worker_id], self._crews, self.standings, told=told, gone=gone)

    def coming(self, worker_id: str) -> list[Taken]:
        """Return what is taken of a host by containers that are being started there."""
        return [Taken(start.resources) for start in self._crews.coming(worker_id).values()]

    def keep_up(self) -> None:
        """Take in what has changed if that has become much."""
        if len(self._crews.moved) + len(self._crews.stirred) > _MOST_UNSEEN:
            self.refresh()

    def refresh(self) -> None:
        """Take in what has changed."""
        self.recount()
        stirred, awaited, claimed = self._crews.stirred, self._crews.awaited, self._claims.stirred
        for worker_id in stirred:
            self._add_up(worker_id)
        for worker_id in (awaited | claimed) - stirred:
            if worker_id in self._accounts:
                self._file(worker_id)
        for names in (stirred, awaited, claimed):
            names.clear()

    def recount(self) -> None:
        """Take in what has changed of functions."""
        moved = self._crews.moved
        for function_id in moved:
            self._count(function_id)
        moved.clear()

    def _count(self, function_id: str) -> None:
        function, there = self._functions.get(function_id), self._crews.there(function_id)
        number = self._crews.count(function_id)
        known = self.standings.pop(function_id, NO_STANDING)
        if function is not None and number:
            staying = self._crews.staying(function_id)
            oldest = min((placed.record.started_at for placed in staying), default=inf)
            spare = number > function.spec.scaling.min_containers
            standing = Standing(-number, oldest, spare, function.spec.may_yield)
            self.standings[function_id] = standing
            self.shares.put(function_id, standing)
        else:
            standing = NO_STANDING
            self.shares.remove(function_id)
        if (known.spare, known.endless) != (standing.spare, standing.endless):
            self._crews.stirred.update(placed.worker_id for placed in there)
        if function is None and there:
            self.strange.add(function_id)
        else:
            self.strange.discard(function_id)

    def _add_up(self, worker_id: str) -> None:
        worker = self._workers.get(worker_id)
        if worker is None:
            self._accounts.pop(worker_id, None)
            for hosts in self._all_hosts:
                hosts.remove(worker_id)
            self.idle.remove(worker_id)
            return
        account = self._accounts[worker_id] = account_of(worker, self._crews, self.standings)
        self._file(worker_id)
        if account.idle:
            first = account.idle[0].record
            self.idle.put(worker_id, (first.idle_since, first.container_id))
        else:
            self.idle.remove(worker_id)

    def _file(self, worker_id: str) -> None:
        account = self._accounts[worker_id]
        promised = [*self.coming(worker_id), *self._claims.on(worker_id)]
        states = account.now, account.settled, account.cleared, account.vacated
        for hosts, host in zip(self._all_hosts, states, strict=True):
            hosts.put(occupied(host, promised) if promised else host)
