"""Servers and workers that a program starts: free ports, processes, waiting until one listens."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

START_S = 30.0
"""Seconds within which a server must listen."""


def folder() -> Path:
    """Return the folder of this run, which is removed afterwards."""
    return Path(os.environ["PEERS_FOLDER"])


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Child:
    """A process in a group of its own; what it prints goes to standard error."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            start_new_session=True,
        )

    def wait_listening(self, port: int) -> None:
        """Wait until the port takes connections. Raises RuntimeError when the process ends or START_S are over."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self._process.args!r} ended with status {self._process.returncode}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.005)  # between looks: a listening port gives no event
            else:
                return
        raise RuntimeError(f"{self._process.args!r} did not listen on port {port} within {START_S:g} s")

    def end(self) -> None:
        """Ask its first process to end, and wait for that. Raises TimeoutExpired after START_S."""
        self._process.terminate()
        self._process.wait(START_S)

    def kill(self) -> None:
        """Kill the whole group, and wait for its first process."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all of it has ended
        self._process.wait()


def start_redis() -> tuple[Child, str]:
    """Start a Redis server, configured as it comes, and return it with its URL."""
    port = free_port()
    home = folder() / "redis"
    home.mkdir()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(home), "--loglevel", "warning"]
    server = Child([os.environ["PEERS_REDIS_SERVER"], *options])
    server.wait_listening(port)
    return server, f"redis://127.0.0.1:{port}/0"


def start_nats() -> tuple[Child, str]:
    """Start a NATS server with JetStream, and return it with its URL.

    Flushes to disk and the number of consumers are as on afield's platform (each result that Taskiq reads leaves a consumer
    for a while, and the default of 1,000 is soon reached); messages may be as large as the server can take at all.
    """
    port = free_port()
    configuration = folder() / "nats.conf"
    configuration.write_text(
        f'listen: "127.0.0.1:{port}"\n'
        "max_payload: 64MB\n"
        "max_pending: 256MB\n"
        f'jetstream: {{ store_dir: "{folder() / "nats"}", sync_interval: 10s, limits: {{ default_max_consumers: -1 }} }}\n'
    )
    server = Child([os.environ["PEERS_NATS_SERVER"], "-c", str(configuration)])
    server.wait_listening(port)
    return server, f"nats://127.0.0.1:{port}"
