"""`afield up`, `afield status`, `afield down`."""

import json
import os
import signal
import subprocess
from typing import Any

import pytest

from afield import _marks
from support.launching import wait_for

from .conftest import Cli, until

ROLES = {"supervisor", "nats-server", "registry", "scheduler", "worker", "gateway"}


def status(cli: Cli) -> dict[str, Any]:
    """What `afield status --json` says."""
    document: dict[str, Any] = json.loads(cli("status", "--json", check=None).stdout)
    return document


def pids(document: dict[str, Any]) -> dict[str, int]:
    """The process id of each role."""
    return {process["role"]: process["pid"] for process in document["processes"]}


def test_up_status_down(fresh: Cli) -> None:
    """A platform that was started is shown, used by runs, and stopped; all of it can be said twice."""
    assert status(fresh) == {"running": False, "processes": [], "apps": [], "platforms": []}
    fresh("status", check=1)
    assert "afield is up" in fresh("up", "--detach").stdout
    assert "afield is already up" in fresh("up", "--detach").stdout
    document = status(fresh)
    assert set(pids(document)) == ROLES
    assert all(process["address"] for process in document["processes"] if process["role"] != "supervisor")
    assert (
        len({pid for role, pid in pids(document).items() if role in ROLES - {"supervisor", "nats-server"}})
        == 1
    )
    fresh("run", "one.py")
    assert pids(status(fresh)) == pids(document)
    assert "is down" in fresh("down").stdout
    assert "No platform" in fresh("down").stdout
    assert not status(fresh)["running"]
    assert not _marks.marked(document["platforms"][0]["id"])


def test_status_for_people(running: Cli) -> None:
    """Without --json there is a line for each process."""
    shown = running("status").stdout
    for role in ROLES:
        assert f"  {role} " in shown


def test_status_shows_no_secret(running: Cli) -> None:
    """What status prints can be shown to anybody."""
    secrets = json.loads((running.home / "state" / "platform" / "secrets.json").read_text())
    shown = running("status", "--json").stdout
    assert not [name for name, secret in secrets.items() if secret in shown]


def test_containers_are_shown(fresh: Cli) -> None:
    """Containers appear with their process id, worker and function; private platforms are shown too."""
    run = fresh.start("run", "waiting.py::sleep")
    until(run, "sleeping")
    containers = wait_for(
        lambda: [p for p in status(fresh)["processes"] if p["role"] == "container"],
        "the container to be shown",
    )
    assert len(containers) == 1
    assert containers[0]["address"].startswith("wk-")
    assert containers[0]["function_id"].startswith("fu-")
    assert containers[0]["function"] == "sleep"
    (app,) = status(fresh)["apps"]
    assert (app["id"], app["name"], app["state"]) == (containers[0]["app_id"], "waiting", "ephemeral")
    assert app["functions"]["sleep"] == containers[0]["function_id"]
    assert "(ready, sleep)" in fresh("status").stdout
    assert os.path.exists(f"/proc/{containers[0]['pid']}")
    (platform,) = status(fresh)["platforms"]
    assert platform["private"]


def test_containers_of_other_environments_are_named(fresh: Cli) -> None:
    """The apps shown are those of one environment, the containers those of all."""
    run = fresh.start("run", "-e", "other", "waiting.py::sleep")
    until(run, "sleeping")
    wait_for(lambda: "(ready, sleep)" in fresh("status").stdout, "the container to be shown")
    assert status(fresh)["apps"] == []


def test_up_in_the_foreground(fresh: Cli) -> None:
    """In the foreground the platform runs until Ctrl-C, and a second one is refused."""
    up = fresh.start("up", "--separate", stderr=subprocess.DEVNULL)
    until(up, "files")
    document = status(fresh)
    before = pids(document)
    assert before["supervisor"] == up.pid
    assert len(set(before.values())) == len(ROLES)
    refused = fresh("up", check=1)
    assert (
        refused.stderr
        == f"Error: a platform of yours is running already (process {up.pid}); `afield down` stops it\n"
    )
    up.send_signal(signal.SIGINT)
    assert up.wait(50) == 0
    assert not _marks.marked(document["platforms"][0]["id"])


@pytest.mark.timeout(120)
def test_a_worker_that_says_nothing_is_noticed(fresh: Cli) -> None:
    """It runs, as a process, so nothing starts it again; but nobody hears of it. Until it goes on."""
    fresh("up", "--separate", "--detach")
    worker = pids(status(fresh))["worker"]
    os.kill(worker, signal.SIGSTOP)
    said = f"worker {worker} runs, and sends no heartbeats"
    wait_for(lambda: said in fresh("status").stdout, "the worker to be missed", timeout=60)
    os.kill(worker, signal.SIGCONT)
    wait_for(lambda: said not in fresh("status").stdout, "the worker to be heard of", timeout=30)


def test_apps_outlive_a_detached_run(fresh: Cli) -> None:
    """A detached run starts a platform that stays, and its app stays on it when the command is interrupted."""
    run = fresh.start("run", "--detach", "waiting.py::sleep")
    until(run, "sleeping")
    run.send_signal(signal.SIGINT)
    assert run.wait(50) == 130
    assert [p["role"] for p in status(fresh)["processes"]].count("container") == 1
    fresh("down", "--force")


def test_a_killed_platform_can_be_started_again(fresh: Cli) -> None:
    """After kill -9 of the supervisor nothing pretends to run, and the next start is as good as any."""
    fresh("up", "--detach")
    before = pids(status(fresh))
    os.kill(before["supervisor"], signal.SIGKILL)
    wait_for(lambda: not status(fresh)["running"], "the platform to be seen as dead")
    fresh("up", "--detach")
    assert "9 w" in fresh("run", "one.py").stdout
    assert not set(before.values()) & set(pids(status(fresh)).values())


def test_services_come_back(fresh: Cli) -> None:
    """Services that were killed are started again, status counts it, and calls work."""
    fresh("up", "--detach")
    old = pids(status(fresh))["worker"]
    os.kill(old, signal.SIGKILL)

    def back() -> bool:
        worker = next(p for p in status(fresh)["processes"] if p["role"] == "worker")
        return worker["pid"] not in (0, old) and worker["restarts"] == 1 and worker["address"] != ""

    wait_for(back, "the worker to come back")
    assert "9 w" in fresh("run", "one.py").stdout


def test_a_configured_server_is_not_shadowed(running: Cli, fresh: Cli) -> None:
    """With AFIELD_SERVER set, runs use that server, and `afield up` says that it would be in vain."""
    record = json.loads((running.home / "state" / "platform" / "platform.json").read_text())
    fresh.env |= {"AFIELD_SERVER": record["server"], "AFIELD_TOKEN": record["token"]}
    assert "9 w" in fresh("run", "one.py").stdout
    fresh.assert_clean([])
    assert "AFIELD_SERVER is set" in fresh("up", "--detach", check=2).stderr
