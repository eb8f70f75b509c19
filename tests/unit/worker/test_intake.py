"""When a delivery is due."""

import time
from typing import Any

import pytest

from afield._wire.messages import Attempt, InputPack
from afield_worker.intake import _wait

NOW = 1_700_000_000.0


def retry(delay: float) -> InputPack:
    """An attempt that is to follow after `delay` seconds."""
    failed = Attempt(number=1, kind="exception", message="ValueError: no", at=NOW)
    fields: dict[str, Any] = {"call_id": "fc-s-0-1", "function_id": "fu-1", "kind": "map", "first": 0}
    return InputPack(**fields, args=(b"",), sent_at=NOW, attempt=2, not_before=NOW + delay, history=(failed,))


@pytest.mark.parametrize(
    ("clock", "wait"),
    [
        (NOW, 30.0),
        (NOW + 10, 20.0),
        (NOW + 40, -10.0),
        (NOW - 3600, 30.0),  # set back by an hour meanwhile, or of a host that is behind
        (NOW + 3600, -3570.0),
    ],
)
def test_a_retry_waits_no_longer_than_its_delay(
    monkeypatch: pytest.MonkeyPatch, clock: float, wait: float
) -> None:
    """Whatever is done to the clock."""
    monkeypatch.setattr(time, "time", lambda: clock)
    assert _wait(retry(30.0)) == pytest.approx(wait)
