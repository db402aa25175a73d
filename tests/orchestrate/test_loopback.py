"""What we start listens on the machine's loopback address, and nowhere else."""

import ipaddress
import json
import subprocess
import sys

LISTENERS = """
import json, os, psutil, ray
from neuroiou_study.orchestrate.cluster import connected
with connected(None):
    ray.get(ray.remote(lambda: os.getpid()).remote())  # workers listen too
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    kinds = [each for process in family for each in process.net_connections("inet") if each.status == "LISTEN"]
    print(json.dumps([each.laddr.ip for each in kinds]))
"""


def test_a_local_cluster_cannot_be_reached_from_another_machine() -> None:
    done = subprocess.run([sys.executable, "-c", LISTENERS], stdout=subprocess.PIPE, text=True, check=True)
    addresses = [ipaddress.ip_address(each) for each in json.loads(done.stdout.splitlines()[-1])]
    assert len(addresses) > 5
    outside = [each for each in addresses if not (getattr(each, "ipv4_mapped", None) or each).is_loopback]
    assert outside == []
