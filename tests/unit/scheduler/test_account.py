"""afield_scheduler.account: what is free on a host, now and later."""

from afield._wire.functions import ContainerRecord, Resources
from afield_scheduler.account import Account, Standing, account_of
from afield_scheduler.crews import Crews
from support.fleet import container, worker

EACH = Resources(cpu=0.5, memory_mib=100)


def account(*containers: ContainerRecord, spare: bool = True, told: tuple[str, ...] = ()) -> Account:
    """The account of a worker with two cores and 1000 MiB."""
    crews, record = Crews(), worker("wk-1", *containers, memory_mib=1000)
    crews.report(None, record)
    standing = Standing(-len(containers), 1.0, spare=spare, endless=False)
    return account_of(record, crews, {"fu-1": standing}, told=told)


def free(counted: Account) -> list[tuple[float, int]]:
    """Cores and memory in each state, from the host as it is to the one with the fewest containers."""
    states = counted.now, counted.settled, counted.cleared, counted.vacated
    return [(host.cpus_free, host.memory_free) for host in states]


CREW = (
    container("ta-stays", state="starting", resources=EACH),
    container("ta-busy", busy=1, resources=EACH),
    container("ta-idle", idle_since=5.0, resources=EACH),
    container("ta-leaves", state="stopping", resources=EACH),
)


def test_each_state_has_fewer_containers() -> None:
    """Those that leave go first, then those that are idle, then those that are busy; one that leaves has no core."""
    assert free(account(*CREW)) == [(0.5, 600), (0.5, 700), (1.0, 800), (1.5, 900)]


def test_nobody_goes_who_must_stay() -> None:
    """Neither containers of a function that has no more than its minimum, nor those that wait for their own calls."""
    counted = account(*CREW, spare=False)
    assert free(counted) == [(0.5, 600)] + [(0.5, 700)] * 3
    assert counted.idle == ()
    waiting = account(container("ta-1", busy=1, waits=True, resources=EACH))
    assert free(waiting) == [(2.0, 900)] * 4


def test_who_is_told_to_stop_is_counted_as_leaving() -> None:
    """An idle one gives its core up at once, a busy one when it is gone."""
    counted = account(*CREW, told=("ta-idle", "ta-busy"))
    assert free(counted) == [(1.0, 600), (1.5, 900), (1.5, 900), (1.5, 900)]
    assert counted.ready == ()
