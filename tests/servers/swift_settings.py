"""The files that Swift wants: a configuration for each of its four servers, and where the one disk is."""

import getpass
import subprocess
import sys
from pathlib import Path

from tests.servers.process import LOOPBACK

STORAGE = {"account": "swift.account.server", "container": "swift.container.server", "object": "swift.obj.server"}
MODULES = {**STORAGE, "proxy": "swift.proxy.server"}
REGION = "us-east-1"
USER = "tests:user"
_PIPELINE = ["catch_errors", "gatekeeper", "listing_formats", "bulk", "one_at_a_time", "s3api", "tempauth", "slo"]
_SWIFT = """[swift-hash]
swift_hash_path_prefix = tests
swift_hash_path_suffix = tests
[storage-policy:0]
name = only
default = yes
"""
_RINGS = """
import sys
from swift.common.ring import RingBuilder
for kind, port in zip(sys.argv[2::2], sys.argv[3::2]):
    ring = RingBuilder(part_power=2, replicas=1, min_part_hours=0)
    ring.add_dev(dict(region=1, zone=1, ip="127.0.0.1", port=int(port), device="disk", weight=1))
    ring.rebalance()
    ring.get_ring().save(f"{sys.argv[1]}/{kind}.ring.gz")
"""


def write_settings(folder: Path, ports: dict[str, int], secret: str, address: str) -> None:
    """Write everything for servers on ``ports`` that keep their data in ``folder`` and know ``USER`` by ``secret``.

    The proxy listens at ``address``, the others at the loopback address.
    """
    (folder / "disks" / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text(_SWIFT)
    for kind in STORAGE:
        sections = {"pipeline:main": {"pipeline": f"{kind}-server"}, f"app:{kind}-server": {"use": f"egg:swift#{kind}"}}
        _write(folder, kind, ports, sections)
    _write(folder, "proxy", ports, _proxy(secret), address)
    _write_rings(folder, ports)


def _proxy(secret: str) -> dict[str, dict[str, str]]:
    filters = {f"filter:{name}": {"use": f"egg:swift#{name}"} for name in _PIPELINE}
    filters["filter:one_at_a_time"] = {"paste.filter_factory": "tests.servers.one_at_a_time:filter_factory"}
    filters["filter:s3api"]["location"] = REGION
    filters["filter:tempauth"][f"user_{USER.replace(':', '_')}"] = f"{secret} .admin"
    app = {"use": "egg:swift#proxy", "account_autocreate": "true"}
    return {"pipeline:main": {"pipeline": " ".join([*_PIPELINE, "proxy-server"])}, "app:proxy-server": app, **filters}


def _write(
    folder: Path, kind: str, ports: dict[str, int], sections: dict[str, dict[str, str]], address: str = LOOPBACK
) -> None:
    default = {
        "bind_ip": address,
        "bind_port": str(ports[kind]),
        "user": getpass.getuser(),
        "swift_dir": str(folder),
        "devices": str(folder / "disks"),
        "mount_check": "false",
        "workers": "0",  # in the process itself
        "log_level": "WARNING",
        "fallocate_reserve": "0",
    }
    lines = []
    for name, options in {"DEFAULT": default, **sections}.items():
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in options.items())]
    (folder / f"{kind}.conf").write_text("\n".join(lines) + "\n")


def _write_rings(folder: Path, ports: dict[str, int]) -> None:
    # In a process of its own: importing Swift changes logging and threading of the process.
    arguments = [argument for kind in STORAGE for argument in (kind, str(ports[kind]))]
    subprocess.run([sys.executable, "-c", _RINGS, str(folder), *arguments], check=True, capture_output=True)
