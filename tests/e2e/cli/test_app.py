"""`afield app`: detached apps are seen and stopped."""

import json
import os
import re
from typing import Any

from .conftest import Cli


def listed(cli: Cli, *options: str) -> list[dict[str, Any]]:
    """The apps that `afield app list --json` tells."""
    apps: list[dict[str, Any]] = json.loads(cli("app", "list", "--json", *options).stdout)["apps"]
    return apps


def detach(cli: Cli, *options: str) -> str:
    """Leave an app running; return its id, from what the command says about stopping it."""
    said = cli("run", "--detach", *options, "sole.py").stderr
    found = re.search(r"`afield app stop (?:-e other )?(ap-\w+)` stops it", said)
    assert found is not None, said
    return found[1]


def test_list_and_stop(fresh: Cli) -> None:
    """A detached app is listed until it is stopped, by its id or by its name."""
    assert listed(fresh) == []
    first = detach(fresh)
    (app,) = listed(fresh)
    assert (app["id"], app["name"], app["state"], app["environment"]) == (first, "sole", "detached", "main")
    assert list(app["functions"]) == ["only"]
    assert re.search(rf"^sole +{first} +detached .* only$", fresh("app", "list").stdout, re.MULTILINE)
    assert f"{first}  detached" in fresh("status").stdout
    second = detach(fresh)
    refused = fresh("app", "stop", "sole", check=2).stderr
    assert f"2 running apps are named 'sole'; say which one by its id: {second}, {first}" in refused
    assert fresh("app", "stop", first).stdout == f"App sole ({first}) is stopped.\n"
    assert f"did you mean sole ({second})?" in fresh("app", "stop", "soel", check=2).stderr
    assert f"there is sole ({second})" in fresh("app", "stop", "xyz", check=2).stderr
    fresh("app", "stop", "-y", "sole")
    assert fresh("app", "list").stdout == "No app runs in environment main.\n"


def test_detached_app_outlives_its_platform(fresh: Cli) -> None:
    """Taking the platform down names the detached apps, and these are there again when it is up again."""
    app = detach(fresh)
    assert (
        f"are there again after the next `afield up`, with what waits: sole ({app})." in fresh("down").stdout
    )
    fresh("up", "--detach")
    assert [each["id"] for each in listed(fresh)] == [app]
    fresh("app", "stop", app)
    assert fresh("down").stdout == "The platform is down.\n"


def test_environments_are_apart(fresh: Cli) -> None:
    """An app is seen and stopped in its own environment."""
    there = detach(fresh, "-e", "other")
    assert listed(fresh) == []
    assert [app["id"] for app in listed(fresh, "-e", "other")] == [there]
    assert "none runs there" in fresh("app", "stop", there, check=2).stderr
    fresh("app", "stop", "-e", "other", there)
    assert listed(fresh, "-e", "other") == []


def test_a_terminal_is_asked(fresh: Cli) -> None:
    """On a terminal the command asks first, and stops nothing without a yes."""
    app = detach(fresh)
    assert "nothing was stopped" in on_terminal(fresh, app, b"n\n")
    assert [each["id"] for each in listed(fresh)] == [app]
    assert f"Stop app sole ({app})? [y/N]" in on_terminal(fresh, app, b"y\n")
    assert listed(fresh) == []


def on_terminal(cli: Cli, app: str, answer: bytes) -> str:
    """What `afield app stop` says on a terminal where somebody answers."""
    ours, theirs = os.openpty()
    os.write(ours, answer)
    try:
        return cli("app", "stop", app, check=None, stdin=theirs).stderr
    finally:
        os.close(ours)
        os.close(theirs)
