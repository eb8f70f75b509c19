"""Three nats-servers that form a JetStream cluster on loopback ports, started, killed, paused and restarted one by one.

`NatsCluster(folder)` in a test. As a process, `python -m support.cluster FILE` keeps a cluster running for a supervisor
that takes it for one nats-server: FILE holds the configurations of the servers, in JSON.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from afield_platform.linux import die_with_parent
from afield_platform.nats_config import Peers, render
from afield_platform.roles import SecretName
from support.nats import READY, free_port, server_binary

SIZE = 3
START_TIMEOUT = 40.0
"""Seconds until all servers know of each other and have a leader."""

RESTART_S = 0.5
"""Seconds until a server that died is started again."""


class Node:
    """One server."""

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self.config = config
        self.name: str = config["server_name"]
        self.path = folder / f"{self.name}.json"
        self.log = folder / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://{self.config['listen']}"

    @property
    def pid(self) -> int:
        """Its process id, 0 while it does not run."""
        return self.process.pid if self.process is not None else 0

    def start(self) -> None:
        """Start it; it is not ready when this returns."""
        self.path.write_text(json.dumps(self.config))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [server_binary(), "-c", str(self.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - it only asks the kernel for a signal
            )

    def kill9(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Stop it without ending it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def ask(self, path: str) -> dict[str, Any]:
        """Ask its monitoring port; raises OSError when it does not answer."""
        with urllib.request.urlopen(f"http://{self.config['http']}/{path}", timeout=2.0) as reply:
            answer: dict[str, Any] = json.load(reply)
        return answer


class NatsCluster:
    """Servers under `folder`, without users unless `configs` says otherwise. `with NatsCluster(folder) as cluster: …`."""

    def __init__(self, folder: Path, configs: Sequence[dict[str, Any]] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.nodes = [Node(config, folder) for config in configs or make_configs(folder)]

    @property
    def url(self) -> str:
        """Where clients connect: the addresses of all servers, apart by commas."""
        return ",".join(node.url for node in self.nodes)

    def start(self) -> None:
        """Start all servers and wait until they have a leader."""
        for node in self.nodes:
            node.start()
        self.wait_ready()

    def wait_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until every server is caught up and knows the same leader. Raises TimeoutError with their last words."""
        end = time.monotonic() + timeout
        while not self._healthy():
            if time.monotonic() > end:
                words = "\n".join(node.log.read_text(errors="replace")[-600:] for node in self.nodes)
                raise TimeoutError(f"the cluster was not ready within {timeout:g} s:\n{words}")
            time.sleep(0.05)

    def _healthy(self) -> bool:
        try:
            leaders = {node.ask("jsz")["meta_cluster"].get("leader") for node in self.nodes}
            well = all(node.ask("healthz")["status"] == "ok" for node in self.nodes)
        except (OSError, KeyError):
            return False
        return well and len(leaders) == 1 and None not in leaders

    def meta_leader(self) -> Node | None:
        """Return the server that leads the cluster, as those say that answer."""
        for node in self.nodes:
            try:
                name = node.ask("jsz")["meta_cluster"].get("leader")
            except (OSError, KeyError):
                continue
            found = [each for each in self.nodes if each.name == name]
            if found:
                return found[0]
        return None

    def stop(self) -> None:
        """End all servers."""
        for node in self.nodes:
            node.kill9()

    def keep(self) -> None:
        """Start servers again when they die, until SIGTERM; then end them, in order."""
        stopping, told = os.pipe()
        os.set_blocking(told, False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(told)
        while not select.select([stopping], [], [], RESTART_S)[0]:
            for node in self.nodes:
                if node.process is not None and node.process.poll() is not None:
                    node.start()
        for node in self.nodes:
            if node.process is not None:
                node.process.terminate()
        for node in self.nodes:
            if node.process is not None:
                node.process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def make_configs(
    folder: Path, secrets: Mapping[SecretName, str] | None = None, shards: int = 1
) -> list[dict[str, Any]]:
    """Return the configurations of three servers, with the platform's users if there are `secrets`, else without any."""
    routes = [free_port() for _ in range(SIZE)]
    made = []
    for number in range(SIZE):
        peers = Peers(
            cluster="afield",
            listen=f"127.0.0.1:{routes[number]}",
            routes=tuple(f"nats://127.0.0.1:{port}" for port in routes),
        )
        config = render(
            port=free_port(),
            store=folder / f"store{number}",
            secrets=secrets or _NOBODY,
            shards=shards,
            name=f"n{number}",
            peers=peers,
        )
        config["http"] = f"127.0.0.1:{free_port()}"
        if secrets is None:
            del config["authorization"]
        made.append(config)
    return made


class _Nobody(dict[SecretName, str]):
    def __missing__(self, name: SecretName) -> str:
        return ""


_NOBODY = _Nobody()


def main(path: str) -> None:
    """Keep a cluster running."""
    file = Path(path)
    cluster = NatsCluster(file.parent, json.loads(file.read_text()))
    cluster.start()
    print(READY, flush=True)
    cluster.keep()


if __name__ == "__main__":
    main(*sys.argv[1:])
