"""The map's core, as lists of events."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield import mapping
from afield._wire.messages import InputResult
from afield._wire.subjects import Pack
from afield.mapping import MapPump, Pace, PackOut

Pump = MapPump[bytes]


def ok(index: int, *, run_s: float = 0.0, size: int = 1) -> InputResult:
    return InputResult(index=index, status="ok", value=b"x" * size, run_s=run_s)


def moved(index: int) -> InputResult:
    return InputResult(index=index, status="moved")


def pump(*, ordered: bool = True, size: int = 1, run_s: float = 0.0) -> Pump:
    """A pump that sends packs of `size` inputs; nothing is known of the function if it is 0."""
    pace = Pace()
    if size == 1:
        pace.learn(1, 1.0, 1.0)
    elif size:
        pace.learn(-(-size // 2), run_s, 1.0)
    return Pump(ordered=ordered, pace=pace)


def feed(p: Pump, count: int, now: float = 0.0) -> list[PackOut[bytes]]:
    p.demand()
    p.feed([b"arg"] * count)
    return p.due(now)


def answer(p: Pump, packs: list[PackOut[bytes]], run_s: float = 0.0) -> None:
    for pack in packs:
        p.settle([ok(pack.first + i, run_s=run_s) for i in range(len(pack.args))])


def indices(p: Pump) -> list[int]:
    return [item.number for item in p.take()]


def test_first_inputs_travel_alone() -> None:
    """Nothing is known of a new function, so each input is a pack of its own."""
    packs = feed(pump(size=0), 3)

    assert [(pack.first, len(pack.args)) for pack in packs] == [(0, 1), (1, 1), (2, 1)]


def test_quick_inputs_share_packs() -> None:
    """Packs grow to the largest size while inputs take no time."""
    p = pump(size=64)

    packs = feed(p, 128)

    assert [len(pack.args) for pack in packs] == [64, 64]


def test_pack_size_aims_at_the_target() -> None:
    """Inputs of 2 ms go in packs of five, which is 10 ms of work."""
    assert pump(size=64, run_s=0.002).pace.pack_size == 5


def test_slow_inputs_travel_alone_at_once() -> None:
    """One slow pack makes the next packs small, however quick the ones before were."""
    p = pump(size=64)

    p.pace.learn(64, 1.0, 1.0)

    assert p.pace.pack_size == 1


def test_packs_at_most_double() -> None:
    """A pack of one that was quick allows packs of two, not of 64."""
    p = pump(size=0)
    answer(p, feed(p, 1))

    assert p.pace.pack_size == 2


def test_large_results_make_small_packs() -> None:
    """The results of a pack must fit into one message."""
    p = pump(size=64)

    p.pace.learn(1, 0.0, 200_000.0)

    assert p.pace.pack_size == 2


def test_large_arguments_make_small_packs() -> None:
    """The arguments of a pack must fit into one message."""
    p = pump(size=64)
    p.feed([b"x" * 300_000] * 3)

    assert [len(pack.args) for pack in p.due(0.0)] == [1, 1, 1]


def test_probe_is_held_until_a_result_comes() -> None:
    """Of a new function only the probe goes out, until the first result says how large packs can be."""
    p = pump(size=0)
    packs = feed(p, 100)
    assert len(packs) == mapping.PROBE
    assert p.next_due == mapping.HOLD_S

    answer(p, packs[:1])

    assert [len(pack.args) for pack in p.due(0.001)] == [2]


def test_probe_is_not_held_for_long() -> None:
    """Of a function that is slow, or cold, twice as much is out after each hold, all as single inputs."""
    p = pump(size=0)
    feed(p, 200)

    assert [len(p.due(holds * mapping.HOLD_S)) for holds in (0.5, 1, 1.5, 2)] == [0, 32, 0, 64]


def test_started_pack_waits_for_the_source_to_fill_it() -> None:
    """A small rest is held for a moment while the source still owes inputs and others are in flight."""
    p = pump(size=64)
    assert len(feed(p, 64)) == 1
    p.demand()
    p.feed([b"arg"] * 3)

    assert p.due(0.0) == []
    assert p.next_due == mapping.FILL_S
    assert [len(pack.args) for pack in p.due(mapping.FILL_S)] == [3]


def test_rest_goes_out_when_nothing_is_in_flight() -> None:
    """An idle platform gets what there is at once."""
    assert [len(pack.args) for pack in feed(pump(size=64), 3)] == [3]


def test_rest_goes_out_at_the_end_of_the_source() -> None:
    """Nothing more will come to fill the pack."""
    p = pump(size=64)
    feed(p, 64)
    p.feed([b"arg"])
    p.exhausted()

    assert [len(pack.args) for pack in p.due(0.0)] == [1]


def test_at_most_the_window_is_asked_for() -> None:
    """A source is asked for a few inputs, which run meanwhile, then for 1,000 in all; for no more before results come."""
    p = pump()

    assert (p.demand(), p.demand(), p.demand()) == (mapping.PROBE, mapping.WINDOW - mapping.PROBE, 0)


def test_places_that_fall_free_are_asked_for_by_the_pack() -> None:
    """A single free place does not make a pack of one where packs are large."""
    p = pump(size=64)
    packs = feed(p, p.demand() or 960)
    p.settle([ok(0)])
    p.take()
    assert p.demand() == 0

    answer(p, packs[:1])
    p.take()

    assert p.demand() == 64


def test_slow_consumer_stops_the_source() -> None:
    """Results that nobody takes are not made without end."""
    p = pump()
    for _ in range(10):
        answer(p, feed(p, min(mapping.WINDOW, mapping.BACKLOG - p.fed)))

    assert p.fed == mapping.BACKLOG
    assert p.demand() == 0


def test_large_results_that_wait_stop_the_source() -> None:
    """Results that wait are bounded in bytes, too."""
    p = pump()
    feed(p, 2)
    p.settle([ok(1, size=mapping.BACKLOG_BYTES)])
    assert p.demand() == 0

    p.settle([ok(0)])
    p.take()

    assert p.demand() > 0


def test_order_is_kept() -> None:
    """An early result waits for the ones before it."""
    p = pump()
    feed(p, 3)
    p.settle([ok(1), ok(2)])
    assert indices(p) == []

    p.settle([ok(0)])

    assert indices(p) == [0, 1, 2]


def test_order_is_not_kept_when_not_wanted() -> None:
    """Results come as they end."""
    p = pump(ordered=False)
    feed(p, 3)

    p.settle([ok(2), ok(0)])

    assert indices(p) == [2, 0]


def test_second_result_of_an_input_is_dropped() -> None:
    """A result read back from the stream may have come by message already."""
    p = pump()
    feed(p, 2)
    assert p.settle([ok(0)]) == [0]

    assert p.settle([ok(0)]) == []
    assert indices(p) == [0]


def test_unknown_results_are_dropped() -> None:
    """A result of an input that was never sent changes nothing."""
    p = pump()
    feed(p, 1)

    assert p.settle([ok(7)]) == []
    assert not p.has_ready


def test_moved_input_stays_open() -> None:
    """An input that left its pack ends with the result of its own pack."""
    p = pump(size=2)
    feed(p, 2)
    p.exhausted()
    assert p.settle([moved(0), ok(1)]) == [1]
    assert p.in_flight == 1

    p.settle([ok(0)])

    assert p.settled
    assert indices(p) == [0, 1]


def test_missing_results_are_looked_for_where_they_will_be() -> None:
    """A moved input is a pack of one; the others are in their pack; a finished pack is not looked for."""
    p = pump(size=2)
    feed(p, 6)
    p.settle([moved(0), ok(1), moved(2), ok(4), ok(5)])

    assert p.missing(0.0) == [Pack(0, 1), Pack(2, 1), Pack(2, 2)]


def test_young_packs_are_not_missing() -> None:
    """Only what was published before the given time is looked for."""
    p = pump()
    feed(p, 1, now=5.0)

    assert p.missing(4.9) == []


def test_finished_when_all_is_taken() -> None:
    """A map ends with the last result that is handed out."""
    p = pump()
    packs = feed(p, 1)
    p.exhausted()
    answer(p, packs)
    assert (p.settled, p.finished) == (True, False)

    p.take()

    assert p.finished


def test_empty_source_ends_at_once() -> None:
    """A map of nothing has no results."""
    p = pump()
    p.exhausted()

    assert p.finished


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_take_is_bounded(limit: int) -> None:
    """A batch for the consumer holds no more than asked for."""
    p = pump(ordered=False)
    answer(p, feed(p, 10))

    assert len(p.take(limit)) == min(limit, 10)


@given(
    count=st.integers(0, 3000),
    seed=st.integers(0, 2**32),
    ordered=st.booleans(),
    run_s=st.sampled_from([0.0, 0.0005, 0.02, 5.0]),
)
def test_every_input_ends_once_within_the_bounds(count: int, seed: int, ordered: bool, run_s: float) -> None:
    """Whatever the order of events: each input is sent once, each result comes once, no bound is exceeded."""
    rng = random.Random(seed)
    p = Pump(ordered=ordered)
    wanted = given_ = 0
    now = 0.0
    flying: list[PackOut[bytes]] = []
    alone: list[int] = []
    sent: list[int] = []
    got: list[int] = []
    for _ in range(200_000):
        if p.finished:
            break
        now += rng.choice([0.0, 0.001, 0.02])
        wanted += p.demand()
        if wanted and given_ < count and rng.random() < 0.7:
            step = rng.randint(1, min(wanted, count - given_))
            p.feed([b"x"] * step)
            wanted, given_ = wanted - step, given_ + step
        if given_ == count and not p.ended:
            p.exhausted()
        for pack in p.due(now):
            flying.append(pack)
            sent += range(pack.first, pack.first + len(pack.args))
        if flying and rng.random() < 0.6:
            pack = flying.pop(rng.randrange(len(flying)))
            results = []
            for index in range(pack.first, pack.first + len(pack.args)):
                leaves = len(pack.args) > 1 and rng.random() < 0.05
                results.append(moved(index) if leaves else ok(index, run_s=run_s * rng.random()))
                if leaves:
                    alone.append(index)
            p.settle(results)
            if rng.random() < 0.2:
                p.settle(results)
        if alone and rng.random() < 0.5:
            p.settle([ok(alone.pop())])
        assert p.in_flight + p.held <= mapping.WINDOW
        assert p.fed - p.taken <= mapping.BACKLOG
        if rng.random() < 0.7:
            got += [item.number for item in p.take(rng.choice([1, 10, 512]))]

    assert p.finished
    assert sent == list(range(count))
    assert (got if ordered else sorted(got)) == list(range(count))
