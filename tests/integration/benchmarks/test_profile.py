"""The profile of a real platform, with the real sampler."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import profile, sampling

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.timeout(180)  # a platform and its client start, and both are busy, maybe beside other tests
def test_a_profile_names_processes_and_functions() -> None:
    """Each process has its time; the functions are there, or the reason why they are not."""
    command = [sys.executable, "-m", "benchmarks.profile", "warm", "--seconds", "1"]
    said = run(command)

    times = {line.split()[0]: float(line.split()[2]) for line in said.splitlines() if is_row(line)}
    assert {"client", "nats-server", "services", "containers"} <= times.keys()
    assert all(times[name] > 0 for name in ("client", "nats-server", "services", "containers"))
    assert ("client: of " in said) != ("Functions are not shown" in said)


def run(command: list[str]) -> str:
    """Return what it prints. One that takes too long is asked to end, as it would leave its platform behind otherwise."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            said, _ = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.terminate()
            raise
    assert process.returncode == 0
    return said


def is_row(line: str) -> bool:
    words = line.split()
    return len(words) == 4 and words[0] in profile.ORDER


@pytest.mark.timeout(180)
def test_without_the_sampler_there_are_still_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a line that says what is missing."""
    monkeypatch.setattr(sys, "argv", ["profile", "warm", "--seconds", "0.2"])
    monkeypatch.setattr(sampling, "SPY", tmp_path / "py-spy")

    profile.main()

    said = capsys.readouterr().out
    assert "nats-server" in said
    assert "Functions are not shown: py-spy is not at" in said


def test_a_process_that_cannot_be_looked_into_is_an_error() -> None:
    """With what the sampler says of it."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(30)

    with pytest.raises(sampling.CannotSampleError, match="py-spy says"), sampling.sampled([ended.pid]):
        pass
