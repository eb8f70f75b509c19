"""The supervisor with a real nats-server and stand-in services."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from afield import _cgroups, _launch, _marks, embedded
from afield._launch import PlatformFolder
from afield_platform.supervisor import NATS_TIMER_SLACK
from support.launching import assert_nothing_left, each_of, kill9, pid_of, restarted, wait_for

from .conftest import Launch


def test_a_private_platform_stops_without_a_trace(launch: Launch) -> None:
    """Stopping leaves no process, no port and no folder."""
    launched = launch(fake="orphan")
    assert len(_marks.marked(launched.record["id"])) == 4  # supervisor, nats-server, services, orphan
    launched.stop()
    assert_nothing_left(launched.record)


def test_control_groups_of_killed_workers_are_removed(launch: Launch) -> None:
    """At the platform's end, and where groups can be made at all."""
    launched = launch()
    claim = _cgroups.Claim("test-killed")
    folders = [base.folder for base in claim.bases.values()]
    for lock in claim._locks:  # as when its process ends
        os.close(lock)
    claim._locks.clear()
    if not folders:
        pytest.skip("no control group can be made here")

    launched.stop()

    assert not any(folder.exists() for folder in folders)


def test_everything_listens_on_loopback(launch: Launch) -> None:
    """No process of a platform can be reached from another host."""
    launched = launch()
    listening = [
        address.laddr.ip
        for pid in _marks.marked(launched.record["id"])
        for address in psutil.Process(pid).net_connections()
        if address.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}


