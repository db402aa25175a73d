"""A file for ``ray up``: what is common to all that rent out, or have, machines."""

from collections.abc import Iterator
from typing import Any

from neuroiou_study.cluster.checks.gce import check_gce
from neuroiou_study.cluster.checks.json_schema import nearest
from neuroiou_study.cluster.checks.nodes import check_commands, check_images, check_token
from neuroiou_study.cluster.checks.problem import Problem, items, mapping, missing, note, wrong
from neuroiou_study.cluster.checks.ray_own import check_with_ray
from neuroiou_study.cluster.checks.run_instances import check_ec2
from neuroiou_study.cluster.checks.sizes import check_sizes

LONG_MINUTES = 60
_KEYS = {
    "aws": {"region": True, "availability_zone": False, "security_group": False, "cloudwatch": False},
    "gcp": {"region": True, "availability_zone": True, "project_id": True, "gcp_credentials": False},
    "local": {"head_ip": True, "worker_ips": True, "external_head_ip": False, "coordinator_address": False},
}
"""Keys of ``provider`` that Ray reads, and whether it must have them."""
_COMMON = ("type", "module", "cache_stopped_nodes", "use_internal_ips", "disable_node_updaters")
PROVIDERS = tuple(_KEYS)


def check_launcher(document: dict[str, Any]) -> Iterator[Problem]:
    """Everything about a file whose ``provider.type`` is one of PROVIDERS."""
    yield from check_with_ray(document)
    yield from _provider(document)
    yield from check_images(document)
    yield from check_commands(document)
    yield from check_token(document)
    kind = mapping(document.get("provider"))["type"]
    if kind == "local":
        yield from _machines_of_its_own(document)
        return
    yield from _money(document)
    yield from check_sizes(document)
    yield from check_ec2(document) if kind == "aws" else check_gce(document)


def _provider(document: dict[str, Any]) -> Iterator[Problem]:
    provider = mapping(document.get("provider"))
    keys = _KEYS[provider["type"]]
    for key in sorted(provider.keys() - keys.keys() - {*_COMMON}):
        yield Problem(f"provider.{key}: unknown key: {nearest(key, [*keys, *_COMMON])}")
    for key, is_required in keys.items():
        if is_required and not provider.get(key):
            yield missing(f"provider.{key}", "this key is required: add it")
    region, zones = str(provider.get("region", "")), str(provider.get("availability_zone") or "")
    for zone in filter(None, zones.split(",")):
        if not zone.strip().startswith(region):
            yield wrong("provider.availability_zone", zone, f"must be a zone of {region}: correct either")
    if "ssh_user" not in mapping(document.get("auth")):
        yield missing("auth.ssh_user", "must be the user of the machine image: add it")


def _machines_of_its_own(document: dict[str, Any]) -> Iterator[Problem]:
    provider = mapping(document.get("provider"))
    every = [provider.get("head_ip"), *items(provider.get("worker_ips"))]
    for address in sorted({str(each) for each in every if every.count(each) > 1}):
        yield wrong("provider.worker_ips", address, "must be a machine of its own: name each address once")


def _money(document: dict[str, Any]) -> Iterator[Problem]:
    where, idle = "idle_timeout_minutes", document.get("idle_timeout_minutes")
    if idle is None:
        yield missing(where, "a worker that is idle must go: say after how many minutes, such as 10")
    elif isinstance(idle, int | float) and idle > LONG_MINUTES:
        yield note(where, idle, f"every worker is paid for so long after its work: {LONG_MINUTES} or less is usual")
    if "max_workers" not in document:
        yield missing("max_workers", "Ray's default is 2, whatever the types say: add the most that you want")
    where, kept = "provider.cache_stopped_nodes", mapping(document.get("provider")).get("cache_stopped_nodes", True)
    if kept is not False:
        yield wrong(where, kept, "must be false: a machine that is stopped, not ended, costs its disk for ever")
