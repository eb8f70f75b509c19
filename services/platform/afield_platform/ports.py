"""Free TCP ports on the loopback interface."""

import errno
import random
import socket
from pathlib import Path

LOWEST = 10_000
_DEFAULT_EPHEMERAL = 32_768


def free_port(taken: frozenset[int] = frozenset()) -> int:
    """Return a port that nobody listens on now, and that the kernel gives to nobody by itself.

    A port of the kernel's own range could be lost to an outgoing connection while the server that owns it restarts:
    even to a client that is trying to reach that very server. Raises OSError when no port is free.
    """
    below = _ephemeral_start()
    for _ in range(1000):
        port = random.randrange(LOWEST, below) if below > LOWEST else 0
        if port in taken:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            return int(probe.getsockname()[1])
    raise OSError(errno.EADDRINUSE, f"found no free port between {LOWEST} and {below} in 1000 tries")


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _ephemeral_start() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return _DEFAULT_EPHEMERAL
