"""The settings of a worker."""

import pytest
from pydantic import ValidationError

from afield_worker.settings import WorkerSettings


def test_the_environment_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels are JSON."""
    monkeypatch.setenv("AFIELD_CPUS", "3.5")
    monkeypatch.setenv("AFIELD_LABELS", '{"region": "eu"}')
    settings = WorkerSettings.load()
    assert (settings.cpus, settings.labels) == (3.5, {"region": "eu"})


def test_a_worker_id_is_one_token_of_a_subject() -> None:
    """Dots would split it."""
    with pytest.raises(ValidationError, match="expected a worker id"):
        WorkerSettings(worker_id="wk.1")