def test_secrets_are_for_the_user_alone(launch: Launch) -> None:
    """Nobody else can read a file of a platform, or enter its folder; and no secret is in an environment."""
    launched = launch()
    root = launched.folder.root
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    for name in ("platform.json", "secrets.json", "nats-server.conf"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o600
    secret = json.loads((root / "secrets.json").read_text())["worker"]
    assert secret not in str(psutil.Process(pid_of(launched.folder, "worker")).environ())


def test_nats_server_comes_back_with_its_port_and_store(launch: Launch) -> None:
    """A killed nats-server is started again, at the same address."""
    launched = launch()
    old = pid_of(launched.folder, "nats-server")
    kill9(old)
    restarted(launched.folder, "nats-server", old)
    record = launched.folder.record()
    assert record is not None
    assert record["server"] == launched.record["server"]
    host, _, port = record["server"].removeprefix("nats://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        assert connection.recv(5) == b"INFO "


def test_threads_of_nats_server_are_not_woken_needlessly(launch: Launch) -> None:
    """Its timers may be late, also those of a later one; nobody else's."""
    launched = launch()
    slack = {role: _timer_slacks(pid_of(launched.folder, role)) for role in ("nats-server", "worker")}
    assert slack == {"nats-server": {NATS_TIMER_SLACK}, "worker": _timer_slacks(os.getpid())}
    assert slack["worker"] != slack["nats-server"]

    old = pid_of(launched.folder, "nats-server")
    kill9(old)
    assert _timer_slacks(restarted(launched.folder, "nats-server", old)) == {NATS_TIMER_SLACK}


def test_orphans_die_before_the_services_come_back(launch: Launch) -> None:
    """What a killed worker left behind is killed before another worker starts."""
    launched = launch(fake="orphan")
    mark, services = launched.record["id"], pid_of(launched.folder, "worker")
    known = {launched.process.pid, services, pid_of(launched.folder, "nats-server")}
    (orphan,) = _marks.marked(mark) - known
    kill9(services)
    restarted(launched.folder, "worker", services)
    assert not psutil.pid_exists(orphan)
    assert pid_of(launched.folder, "nats-server") in known


def test_separate_services_die_alone(launch: Launch) -> None:
    """With a process for each service, the death of one leaves the others as they are."""
    launched = launch("--separate")
    before = {role: pid_of(launched.folder, role) for role in ("registry", "scheduler", "worker", "gateway")}
    assert len(set(before.values())) == 4
    kill9(before["worker"])
    restarted(launched.folder, "worker", before["worker"])
    assert all(pid_of(launched.folder, r) == pid for r, pid in before.items() if r != "worker")


def test_the_supervisor_takes_all_with_it(launch: Launch) -> None:
    """When the supervisor is killed, its children die, and its owner clears the rest away."""
    launched = launch(fake="orphan")
    children = {pid_of(launched.folder, "nats-server"), pid_of(launched.folder, "worker")}
    kill9(launched.process.pid)
    wait_for(lambda: not children & _marks.marked(launched.record["id"]), "the children to die")
    launched.stop()
    assert_nothing_left(launched.record)


@pytest.mark.parametrize("argument", ["", "fork"])
def test_a_killed_owner_leaves_nothing(home: Path, argument: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After kill -9 of the program that owns it, a platform is gone: even if a forked child of the owner lives on."""
    monkeypatch.setenv("AFIELD_FAKE", "orphan")
    command = [sys.executable, "-m", "support.fake_owner", argument]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        said = json.loads(owner.stdout.readline())
        owner.kill()
    try:
        assert_nothing_left(said["record"])
    finally:
        if said["forked"] > 0:
            kill9(said["forked"])


def test_owner_and_supervisor_killed_together(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What two kills at once left over is swept at the next start."""
    monkeypatch.setenv("AFIELD_FAKE", "orphan")
    with subprocess.Popen(
        [sys.executable, "-m", "support.fake_owner"], stdout=subprocess.PIPE, start_new_session=True
    ) as owner:
        assert owner.stdout is not None
        said = json.loads(owner.stdout.readline())
        kill9(said["supervisor"])
        owner.kill()
    folder = PlatformFolder(Path(said["record"]["folder"]))
    wait_for(lambda: not folder.alive(), "the kernel to end the supervisor")
    assert folder.root.exists()
    with embedded.acquire() as hold:
        assert hold.address.private
        assert_nothing_left(said["record"])
    assert not _launch.private_folders()


def test_a_crash_at_the_first_start_is_told(launch: Launch) -> None:
    """Services that cannot start end the start, and their last words reach the user."""
    with pytest.raises(
        embedded.PlatformError, match=r"(?s)services ended with exit code 7.*the reason of the crash"
    ):
        launch(fake="crash")
    assert not _launch.private_folders()


@pytest.mark.parametrize(("fake", "address"), [("port", "server"), ("listen,gateway", "gateway")])
def test_a_port_taken_meanwhile(launch: Launch, fake: str, address: str) -> None:
    """When somebody else takes the port of nats-server or of the gateway first, another one is used."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        launched = launch(fake=f"{fake}={port}")
        assert not launched.record[address].endswith(f":{port}")
        launched.stop()
    assert_nothing_left(launched.record)


def test_no_nats_server(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A nats-server that is no program is told in one sentence."""
    monkeypatch.setenv("AFIELD_NATS_SERVER", "/nowhere/nats-server")
    with pytest.raises(embedded.PlatformError, match="AFIELD_NATS_SERVER names /nowhere/nats-server"):
        launch()


def test_a_failing_nats_server(launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nats-server says when it cannot start reaches the user."""
    fake = tmp_path / "nats-server"
    fake.write_text("#!/bin/sh\necho no room in the inn >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("AFIELD_NATS_SERVER", str(fake))
    with pytest.raises(
        embedded.PlatformError, match=r"(?s)nats-server ended with exit code 3.*no room in the inn"
    ):
        launch()


def test_deaf_services_are_killed(launch: Launch) -> None:
    """Services that do not heed SIGTERM are killed when their time is up."""
    launched = launch(fake="deaf")
    launched.stop()
    assert_nothing_left(launched.record)


def test_a_shared_platform_keeps_its_address(launch: Launch) -> None:
    """After a stop and a start, the shared platform has the same address and the same tokens."""
    first = launch(shared=True)
    first.stop()
    assert_nothing_left(first.record)
    second = launch(shared=True)
    assert [second.record[k] for k in ("server", "token")] == [first.record[k] for k in ("server", "token")]


def test_sigterm_stops_a_platform(launch: Launch) -> None:
    """SIGTERM to the supervisor is an orderly stop, with exit status 0."""
    launched = launch(shared=True)
    launched.process.send_signal(signal.SIGTERM)
    assert launched.process.wait(30) == 0
    assert_nothing_left(launched.record)
    assert not launched.folder.alive()
    assert os.path.isdir(launched.folder.root / "jetstream")


def _timer_slacks(pid: int) -> set[float]:
    """Return what the threads of a process have, in seconds."""

    def slack(task: str) -> float:
        # Each thread has the file, but in a folder of its own beside that of its process.
        return int(Path("/proc", Path(task).name, "timerslack_ns").read_text()) / 1e9

    try:
        return set(each_of(f"/proc/{pid}/task", slack))
    except PermissionError:
        pytest.skip("the kernel shows this to root alone")
