"""Free ports."""

import socket
from pathlib import Path

from afield_platform import ports


def test_a_port_can_be_listened_on() -> None:
    """The port found is free, and not one that the kernel gives to outgoing connections."""
    port = ports.free_port()
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert ports.LOWEST <= port < first_ephemeral
    assert ports.is_free(port)


def test_a_taken_port_is_not_free() -> None:
    """A port that somebody listens on is seen."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not ports.is_free(server.getsockname()[1])


def test_a_port_just_left_is_free() -> None:
    """A port whose last connections linger can be listened on again: a restarted server keeps its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()  # the server's side closes first, and lingers
    assert ports.is_free(port)


def test_ports_already_chosen_are_left_out() -> None:
    """Two listeners of one platform never get the same port."""
    taken = frozenset(range(ports.LOWEST, 30_000))
    assert ports.free_port(taken) not in taken
