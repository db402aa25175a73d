"""The ports that `docs/cluster.md` says are open, and those that are."""

import re
from dataclasses import dataclass

from tests.cluster.hosts import Host
from tests.cluster.listening import Listening
from tests.conftest import REPOSITORY

_ROW = re.compile(r"^\| (\d+)(?:–(\d+))? \| (.*?) \|", re.MULTILINE)


@dataclass(frozen=True)
class Documented:
    """A row of the table: ports, and the processes that listen there, of which it has the beginnings of the names."""

    ports: range
    processes: tuple[str, ...]

    def explains(self, found: Listening) -> bool:
        return found.port in self.ports and found.process.startswith(self.processes)


def documented() -> list[Documented]:
    """The rows of the table in the runbook."""
    section = (REPOSITORY / "docs" / "cluster.md").read_text().partition("## Ports")[2]
    rows = [
        Documented(range(int(first), int(last or first) + 1), tuple(re.findall(r"`([^`]+)`", what)))
        for first, last, what in _ROW.findall(section)
    ]
    assert len(rows) > 10 and all(row.processes for row in rows)
    return rows


def unexplained(host: Host) -> list[Listening]:
    """What others than ``host`` itself can reach on it and no row explains."""
    rows = documented()
    reachable = [each for each in host.listening() if each.address not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")]
    return [each for each in reachable if not any(row.explains(each) for row in rows)]
