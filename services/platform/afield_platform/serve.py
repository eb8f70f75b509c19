"""`python -m afield_platform.serve ROLE...`: several services in one process, each with a bus and a NATS user of its own.

The only place that imports more than one service. With `--orders-fd` the process is started before it is known where it
belongs: it imports everything, then waits for its command line and environment.
"""

import argparse
import gc
import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from afield_platform.early import READY_FD
from afield_platform.files import read_json
from afield_platform.linux import end_with_parent
from afield_platform.roles import Service as Role

if TYPE_CHECKING:
    from afield_common.service import Service
    from afield_common.settings import Settings


def load_service(role: str) -> type["Service[Any]"]:
    """Import a service; return its class."""
    found: type[Service[Any]] = getattr(
        importlib.import_module(f"afield_{role}.service"), f"{role.capitalize()}Service"
    )
    return found


def load_settings(role: str) -> type["Settings"]:
    """Import the settings of a service; return their class."""
    found: type[Settings] = getattr(
        importlib.import_module(f"afield_{role}.settings"), f"{role.capitalize()}Settings"
    )
    return found


def secret_settings(role: str, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of a role that are secret: they come from a file, since user code sees the environment."""
    settings = {"token": f"{role}:{secrets[role]}"}
    if role == "worker":
        settings["guest_token"] = f"guest:{secrets['guest']}"
    if role == "gateway":
        settings["gateway_token"] = secrets["http"]
    return settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the roles named on the command line; return the exit status."""
    args = _arguments(argv)
    if args.orders_fd is not None:
        os.set_inheritable(args.orders_fd, False)
        end_with_parent()
        os.chdir("/")
    if READY_FD in os.environ:
        os.set_inheritable(int(os.environ[READY_FD]), False)  # containers have no business with it
    gc.disable()  # imports make no garbage, and looking for it takes a tenth of their time
    if "worker" in args.roles:
        _spawn_template()
    settings = {role: load_settings(role) for role in args.roles}
    load_service(args.roles[0])  # the others when it runs
    if args.orders_fd is not None:
        orders = _orders(args.orders_fd)
        if orders is None:
            return 0  # the supervisor has gone, and whatever there was to say it has said
        os.environ.update(orders["environment"])
        args = _arguments(orders["argv"])
    return _run(settings, args.secrets)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m afield_platform.serve", description=__doc__)
    parser.add_argument("roles", nargs="+", choices=get_args(Role), metavar="ROLE")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--secrets", type=Path, help="JSON file: a secret for each role")
    source.add_argument("--orders-fd", type=int, help="where the rest of the command line will be told")
    args = parser.parse_args(argv)
    if args.secrets is not None and not args.secrets.is_file():
        parser.error(f"there is no file {args.secrets}")
    return args


def _spawn_template() -> None:
    from afield_worker.runners.spawn import spawn_ahead

    try:
        spawn_ahead()
    except OSError as error:  # the worker tries again, and again
        print(f"could not start a template process ahead: {error}", file=sys.stderr)


def _orders(fd: int) -> Any:
    """Wait for what the supervisor has to say; None when it has gone without a word."""
    with open(fd, "rb") as pipe:
        said = pipe.read()
    return json.loads(said) if said else None


def _run(settings: Mapping[str, type["Settings"]], secrets_file: Path) -> int:
    import anyio

    from afield_common import log
    from afield_common.main import uvloop_is_here
    from afield_common.settings import BAD_SETTINGS, Settings, describe
    from afield_platform.hosting import FirstStartError, Planned, root_cause, serve

    secrets = read_json(secrets_file)
    try:
        planned = [
            Planned(partial(load_service, role), make(**secret_settings(role, secrets)))
            for role, make in settings.items()
        ]
        common = Settings()
    except BAD_SETTINGS as error:
        print(describe(error), file=sys.stderr)
        return 2
    log.configure(common.log_level, common.log_format)
    failed: list[BaseException] = []
    try:
        anyio.run(serve, planned, backend_options={"use_uvloop": uvloop_is_here()})
    except* FirstStartError as group:
        failed.append(group)
    for each in failed:
        print(root_cause(each), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
