"""nats-servers for measuring streams: one, several that form a cluster, or a leaf node; on loopback ports, without users."""

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Self

import psutil

from afield_platform.binary import find_nats_server
from afield_platform.linux import die_with_parent
from afield_platform.nats_config import Peers, render
from afield_platform.roles import make_secrets

READY_S: Final = 60.0
"""Seconds in which a server must be ready, or a cluster have a leader."""

STOP_S: Final = 60.0
"""Seconds that an orderly stop may take."""

_PASS_ON: Final = {"default_js_domain": {"$G": ""}}
"""Without it, neither end of a leaf node's connection lets requests to JetStream or writes to buckets pass."""


class Server:
    """One nats-server with this configuration, and its log beside it."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.config = config
        self._path = folder / f"{config['server_name']}.json"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://{self.config['listen']}"

    @property
    def process(self) -> psutil.Process:
        """The process that runs."""
        if self._process is None:
            raise RuntimeError(f"{self.config['server_name']} does not run")
        return psutil.Process(self._process.pid)

    @property
    def resident_mb(self) -> float:
        """Its resident memory."""
        return self.process.memory_info().rss / 1e6

    @property
    def processor_s(self) -> float:
        """The processor time that it has taken."""
        return sum(self.process.cpu_times()[:2])

    def start(self) -> Self:
        """Start it; it is not ready when this returns."""
        self._path.write_text(json.dumps(self.config))
        with open(self._path.with_suffix(".log"), "ab") as log:
            self._process = subprocess.Popen(
                [find_nats_server(), "-c", str(self._path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - it only asks the kernel for a signal
            )
        return self

    def wait_ready(self) -> None:
        """Wait until it is healthy, with its streams, consumers and leader. Raises TimeoutError with its last words."""
        end = time.monotonic() + READY_S
        while not self._healthy():
            if time.monotonic() > end:
                words = self._path.with_suffix(".log").read_text(errors="replace")[-800:]
                raise TimeoutError(
                    f"{self.config['server_name']} was not ready within {READY_S:g} s:\n{words}"
                )
            time.sleep(0.01)  # nobody tells that a server is healthy

    def _healthy(self) -> bool:
        try:
            healthy = self._ask("healthz")["status"] == "ok"
            clustered = "cluster" in self.config
            return healthy and (not clustered or bool(self._ask("jsz")["meta_cluster"].get("leader")))
        except (OSError, KeyError):
            return False

    def _ask(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{self.config['http']}/{path}", timeout=2.0) as reply:
            answer: dict[str, Any] = json.load(reply)
        return answer

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it in order. Raises TimeoutExpired after STOP_S seconds."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(STOP_S)
            self._process = None


@contextmanager
def running(folder: Path, *, servers: int = 1, sync: str = "10s") -> Iterator[list[Server]]:
    """Run one server, or several that form a cluster, as the platform configures them; they are killed in the end."""
    made = [Server(folder, config) for config in configs(folder, servers, sync)]
    with _started(made):
        yield made


@contextmanager
def leaf_of(folder: Path, hub: Server) -> Iterator[Server]:
    """Run a server without streams of its own, connected to `hub` as its leaf node."""
    config = {
        "server_name": "leaf",
        "listen": _free_address(),
        "http": _free_address(),
        **_PASS_ON,
        "leafnodes": {"remotes": [{"url": f"nats-leaf://{hub.config['leafnodes']['listen']}"}]},
    }
    leaf = Server(folder, config)
    with _started([leaf]):
        yield leaf


@contextmanager
def _started(servers: Sequence[Server]) -> Iterator[None]:
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.kill)
            server.start()
        for server in servers:
            server.wait_ready()
        yield


def configs(folder: Path, servers: int, sync: str) -> list[dict[str, Any]]:
    """Return the configurations of so many servers: the platform's, without users, with monitoring and room for leaf nodes."""
    routes = [_free_address() for _ in range(servers)]
    made = []
    for number, route in enumerate(routes):
        config = render(
            port=0,
            store=folder / f"store-{number}",
            secrets=make_secrets(),
            shards=1,
            name=f"n{number}",
            sync=sync,
            peers=Peers("bench", route, tuple(f"nats://{each}" for each in routes)) if servers > 1 else None,
        )
        del config["authorization"]
        config |= {"listen": _free_address(), "http": _free_address()}
        config |= {"leafnodes": {"listen": _free_address()}, **_PASS_ON}
        made.append(config)
    return made


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
