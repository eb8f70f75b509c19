"""The hosts as one function finds them: less what is kept for others, and without those that refused it. Pure."""

from collections.abc import Callable, Collection
from dataclasses import replace
from operator import attrgetter
from typing import Final

from afield_scheduler.account import Account
from afield_scheduler.claims import Claims, Refusals
from afield_scheduler.crews import Placed
from afield_scheduler.hosts import Hosts
from afield_scheduler.ledger import Ledger
from afield_scheduler.placement import (
    MOST_TOLD,
    Host,
    Need,
    Taken,
    explain,
    misfit,
    occupied,
    place,
    rank,
)


class View:
    """Good for one decision: it is not to be asked any more when something has changed."""

    def __init__(self, function_id: str, ledger: Ledger, claims: Claims, refusals: Refusals) -> None:
        self.ledger = ledger
        self._function_id = function_id
        self._claims = claims
        self._refusals = refusals
        claimed = claims.worker_of(function_id)
        self._own: Final = claimed if claimed in ledger.now else ""
        """The host on which there is room kept for the function."""

    def seen(self, host: Host) -> Host:
        """Return what a host of an account is for this function."""
        promised = self.promised(host.worker_id)
        return self._not_if_refused(occupied(host, promised) if promised else host)

    def _not_if_refused(self, host: Host) -> Host:
        reason = self._refusals.reason(self._function_id, host.worker_id)
        return replace(host, refused=reason) if reason else host

    def promised(self, worker_id: str) -> list[Taken]:
        """Return what is taken of a host by containers that are not there yet, or kept for those of others."""
        return [*self.ledger.coming(worker_id), *self._claims.before(self._function_id, worker_id)]

    def hosts(self, most: int | None = None) -> list[Host]:
        """Return the hosts with the smallest worker ids, `most` of them, or all."""
        return [self.seen(self.ledger[worker_id].now) for worker_id in self.ledger.now.ids(most)]

    # -- where there is room ------------------------------------------------------------------------

    def place(self, need: Need, count: int, *, leaving: Collection[Placed] = ()) -> tuple[str, ...]:
        """Return where to start up to `count` containers, one worker id each.

        `leaving`: idle containers that are about to be told to stop: their cores are free at once, their memory is not.
        """
        changed = {
            worker_id: self.seen(self.ledger.anew(worker_id, told=_ids(leaving)).now)
            for worker_id in {placed.worker_id for placed in leaving}
        }
        others = self._best(self.ledger.now, attrgetter("now"), need, count, changed)
        return place(need, (*changed.values(), *others), count).workers

    def settled(self, need: Need, most: int) -> list[Host]:
        """Return hosts with room for a container once all that was told to stop has gone, the best ones first."""
        return self._best(self.ledger.settled, attrgetter("settled"), need, most)

    def cleared(self, need: Need, most: int) -> list[Host]:
        """Return hosts with room for a container if all that is idle and may go were gone, too."""
        return self._best(self.ledger.cleared, attrgetter("cleared"), need, most)

    def vacated(self, need: Need, most: int) -> list[Host]:
        """Return hosts with room for a container if all that is busy and may go were gone, too."""
        return self._best(self.ledger.vacated, attrgetter("vacated"), need, most)

    def _best(
        self,
        hosts: Hosts,
        state: Callable[[Account], Host],
        need: Need,
        most: int,
        without: Collection[str] = (),
    ) -> list[Host]:
        """The best hosts: from the index, where all that is claimed is taken, but for the one that is claimed for us."""
        if not self._own or self._own in without:
            return hosts.best(need, most, self._not_if_refused, without)
        found = hosts.best(need, most, self._not_if_refused, {*without, self._own})
        own = self.seen(state(self.ledger[self._own]))
        if misfit(need, own):
            return found
        return sorted((own, *found), key=lambda host: rank(need, host))[:most]

    def never(self, need: Need) -> bool:
        """Tell whether there are hosts, and none of them could ever run a container."""
        return self.ledger.now.never(need)

    def why(self, need: Need) -> str:
        """Say why no container can be started, where that is so."""
        told = self.hosts(MOST_TOLD)
        plan = place(need, told, 1)
        others = len(self.ledger.now) - len(told)
        return explain(plan._replace(never=self.never(need), others=others))


def _ids(containers: Collection[Placed]) -> frozenset[str]:
    return frozenset(placed.record.container_id for placed in containers)
