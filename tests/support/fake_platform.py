"""`python -m support.fake_platform`: the real supervisor and nats-server, with a stand-in for the services.

The stand-in says that its roles are ready, and does what AFIELD_FAKE asks for: `orphan` leaves a process behind that has
left its session and closed everything, `crash` ends at once, `deaf` ignores SIGTERM, `listen` listens on the gateway's port.
`port=<n>` and `gateway=<n>` make the supervisor try that port first.
"""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import NoReturn


def wishes() -> dict[str, str]:
    """Return what AFIELD_FAKE asks for."""
    parts = (part.partition("=") for part in os.environ.get("AFIELD_FAKE", "").split(",") if part)
    return {name: value for name, _, value in parts}


def services(roles: Sequence[str]) -> NoReturn:
    """Be the services process."""
    wanted = wishes()
    if "crash" in wanted:
        print("the reason of the crash", flush=True)
        sys.exit(7)
    if "listen" in wanted:
        listener = socket.create_server(("127.0.0.1", int(os.environ["AFIELD_GATEWAY_PORT"])))
        listener.set_inheritable(False)
    if "deaf" in wanted:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "orphan" in wanted and "worker" in roles:
        leave_orphan()
    for role in roles:
        line = json.dumps({"ready": role, "address": f"fake-{role}"}) + "\n"
        os.write(int(os.environ["AFIELD_READY_FD"]), line.encode())
    while True:
        time.sleep(60)


def leave_orphan() -> None:
    """Start a daemon in the classic way: it ignores signals, and nothing ties it to us but the mark."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 64)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)
        os._exit(0)
    os.wait()


def supervise() -> int:
    """Be the supervisor."""
    from afield_platform import ports, supervisor
    from afield_platform.ground import Ground
    from afield_platform.options import parse

    real_command, real_port = Ground.command, ports.free_port
    wanted = wishes()
    # Asked for in this order: nats-server, gateway.
    first = [int(wanted[name]) if name in wanted else 0 for name in ("port", "gateway")]

    def command(self: Ground, roles: Sequence[str]) -> list[str]:
        if "nats-server" in roles:
            return real_command(self, roles)
        return [sys.executable, "-m", "support.fake_platform", "--services", *roles]

    def free_port(taken: frozenset[int] = frozenset()) -> int:
        return (first.pop(0) if first else 0) or real_port(taken)

    Ground.command = command  # type: ignore[method-assign]
    ports.free_port = free_port
    supervisor.PATIENCE_PRIVATE = 0.3  # type: ignore[misc]
    return supervisor.Supervisor(parse()).run()


if __name__ == "__main__":
    if sys.argv[1] == "--services":
        services(sys.argv[2:])
    sys.exit(supervise())
