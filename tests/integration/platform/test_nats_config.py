"""The permissions of each role, against a real nats-server."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Self, get_args

import pytest

from afield_platform.nats_config import render
from afield_platform.roles import Role, make_secrets
from support.nats import NatsServer

CALL = "fc-k3j9x2abcd-0-17"

MAY_PUBLISH: dict[Role, list[str]] = {
    "registry": [
        "$JS.API.STREAM.CREATE.RESULTS",
        "$JS.API.STREAM.NAMES",
        "$JS.API.CONSUMER.DURABLE.CREATE.IN_0.main_fu-1_hi",
        "$JS.API.CONSUMER.DELETE.IN_0.main_fu-1_hi",
        "$JS.API.STREAM.PURGE.IN_0",
        "$JS.API.STREAM.PURGE.KV_REG",
        "$JS.API.DIRECT.GET.KV_REG",
        "$JS.API.DIRECT.GET.KV_REG.$KV.REG.app.main.ap-1",
        "$KV.REG.app.main.ap-1",
        "$JS.API.DIRECT.GET.IN_0",
        f"out.0.main.k3j9x2abcd.{CALL}.0-1",
        "ev.main.ap-1.-.-",
    ],
    "scheduler": [
        "$JS.API.CONSUMER.LIST.IN_0",
        "$JS.API.CONSUMER.INFO.IN_0.main_fu-1_hi",
        "$JS.API.CONSUMER.DURABLE.CREATE.IN_0.main_fu-1_hi",
        "$JS.API.STREAM.PURGE.IN_0",
        "$JS.API.STREAM.PURGE.RESULTS",
        "$JS.API.STREAM.INFO.IN_0",
        "$JS.API.DIRECT.GET.KV_WORKERS",
        "$JS.API.DIRECT.GET.IN_0.in.0.main.fu-1.hi.x.0-1.1",
        "$KV.LEASE.scheduler",
        f"out.0.main.k3j9x2abcd.{CALL}.0-1",
        "ctl.w.wk-1.start",
        f"ctl.call.main.{CALL}",
    ],
    "worker": [
        "$JS.API.CONSUMER.MSG.NEXT.IN_0.main_fu-1_hi",
        "$JS.ACK.IN_0.main_fu-1_hi.1.1.1.1.0",
        f"in.0.main.fu-1.lo.{CALL}.3-1.2",
        f"out.0.main.k3j9x2abcd.{CALL}.0-1",
        "log.main.ap-1.fu-1.ta-1",
        "ev.main.ap-1.fu-1.-",
        "$KV.WORKERS.wk-1",
        "$O.TMP.C.abc",
        "$JS.API.DIRECT.GET.OBJ_CODE",
        "$JS.API.DIRECT.GET.OBJ_TMP.$O.TMP.M.abc",
    ],
    "gateway": [
        "registry.function.get",
        "scheduler.fleet.stats",
        f"in.0.main.fu-1.hi.{CALL}.0-1.1",
        "wake.0",
        f"$JS.API.DIRECT.GET.RESULTS.out.0.main.k3j9x2abcd.{CALL}.0-1",
    ],
    "client": [
        f"in.0.main.fu-1.hi.{CALL}.0-1.1",
        "wake.0",
        "registry.app.create",
        "scheduler.call.cancel",
        "scheduler.fleet.stats",
        f"ctl.call.main.{CALL}",
        "$O.CODE.C.abc",
        "$O.TMP.M.abc",
        "$JS.API.STREAM.PURGE.OBJ_TMP",
        "$JS.API.DIRECT.GET.OBJ_TMP",
        f"$JS.API.DIRECT.GET.RESULTS.out.0.main.k3j9x2abcd.{CALL}.0-1",
    ],
    "guest": [
        f"in.0.main.fu-1.hi.{CALL}.0-1.1",
        "wake.0",
        "registry.function.get",
        "scheduler.call.get",
        "ctl.w.wk-1.waits",
        "$O.TMP.C.abc",
        f"$JS.API.DIRECT.GET.RESULTS.out.0.main.k3j9x2abcd.{CALL}.0-1",
    ],
    "operator": ["$JS.API.STREAM.DELETE.RESULTS", "out.0.x"],
}

MAY_NOT_PUBLISH: dict[Role, list[str]] = {
    "registry": [
        f"in.0.main.fu-1.hi.{CALL}.0-1.1",
        "$KV.WORKERS.wk-1",
        "$JS.API.STREAM.DELETE.RESULTS",
        "$JS.API.STREAM.PURGE.RESULTS",
    ],
    "scheduler": [
        "$KV.REG.app.main.ap-1",
        "$JS.API.STREAM.CREATE.X",
        "$JS.API.STREAM.PURGE.KV_REG",
        "registry.app.stop",
    ],
    "worker": [
        "$KV.REG.app.main.ap-1",
        "$JS.API.CONSUMER.CREATE.IN_0.x",
        "ctl.w.wk-2.start",
        "registry.app.stop",
    ],
    "gateway": ["$KV.REG.app.main.ap-1", "out.0.x", "ctl.w.wk-1.start", "$JS.API.CONSUMER.CREATE.RESULTS"],
    "client": [
        f"out.0.main.k3j9x2abcd.{CALL}.0-1",
        "$KV.REG.app.main.ap-1",
        "ctl.w.wk-1.start",
        "log.main.ap-1.fu-1.ta-1",
        "$JS.API.DIRECT.GET.RESULTS",
        "$JS.API.STREAM.PURGE.RESULTS",
        "$JS.API.CONSUMER.CREATE.RESULTS",
        "$JS.API.STREAM.NAMES",
        "_INBOX.registry.x",
    ],
    "guest": [
        "registry.app.create",
        "registry.app.stop",
        "$O.CODE.C.abc",
        "out.0.x",
        "scheduler.fleet.stats",
        "ctl.w.wk-1.stop",
    ],
    "operator": [],
}

MAY_SUBSCRIBE: dict[Role, list[str]] = {
    "registry": ["registry.app.create", "kv.REG.>", "$SRV.PING"],
    "scheduler": [
        "scheduler.call.cancel",
        "wake.*",
        "ev.*.*.*.*",
        "kv.WORKERS.>",
        "$KV.LEASE.leader",
        "$SRV.INFO.scheduler",
    ],
    "worker": ["ctl.w.wk-1.start", "ctl.call.>", "$SRV.STATS.worker.x"],
    "gateway": ["res.*.main.k3j9x2abcd.>", "log.>", "$SRV.PING"],
    "client": ["res.*.main.k3j9x2abcd.>", "log.main.ap-1.>", "ev.main.ap-1.>"],
    "guest": ["res.*.main.k3j9x2abcd.>"],
    "operator": [">"],
}

MAY_NOT_SUBSCRIBE: dict[Role, list[str]] = {
    "registry": ["in.>", "res.>"],
    "scheduler": ["registry.>", "in.>"],
    "worker": ["in.>", "res.>", "registry.>"],
    "gateway": ["in.>", "registry.>"],
    "client": ["in.>", "out.>", "_INBOX.>", "_INBOX.worker.>", "registry.>", "kv.REG.>", ">"],
    "guest": ["in.>", "log.>", "_INBOX.client.>", "ctl.call.>", "ev.>"],
    "operator": [],
}

SECRETS = make_secrets()
ROLES = get_args(Role)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A nats-server with the configuration that a platform gets."""
    folder: Path = tmp_path_factory.mktemp("permissions")
    server = NatsServer(folder)
    config = render(port=server.port, store=folder / "store", secrets=SECRETS, shards=1, name="test")
    server.config.write_text(json.dumps(config))
    with server:
        yield server


