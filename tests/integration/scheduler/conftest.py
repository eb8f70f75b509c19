"""Each test has a server of its own."""

from support.own_server import bus, server
from support.world import registry, world

__all__ = ["bus", "registry", "server", "world"]
