"""Configurations of nats-server that a page of docs/ shows: written to files, and run on this host."""

import re
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self, get_args

from afield_platform.roles import Role
from support.nats import READY, free_port, server_binary

ROOT = Path(__file__).parents[2]
DEPLOYED = ROOT / "deploy" / "nats" / "nats-server.conf"
START_S = 40.0
"""Seconds in which a server must say that it is ready."""


def configurations(page: Path) -> dict[str, str]:
    """Return the blocks of a page that are configurations, by the file name that their first line gives."""
    found = re.findall(r"^```\n# (\S+\.conf)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return dict(found)


def passwords() -> dict[str, str]:
    """Return the variables that the configuration in deploy/ asks for."""
    return {f"AFIELD_PASSWORD_{role.upper()}": f"secret-{role}" for role in get_args(Role)}


def on_this_host(texts: dict[str, str], folder: Path) -> dict[str, str]:
    """Give every `host:port` of the configurations a free port of this host, the same everywhere; return them by what they were.

    They are written into `folder`, with that of deploy/ beside them; stores are in `folder`, too.
    """
    addresses = sorted({each for text in texts.values() for each in re.findall(r"[\w.]+:\d{4}\b", text)})
    given = {address: f"127.0.0.1:{free_port()}" for address in addresses}
    for name, text in texts.items():
        base = f"base-{name}"
        deployed = DEPLOYED.read_text().replace("/var/lib/afield", str(folder / f"store-{name}"))
        (folder / base).write_text(deployed.replace("127.0.0.1:8222", f"127.0.0.1:{free_port()}"))
        text = text.replace('include "nats-server.conf"', f'include "{base}"')
        for address, here in given.items():
            text = text.replace(address, here)
        (folder / name).write_text(text)
    return given


class Configured:
    """nats-server with a configuration file, running inside `with`."""

    def __init__(self, path: Path, env: dict[str, str]) -> None:
        self._command = [server_binary(), "-c", str(path)]
        self._env = env
        self._lines: list[str] = []
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, env=self._env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(START_S) or self._process.poll() is not None:
            self.__exit__(None, None, None)
            raise RuntimeError(f"{self._command} did not get ready:\n{''.join(self._lines)}")
        return self

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.append(line)
            if READY in line:
                self._ready.set()
        self._ready.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
