"""afield_scheduler.hosts: the best hosts, without looking at all of them."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from afield_scheduler.hosts import Hosts
from afield_scheduler.placement import Host, Need, misfit, never, rank

QUARTERS = st.sampled_from([0.0, 0.25, 0.5, 1.0])


def host(worker_id: str, cpus: float, memory_mib: int, used: tuple[float, float], **more: Any) -> Host:
    """A host of which shares of cores and memory are taken."""
    gpus = more.get("gpus", ())
    free = {"cpus_free": cpus * (1 - used[0]), "memory_free": int(memory_mib * (1 - used[1]))}
    return Host(worker_id=worker_id, cpus=cpus, memory_mib=memory_mib, **{"gpus_free": gpus, **free, **more})


hosts = st.builds(
    lambda n, cpus, memory, used, devices, free, region, shut: host(
        f"wk-{n:02}",
        cpus,
        memory,
        used,
        gpus=devices,
        gpus_free=devices[free:],
        labels={"region": region} if region else {},
        **shut,
    ),
    st.integers(0, 20),
    st.sampled_from([2.0, 2.0, 2.1, 8.0, 0.0]),
    st.sampled_from([1000, 1000, 1010, 64_000]),
    st.tuples(QUARTERS | st.floats(-0.5, 4.0), QUARTERS | st.floats(0.0, 1.5)),
    st.sampled_from([(), (), ("A100", "H100"), ("H100", "H100")]),
    st.integers(0, 2),
    st.sampled_from(["", "eu", "us"]),
    st.sampled_from([{}, {}, {}, {"draining": True}, {"stalled": "no disk"}, {"containers_free": 0}]),
)
needs = st.builds(
    Need,
    st.sampled_from([0.0, 0.5, 1.0, 2.05]) | st.floats(0.0, 3.0),
    st.sampled_from([8, 250, 1005]) | st.integers(8, 2000),
    st.sampled_from([(), (), ("H100", "any"), ("A100",), ("H100:2",)]),
    first=st.booleans(),
    labels=st.sampled_from([(), (), (("region", ("eu",)),)]),
)


@given(st.lists(hosts, max_size=30), st.sets(st.integers(0, 20)), needs, st.integers(1, 4))
def test_the_best_are_the_best_of_all(history: list[Host], leave: set[int], need: Need, count: int) -> None:
    """After any changes, the best hosts, and whether none could ever do, are what looking at every host gives."""
    index, table = Hosts(), dict[str, Host]()
    for each in history:
        index.put(each)
        table[each.worker_id] = each
    for worker_id in (f"wk-{n:02}" for n in leave):
        index.remove(worker_id)
        table.pop(worker_id, None)
    fitting = [each for each in table.values() if misfit(need, each) is None]
    fitting.sort(key=lambda each: rank(need, each))
    assert index.best(need, count, lambda each: each) == fitting[:count]
    assert index.never(need) == (bool(table) and all(never(need, each) for each in table.values()))
    assert index.ids(3) == sorted(table)[:3]


@given(st.lists(hosts, max_size=30), needs, st.sampled_from([0.25, 1.0]))
def test_what_is_kept_for_others_is_seen(history: list[Host], need: Need, kept: float) -> None:
    """Every other host has less free for who asks, and one host is not to be looked at."""
    index, table = Hosts(), dict[str, Host]()

    def seen(each: Host) -> Host:
        odd = int(each.worker_id[-1]) % 2
        return replace(each, cpus_free=each.cpus_free - kept) if odd else each

    for each in history:
        index.put(each)
        table[each.worker_id] = each
    table.pop("wk-00", None)
    fitting = [host for host in map(seen, table.values()) if misfit(need, host) is None]
    best = min(fitting, key=lambda each: rank(need, each), default=None)
    assert index.best(need, 1, seen, {"wk-00"}) == ([best] if best else [])


def test_few_hosts_are_looked_at() -> None:
    """Of a thousand hosts that are equally loaded, or full, only some are."""
    index, looked_at = Hosts(), list[str]()

    def seen(each: Host) -> Host:
        looked_at.append(each.worker_id)
        return each

    for n in range(1_000):
        index.put(host(f"wk-{n:04}", 8.0, 1000, (0.25, 0.5)))
    assert [each.worker_id for each in index.best(Need(1.0, 100), 2, seen)] == ["wk-0000", "wk-0001"]
    assert index.best(Need(1.0, 501), 2, seen) == []
    assert len(looked_at) < 10
