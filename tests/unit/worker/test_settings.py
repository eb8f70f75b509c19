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


def test_declared_gpus_are_one_kind_for_each_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list in JSON; quantities and wildcards are for functions."""
    monkeypatch.setenv("AFIELD_GPUS", '["H100", "A100-80GB"]')
    assert WorkerSettings.load().gpus == ["H100", "A100-80GB"]
    for wrong in ("H100:2", "any", "", "7up"):
        with pytest.raises(ValidationError, match="H100"):
            WorkerSettings(gpus=[wrong])


def test_a_worker_id_is_one_token_of_a_subject() -> None:
    """Dots would split it."""
    with pytest.raises(ValidationError, match="expected a worker id"):
        WorkerSettings(worker_id="wk.1")
