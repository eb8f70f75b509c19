"""`python -m afield_platform.deploy [--shards N]`: print the nats-server configuration for a server of its own.

The same permissions as on one host, for a server that the services reach over the network. Passwords come from the
environment (`AFIELD_PASSWORD_CLIENT=…`), and every message is on disk before it is acknowledged.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from afield_platform.nats_config import render
from afield_platform.roles import Role, SecretName, make_secrets

SHARDS: Final = 4
"""Input streams that the roles may use, unless it is told otherwise."""

_MOST: Final = 64
"""As many as a platform can have."""

_HEADER: Final = """\
# nats-server for afield, one node. Made by `python -m afield_platform.deploy`; change it as you need.
#
# Set a password for each role in the environment of nats-server: AFIELD_PASSWORD_REGISTRY, ..._SCHEDULER, ..._WORKER,
# ..._GATEWAY, ..._CLIENT, ..._GUEST, ..._OPERATOR. A password should begin with a letter. The services get theirs as
# AFIELD_TOKEN=<role>:<password>, and AFIELD_SHARDS=@SHARDS@.
#
# sync_interval "always": an acknowledged message survives a power cut. It costs about 0.3 ms a publish where a flush
# takes 0.2 ms, and bounds one stream to some 4,000 single publishes a second; maps travel in batches, which stay fast.
#
# It listens on this host only. To let other hosts in, change `listen` to an address of a network that you trust, such as
# a VPN: the traffic is not encrypted.
#
# Give it a long time to stop (TimeoutStopSec=300): it takes 10 ms for each consumer that it has.
"""


def production_config(shards: int = SHARDS) -> str:
    """Return the configuration as text; its roles may use this many input streams."""
    names = cast("list[SecretName]", list(make_secrets()))
    config = render(
        port=4222,
        store=Path("/var/lib/afield/jetstream"),
        secrets={name: f"@{_variable(name)}@" for name in names},
        shards=shards,
        name="afield",
        sync="always",
    )
    config["listen"] = "127.0.0.1:4222"
    config["http"] = "127.0.0.1:8222"
    # In this format, a word without quotes that begins with $ is a variable of the environment.
    text = json.dumps(config, indent=2)
    for name in names:
        text = text.replace(f'"@{_variable(name)}@"', f"${_variable(name)}")
    return _HEADER.replace("@SHARDS@", str(shards)) + text + "\n"


def _variable(name: Role | SecretName) -> str:
    return f"AFIELD_PASSWORD_{name.upper()}"


def main(argv: Sequence[str] | None = None) -> None:
    """Print it."""
    parser = argparse.ArgumentParser(prog="python -m afield_platform.deploy", description=__doc__)
    parser.add_argument(
        "--shards",
        type=_shards,
        default=SHARDS,
        help="input streams that the roles may use (4): AFIELD_SHARDS",
    )
    print(production_config(parser.parse_args(argv).shards), end="")


def _shards(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"expected 1 to {_MOST}, got {text!r}")
    return int(text)


if __name__ == "__main__":
    main()
