"""Where the parts of one platform's folder are."""

from pathlib import Path
from typing import NamedTuple


class Paths(NamedTuple):
    """The folder of one platform. Everything in it is for its user alone."""

    root: Path

    @property
    def config(self) -> Path:
        """The configuration of nats-server, with the passwords."""
        return self.root / "nats-server.conf"

    @property
    def store(self) -> Path:
        """What JetStream keeps."""
        return self.root / "jetstream"

    @property
    def secrets(self) -> Path:
        """The passwords, by role."""
        return self.root / "secrets.json"

    @property
    def ports(self) -> Path:
        """The ports, by process."""
        return self.root / "ports.json"

    @property
    def record(self) -> Path:
        """What runs, and how to reach it."""
        return self.root / "platform.json"

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.root / "logs"

    @property
    def blobs(self) -> Path:
        """Large payloads, shared by the processes of this host."""
        return self.root / "blobs"

    @property
    def run(self) -> Path:
        """Homes of containers."""
        return self.root / "run"

    @property
    def cache(self) -> Path:
        """Unpacked source of a private platform; it goes with the platform."""
        return self.root / "cache"

    def create(self) -> None:
        """Make the folders, private to the user."""
        for folder in (self.root, self.store, self.logs, self.blobs, self.run, self.cache):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
