"""afield_worker.runners.throttle: pausing what takes too much."""

import os
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield_worker.runners.throttle import Throttle, tree_cpu_s


@pytest.mark.parametrize(("cores", "threads"), [(0.5, 1), (0.125, 1), (1.5, 4), (2.0, 1)])
def test_the_average_is_the_limit(cores: float, threads: int) -> None:
    """Over a minute, of a container that would use all it can get."""
    throttle, used, now = Throttle(cores), 0.0, 0.0
    paused = throttle.update(now, used)
    while now < 60:
        now += 0.1
        used += 0.0 if paused else 0.1 * threads
        paused = throttle.update(now, used)

    assert used / now == pytest.approx(min(cores, threads), rel=0.05)


def test_what_was_not_used_is_not_saved_up() -> None:
    """After a minute of rest the limit holds as before."""
    throttle = Throttle(0.5)
    throttle.update(0.0, 0.0)
    throttle.update(60.0, 0.0)
    assert throttle.update(60.2, 0.2)


@given(st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.0, 4.0)), max_size=50))
def test_a_paused_container_goes_on_at_some_time(looks: list[tuple[float, float]]) -> None:
    """However much it has used before."""
    throttle, now, used = Throttle(0.1), 0.0, 0.0
    throttle.update(now, used)
    for seconds, cores in looks:
        now, used = now + seconds, used + seconds * cores
        throttle.update(now, used)

    assert not throttle.update(now + 10 * used + 1.0, used)


def test_the_time_of_children_counts() -> None:
    """While they run, and when they have been waited for."""
    before = tree_cpu_s(os.getpid())
    busy = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\ninput()"
    with subprocess.Popen(["python3", "-c", busy], stdin=subprocess.PIPE) as child:
        while tree_cpu_s(child.pid) < 0.2:  # the kernel counts in hundredths, and rounds down twice
            time.sleep(0.01)
        assert tree_cpu_s(os.getpid()) - before > 0.19
        child.communicate(b"\n")
    assert tree_cpu_s(os.getpid()) - before > 0.19
    assert tree_cpu_s(child.pid) == 0.0
