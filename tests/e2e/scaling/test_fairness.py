"""Functions share a host: the burst of one starves no other, and what can never run says so."""

from types import ModuleType

import pytest

from afield import exception

BURST = 3000
SECONDS = 0.2


def test_a_burst_starves_nobody(crowd: ModuleType) -> None:
    """A call of a function without any container has its result while thousands of inputs of another one wait."""
    calls = [crowd.burst.spawn(SECONDS) for _ in range(BURST)]
    assert calls[0].get() == SECONDS  # it is under way, with all the containers that it can have

    assert crowd.single.remote(7) == 7

    with pytest.raises(TimeoutError):
        calls[-1].get(timeout=0)
    calls[-1].cancel()


@pytest.mark.parametrize(
    ("name", "says"), [("too_large", "64 are asked for"), ("needs_devices", "H100:8 or B200")]
)
def test_what_can_never_run_fails_at_once(crowd: ModuleType, name: str, says: str) -> None:
    """With the reasons, worker by worker."""
    with pytest.raises(exception.ResourceExhaustedError, match=says):
        getattr(crowd, name).remote()
