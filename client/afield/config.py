"""Where afield keeps its files, and which platform it talks to.

Everything is read from the environment when it is asked for, so a test or a wrapper script can change it:

====================  ==========================================================================================
`AFIELD_HOME`         one folder for all state and caches; without it the XDG folders are used
`AFIELD_SERVER`       address of a NATS server that a platform stands behind (`nats://host:4222`)
`AFIELD_TOKEN`        `user:secret` for that server
`AFIELD_GATEWAY`      address of that platform's HTTP gateway (optional)
`AFIELD_ENVIRONMENT`  the environment to work in; `main` by default
`AFIELD_BLOB_DIR`     folder for large payloads that this host shares with the workers (optional, with `AFIELD_HOST`)
`AFIELD_HOST`         id of the host; equal for everybody who shares the blob folder
====================  ==========================================================================================
"""

import os
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

from afield._wire.ids import is_token
from afield.exception import InvalidError

DEFAULT_ENVIRONMENT = "main"


class Server(NamedTuple):
    """A configured server: what `AFIELD_SERVER` and its companions say."""

    url: str
    token: str
    gateway: str
    blob_dir: str
    host: str


def state_dir() -> Path:
    """Return the folder for state that must survive: `AFIELD_HOME`, or `afield` in the XDG state folder."""
    home = _home_override()
    return home / "state" if home else _xdg("XDG_STATE_HOME", ".local/state")


def cache_dir() -> Path:
    """Return the folder for what can be made again: unpacked source, environments of images."""
    home = _home_override()
    return home / "cache" if home else _xdg("XDG_CACHE_HOME", ".cache")


def environment(override: str | None = None) -> str:
    """Return the name of the environment to work in.

    `override` (as from `--env`) goes before `AFIELD_ENVIRONMENT`. Raises InvalidError for a name that cannot be one.
    """
    name = override or os.environ.get("AFIELD_ENVIRONMENT") or DEFAULT_ENVIRONMENT
    if not is_token(name):
        raise InvalidError(f"an environment is named with letters, digits, '-' and '_', not {name!r}")
    return name


def server() -> Server | None:
    """Return the configured server, or None when nothing is configured.

    Raises InvalidError when only one of `AFIELD_SERVER` and `AFIELD_TOKEN` is set, or one is malformed.
    """
    url, token = os.environ.get("AFIELD_SERVER", ""), os.environ.get("AFIELD_TOKEN", "")
    if not url and not token:
        return None
    if not url or not token:
        there, missing = ("AFIELD_SERVER", "AFIELD_TOKEN") if url else ("AFIELD_TOKEN", "AFIELD_SERVER")
        raise InvalidError(f"{there} is set but {missing} is not: set both to use a server, or neither")
    if "://" not in url:
        raise InvalidError(f"AFIELD_SERVER should be an address like 'nats://host:4222', not {url!r}")
    if not all(token.partition(":")):
        raise InvalidError(
            "AFIELD_TOKEN should be '<user>:<secret>'; the one given has no ':' between two parts"
        )
    env = os.environ
    return Server(
        url, token, env.get("AFIELD_GATEWAY", ""), env.get("AFIELD_BLOB_DIR", ""), env.get("AFIELD_HOST", "")
    )


def make_private(folder: Path) -> Path:
    """Create `folder` and its parents for this user alone, and return it.

    Raises InvalidError, naming the folder, the reason and the way out, when that cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        info = folder.stat()
        if info.st_uid != os.geteuid():
            raise PermissionError(f"it belongs to user {info.st_uid}")
        if stat.S_IMODE(info.st_mode) & 0o077:
            folder.chmod(0o700)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError("it cannot be written")
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidError(
            f"cannot keep files in {folder}: {reason}. Set AFIELD_HOME to a folder that you can write."
        ) from error
    return folder


def _home_override() -> Path | None:
    """Return the folder that `AFIELD_HOME` names, made absolute."""
    home = os.environ.get("AFIELD_HOME", "")
    return Path(home).expanduser().absolute() if home else None


def _xdg(variable: str, below_home: str) -> Path:
    """Return the folder of ours in one XDG base folder. The specification ignores relative paths."""
    base = os.environ.get(variable, "")
    if base.startswith("/"):
        return Path(base) / "afield"
    home = os.path.expanduser("~")  # HOME, else the password database
    if not home.startswith("/") or home == "/":
        # A user without a home, as in many containers: a folder that only this user may enter (make_private checks).
        return Path(tempfile.gettempdir()) / f"afield-{os.geteuid()}-{Path(below_home).name.lstrip('.')}"
    return Path(home) / below_home / "afield"
