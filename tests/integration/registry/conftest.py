"""Each test has a server of its own."""

from support.own_server import bus, server

__all__ = ["bus", "server"]
