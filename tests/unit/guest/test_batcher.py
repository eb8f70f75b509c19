"""When inputs make a batch."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._guest.batcher import Batcher


@pytest.fixture
def batcher() -> Batcher[str]:
    """Batches of three, after two seconds."""
    return Batcher(size=3, wait=2.0)


def fill(batcher: Batcher[str], **times: float) -> None:
    for item, at in times.items():
        batcher.add(item, at)


def test_a_batch_is_ready_when_its_first_item_has_waited(batcher: Batcher[str]) -> None:
    """However late the others came."""
    fill(batcher, a=10.0, b=11.9)

    assert batcher.due() == 12.0
    assert batcher.take(11.99) == []
    assert batcher.take(12.0) == ["a", "b"]
    assert batcher.due() is None


def test_a_full_batch_is_ready_at_once(batcher: Batcher[str]) -> None:
    """What is behind it waits from when it came."""
    fill(batcher, a=10.0, b=10.0, c=10.1, d=10.1)

    assert batcher.take(10.1) == ["a", "b", "c"]
    assert batcher.take(10.1) == []
    assert batcher.due() == 12.1


def test_what_is_discarded_takes_no_place(batcher: Batcher[str]) -> None:
    """It may have been the one that made the batch full, or the one that waited longest."""
    fill(batcher, a=10.0, b=11.0, c=11.0)

    assert batcher.discard(lambda item: item in "ax") == ["a"]
    assert batcher.due() == 13.0
    assert len(batcher) == 2


def test_without_a_wait_a_batch_is_what_is_there() -> None:
    """Nobody waits for others."""
    batcher: Batcher[str] = Batcher(size=3, wait=0.0)
    fill(batcher, a=10.0, b=10.0)

    assert batcher.take(10.0) == ["a", "b"]


@given(
    size=st.integers(1, 4),
    wait=st.floats(0, 5),
    steps=st.lists(st.tuples(st.sampled_from(["add", "take"]), st.floats(0, 3)), max_size=50),
)
def test_every_item_is_in_one_batch_in_order_and_in_time(
    size: int, wait: float, steps: list[tuple[str, float]]
) -> None:
    """Whatever comes when: no batch is too large, none is taken before it is full or due, none is late when asked for."""
    batcher: Batcher[int] = Batcher(size, wait)
    now, count = 0.0, 0
    waiting: deque[tuple[int, float]] = deque()
    for what, seconds in steps:
        now += seconds
        if what == "add":
            batcher.add(count, now)
            waiting.append((count, now))
            count += 1
            continue
        batch = batcher.take(now)
        ready = len(waiting) >= size or (waiting and now >= waiting[0][1] + wait)
        assert bool(batch) == bool(ready)
        assert len(batch) <= size
        assert batch == [waiting.popleft()[0] for _ in batch]
    assert len(batcher) == len(waiting)
