"""Networks of hosts, for the tests of clusters."""

from collections.abc import Iterator

import pytest

from tests.cluster.hosts import Network, need_hosts, network
from tests.servers.fixtures import need

__all__ = ["rack"]


@pytest.fixture
def rack() -> Iterator[Network]:
    """A network without hosts."""
    need(need_hosts())
    with network("10.77.1") as made:
        yield made
