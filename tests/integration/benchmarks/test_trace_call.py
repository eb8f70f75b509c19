"""A real call, hop by hop."""

import pytest

from benchmarks import bare_path, trace_call


@pytest.mark.timeout(180)  # a platform and three processes beside it start, maybe beside other tests
def test_every_hop_is_seen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With a time since the start of the call: all of them by the listener, all but the server's own without it."""
    for module in (trace_call, bare_path):
        monkeypatch.setattr(module, "WARM_UP", 3)
        monkeypatch.setattr(module, "CALLS", 10)

    trace_call.main()

    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for hop, name in trace_call.HOPS.items():
        figures = next(line for line in lines if line.startswith(name)).removeprefix(name).split()
        times = [figure for figure in figures if not figure.startswith(("+", "-"))]
        assert len(times) == (1 if hop in ("stored input", "delivered") else 2), figures
