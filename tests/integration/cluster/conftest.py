"""A cluster of three servers for the tests of a module."""

from collections.abc import AsyncIterator, Iterator

import pytest

from afield._bus import Bus, BusAddress
from support.cluster import NatsCluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    """The servers; a test that kills one starts it again."""
    with NatsCluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
async def bus(cluster: NatsCluster) -> AsyncIterator[Bus]:
    """A connection to any of them."""
    async with Bus.open(BusAddress(cluster.url), name="test") as bus:
        yield bus
