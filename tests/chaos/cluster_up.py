"""`python -m chaos.cluster_up`: as `afield up --separate`, on three nats-servers in place of one.

The supervisor and the services are the real ones. What it takes for nats-server is support/cluster.py.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from afield import _launch, _marks, config
from afield_platform.files import write_json
from afield_platform.ground import Ground
from afield_platform.options import Options
from afield_platform.supervisor import Supervisor
from support.cluster import make_configs

CONFIGS = "cluster.json"


class ClusterGround(Ground):
    """Ground for a platform whose server is a cluster."""

    @property
    def configs(self) -> list[dict[str, Any]]:
        """The configurations of the servers."""
        file = self._paths.root / "cluster" / CONFIGS
        if not file.exists():
            file.parent.mkdir(mode=0o700)
            write_json(file, make_configs(file.parent, self.secrets, self._options.shards))
        found: list[dict[str, Any]] = json.loads(file.read_text())
        return found

    @property
    def server(self) -> str:
        """The addresses of all servers."""
        return ",".join(f"nats://{each['listen']}" for each in self.configs)

    def command(self, roles: Sequence[str]) -> list[str]:
        """Return the command line of the process with these roles."""
        if "nats-server" in roles:
            assert self.configs
            return [sys.executable, "-m", "support.cluster", str(self._paths.root / "cluster" / CONFIGS)]
        return super().command(roles)


class ClusterSupervisor(Supervisor):
    """The supervisor on such ground."""

    make_ground = ClusterGround


def nodes(folder: Path) -> list[dict[str, Any]]:
    """Return the configurations of the servers of a platform in `folder`."""
    found: list[dict[str, Any]] = json.loads((folder / "cluster" / CONFIGS).read_text())
    return found


def main() -> int:
    """Run a platform in the foreground."""
    folder = _launch.shared_folder()
    lock_fd = folder.claim()
    assert lock_fd is not None, "somebody holds this home"
    _launch.clear(folder)
    platform_id = _launch.platform_id(folder)
    os.environ[_marks.MARK] = platform_id
    cache = config.make_private(config.cache_dir())
    options = Options(
        id=platform_id, folder=folder.root, lock_fd=lock_fd, separate=True, foreground=True, cache=cache
    )
    return ClusterSupervisor(options).run()


if __name__ == "__main__":
    sys.exit(main())
