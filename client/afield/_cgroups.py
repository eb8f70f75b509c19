"""The control groups that a worker makes for its containers: where it may, and how they are removed.

A worker claims a group of its own for each controller (`memory`, `cpu`), below its own group or, where version 2 forbids
that since processes are in it, beside it. A claim is a lock on the folder, so whoever finds one without a live owner
removes it: the next worker at its start, and the supervisor at the platform's end. Linux only, as is all of the
platform; where nothing may be written there is simply no group.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

CONTROLLERS: Final = ("memory", "cpu")

_PREFIX: Final = "afield-"
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


class Base(NamedTuple):
    """A group of a worker's own, below which its containers have theirs."""

    version: int
    """1 or 2."""
    folder: Path


class Mount(NamedTuple):
    """Where a hierarchy of groups is to be seen, and which group of it this process is in."""

    version: int
    controllers: frozenset[str]
    """Of version 1; those of version 2 are told by each group."""
    top: Path
    own: Path


class Claim:
    """The groups of one worker. All methods block, and are quick."""

    def __init__(self, name: str, own: Path = Path("/proc/self")) -> None:
        """Claim what can be had as `afield-<name>`; what cannot be had is missing in `bases`."""
        self.bases: dict[str, Base] = {}
        self._locks: list[int] = []
        mounts = find_mounts(own)
        for controller in CONTROLLERS:
            for mount in mounts:
                if mount.version == 1 and controller in mount.controllers:
                    self._claim_v1(controller, mount, name)
        for mount in mounts:
            if mount.version == 2:
                self._claim_v2(mount, name)

    def close(self) -> None:
        """Remove the groups; one that still has processes stays, and is removed by whoever comes next."""
        for base in self._folders():
            _remove(base)
        for lock in self._locks:
            os.close(lock)
        self._locks.clear()
        self.bases.clear()

    def _claim_v1(self, controller: str, mount: Mount, name: str) -> None:
        folder = mount.own / f"{_PREFIX}{name}"
        if folder in self._folders() or self._make(folder):
            self.bases.setdefault(controller, Base(1, folder))

    def _claim_v2(self, mount: Mount, name: str) -> None:
        wanted = [each for each in CONTROLLERS if each not in self.bases]
        for parent in _parents_v2(mount):
            _enable(parent, wanted)
            given = [each for each in wanted if each in _words(parent / "cgroup.subtree_control")]
            folder = parent / f"{_PREFIX}{name}"
            if not given or not self._make(folder):
                continue
            _enable(folder, given)
            self.bases |= dict.fromkeys(given, Base(2, folder))
            return

    def _make(self, folder: Path) -> bool:
        """Make a folder and lock it."""
        try:
            folder.mkdir()
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False  # not ours to write, mounted read-only, or swept before it was locked
        if not _lock(lock):
            os.close(lock)
            return False
        self._locks.append(lock)
        return True

    def _folders(self) -> set[Path]:
        return {base.folder for base in self.bases.values()}


def sweep(own: Path = Path("/proc/self")) -> int:
    """Remove the groups of workers that are gone; returns how many."""
    removed = 0
    for mount in find_mounts(own):
        parents = [mount.own] if mount.version == 1 else _parents_v2(mount)
        for parent in parents:
            removed += sum(map(_remove_unowned, _claims_in(parent)))
    return removed


def find_mounts(own: Path = Path("/proc/self")) -> list[Mount]:
    """Return the hierarchies that are mounted, and in which this process has a group that can be seen.

    `own` is the process's folder in /proc.
    """
    groups: dict[str, str] = {}
    for line in _read(own / "cgroup").splitlines():
        _, names, group = line.split(":", 2)
        groups |= dict.fromkeys(names.split(","), group)  # of version 2, the empty name
    mounts = []
    for line in _read(own / "mountinfo").splitlines():
        fields, _, kind = line.partition(" - ")
        _, _, _, root, point, *_ = map(_unescape, fields.split(" "))
        system, _, options = kind.split(" ", 2)
        controllers = frozenset(CONTROLLERS).intersection(options.split(","))
        if system == "cgroup2":
            version, path = 2, groups.get("", "")
        elif system == "cgroup" and controllers:
            version, path = 1, groups.get(min(controllers), "")
        else:
            continue
        # A mount may show only what lies below `root`; and dots lead out of what this process may see at all.
        if path and ".." not in path.split("/") and os.path.commonpath([path, root]) == root:
            top = Path(point)
            mounts.append(Mount(version, controllers, top, top / os.path.relpath(path, root)))
    return mounts


def _parents_v2(mount: Mount) -> list[Path]:
    """Return the groups that may get groups of ours: our own, and the one above it."""
    return [mount.own] if mount.own == mount.top else [mount.own, mount.own.parent]


def _enable(group: Path, controllers: list[str]) -> None:
    """Let the groups below `group` have these controllers, where that may be."""
    for controller in controllers:
        # EBUSY: processes are in it. EACCES, EROFS: it is not ours. ENOENT: it has not got the controller itself.
        with suppress(OSError):
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def _claims_in(parent: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from [each for each in parent.iterdir() if each.name.startswith(_PREFIX) and each.is_dir()]


def _remove_unowned(folder: Path) -> bool:
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False  # gone meanwhile
    try:
        return _lock(lock) and _remove(folder)
    finally:
        os.close(lock)


def _remove(folder: Path) -> bool:
    """Remove a group and those below it; tell whether nothing is left of it."""
    try:
        below = [each for each in folder.iterdir() if each.is_dir()]
        for each in below:
            _remove(each)
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False  # processes are in it, or it is not ours
    return True


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _words(path: Path) -> list[str]:
    return _read(path).split()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # no such hierarchy, or none of ours


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)
