"""What must be there before a process of the platform starts: folders, secrets, ports, configuration, environment."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from afield import _marks
from afield_platform import nats_config, ports
from afield_platform.binary import find_nats_server
from afield_platform.files import read_json, write_json
from afield_platform.options import Options
from afield_platform.paths import Paths
from afield_platform.roles import SecretName, make_secrets

_LISTENERS: Final = ("nats-server", "gateway")


class Ground:
    """The prepared ground of one platform. Raises OSError when something cannot be had."""

    def __init__(self, options: Options, paths: Paths) -> None:
        self._options = options
        self._paths = paths
        self._nats_program = find_nats_server()
        # The shared platform keeps its passwords and ports: who holds an address survives a down and up.
        self.secrets: dict[SecretName, str] = make_secrets(read_json(paths.secrets))
        write_json(paths.secrets, self.secrets)
        self.ports = _choose_ports(read_json(paths.ports) or {})
        self._write()

    @property
    def host(self) -> str:
        """The id of this host: all processes of the platform share its blob folder."""
        return f"host-{self._options.id}"

    @property
    def server(self) -> str:
        """The address of nats-server."""
        return f"nats://127.0.0.1:{self.ports['nats-server']}"

    def take_another_port(self, listener: str) -> None:
        """Give `nats-server` or `gateway` another port: somebody else has taken the one it had."""
        self.ports[listener] = ports.free_port(frozenset(self.ports.values()))
        self._write()

    def command(self, roles: Sequence[str]) -> list[str]:
        """Return the command line of the process with these roles."""
        if "nats-server" in roles:
            return [self._nats_program, "-c", str(self._paths.config)]
        # -P: nothing in the working folder may stand in for a module of ours.
        serve = [sys.executable, "-P", "-m", "afield_platform.serve"]
        return [*serve, "--secrets", str(self._paths.secrets), *roles]

    def environment(self) -> dict[str, str]:
        """Return the environment of the processes. It holds no secret: user code inherits it."""
        options, paths = self._options, self._paths
        kept = {name: value for name, value in os.environ.items() if name != "AFIELD_TOKEN"}
        ours = {
            _marks.MARK: options.id,
            "AFIELD_SERVER": self.server,
            "AFIELD_ENVIRONMENT": options.environment,
            "AFIELD_HOST": self.host,
            "AFIELD_BLOB_DIR": str(paths.blobs),
            "AFIELD_CACHE_DIR": str(options.cache or paths.cache),
            "AFIELD_RUN_DIR": str(paths.run),
            "AFIELD_SHARDS": str(options.shards),
            "AFIELD_GATEWAY_PORT": str(self.ports["gateway"]),
            "AFIELD_STORAGE_MIB": str(shutil.disk_usage(paths.store).free // 2**20),
        }
        if options.private:
            ours["AFIELD_DRAIN_S"] = "0.5"  # nobody is left to wait for what still runs
        if options.foreground and os.isatty(2):
            ours["AFIELD_LOG_FORMAT"] = os.environ.get("AFIELD_LOG_FORMAT", "console")
        return {**kept, **ours}

    def _write(self) -> None:
        write_json(self._paths.ports, self.ports)
        config = nats_config.render(
            port=self.ports["nats-server"],
            store=self._paths.store,
            secrets=self.secrets,
            shards=self._options.shards,
            name=f"afield-{self._options.id}",
        )
        write_json(self._paths.config, config)


def _choose_ports(last: Mapping[str, int]) -> dict[str, int]:
    chosen: dict[str, int] = {}
    for name in _LISTENERS:
        port = last.get(name, 0)
        chosen[name] = port if port and ports.is_free(port) else ports.free_port(frozenset(chosen.values()))
    return chosen