class Plain:
    """A connection in the plain protocol: the server's complaints come before its PONG, so none can be missed."""

    def __init__(self, server: NatsServer, user: str, password: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), 5)
        self._lines = self._socket.makefile("rb")
        login = {"user": user, "pass": password, "verbose": False}
        self._socket.sendall(f"CONNECT {json.dumps(login)}\r\n".encode())

    def send(self, *commands: str) -> list[str]:
        """Send commands; return what the server says until they are carried out."""
        self._socket.sendall("".join(f"{command}\r\n" for command in (*commands, "PING")).encode())
        said = []
        for line in self._lines:
            if line == b"PONG\r\n":
                break
            said.append(line.decode().strip())
        return said

    def line(self) -> str:
        """Return the next line from the server."""
        return self._lines.readline().decode().strip()

    def rest(self) -> str:
        """Return all that the server says until it hangs up."""
        return self._lines.read().decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()


def login(server: NatsServer, role: Role) -> Plain:
    """Connect as a role."""
    return Plain(server, role, SECRETS[role])


def refused_publishes(connection: Plain, subjects: list[str]) -> list[str]:
    """Publish to each subject; return those that the server refuses."""
    said = connection.send(*(f"PUB {subject} 2\r\n{{}}" for subject in subjects))
    return [
        s for s in subjects if any(f'Permissions Violation for Publish to "{s}"' in line for line in said)
    ]


def refused_subscriptions(connection: Plain, subjects: list[str]) -> list[str]:
    """Subscribe to each subject; return those that the server refuses."""
    said = connection.send(*(f"SUB {subject} {number}" for number, subject in enumerate(subjects)))
    return [
        s
        for s in subjects
        if any(f'Permissions Violation for Subscription to "{s}"' in line for line in said)
    ]


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_may_publish(server: NatsServer, role: Role) -> None:
    """Every role can publish what its work needs, and nothing of others."""
    with login(server, role) as connection:
        assert refused_publishes(connection, MAY_PUBLISH[role]) == []
        assert refused_publishes(connection, MAY_NOT_PUBLISH[role]) == MAY_NOT_PUBLISH[role]


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_may_hear(server: NatsServer, role: Role) -> None:
    """Every role can subscribe to what its work needs and to its own inboxes, and to nothing of others."""
    with login(server, role) as connection:
        assert refused_subscriptions(connection, [f"_INBOX.{role}.x.*", *MAY_SUBSCRIBE[role]]) == []
        assert refused_subscriptions(connection, MAY_NOT_SUBSCRIBE[role]) == MAY_NOT_SUBSCRIBE[role]


def test_a_service_can_answer_a_client(server: NatsServer) -> None:
    """A service may reply to a request, although it may not publish to the inboxes of others by itself."""
    with login(server, "registry") as registry, login(server, "client") as client:
        registry.send("SUB registry.app.get 1")
        client.send("SUB _INBOX.client.one 1", "PUB registry.app.get _INBOX.client.one 1\r\n?")
        assert registry.line() == "MSG registry.app.get 1 _INBOX.client.one 1"
        assert refused_publishes(registry, ["_INBOX.client.one", "_INBOX.client.two"]) == [
            "_INBOX.client.two"
        ]
        assert client.line() == "MSG _INBOX.client.one 1 2"


@pytest.mark.parametrize("user", ["", "client"])
def test_nobody_gets_in_without_a_password(server: NatsServer, user: str) -> None:
    """A connection without a user, or with a wrong password, is refused."""
    with Plain(server, user, "guess") as connection:
        # Nothing is sent after the login: a server that hangs up on unread data resets the connection.
        assert "Authorization Violation" in connection.rest()
