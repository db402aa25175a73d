"""A file for ``ray up``: what is common to all that rent out, or have, machines."""

import re
from collections.abc import Iterator
from typing import Any

from neuroiou_study.cluster.checks.agreement import check_agreement
from neuroiou_study.cluster.checks.gce import check_gce
from neuroiou_study.cluster.checks.json_schema import nearest
from neuroiou_study.cluster.checks.nodes import check_carried, check_commands, check_docker
from neuroiou_study.cluster.checks.problem import Problem, items, mapping, missing, note, wrong
from neuroiou_study.cluster.checks.ray_own import check_filled_in, check_schema
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
_AUTH = {
    "ssh_user": "must be the user of the machine image: add it",
    "ssh_private_key": "must be your key to the machines: add it",
}
PROVIDERS = tuple(_KEYS)


def check_launcher(document: dict[str, Any]) -> Iterator[Problem]:
    """Everything about a file whose ``provider.type`` is one of PROVIDERS."""
    found = [*check_schema(document), *_own_rules(document)]
    yield from found
    if all(each.is_note for each in found):
        # What else Ray finds when it has filled in what is not said.
        yield from check_filled_in(document)


def _own_rules(document: dict[str, Any]) -> Iterator[Problem]:
    yield from _provider(document)
    yield from check_docker(document)
    yield from check_commands(document)
    yield from check_carried(document)
    yield from check_agreement(document)
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
    yield from _access(document)


def _access(document: dict[str, Any]) -> Iterator[Problem]:
    name, auth = document.get("cluster_name"), mapping(document.get("auth"))
    if isinstance(name, str) and not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", name):
        yield wrong("cluster_name", name, "must be lower-case letters, digits and hyphens, 31 at most: rename it")
    for key, rule in _AUTH.items():
        # Google's key is made by Ray.
        if key not in auth and not (key == "ssh_private_key" and mapping(document.get("provider"))["type"] == "gcp"):
            yield missing(f"auth.{key}", rule)


def _machines_of_its_own(document: dict[str, Any]) -> Iterator[Problem]:
    provider = mapping(document.get("provider"))
    workers, most = items(provider.get("worker_ips")), document.get("max_workers")
    every = [provider.get("head_ip"), *workers]
    for address in sorted({str(each) for each in every if every.count(each) > 1}):
        yield wrong("provider.worker_ips", address, "must be a machine of its own: name each address once")
    for key in ("available_node_types", "head_node_type"):
        if key in document:
            yield wrong(
                key, "said", "machines of one's own have no types: remove it, and name them in provider.worker_ips"
            )
    if isinstance(most, int) and most != len(workers):
        yield wrong("max_workers", most, f"must be the {len(workers)} of provider.worker_ips: change it")


def _money(document: dict[str, Any]) -> Iterator[Problem]:
    where, idle = "idle_timeout_minutes", document.get("idle_timeout_minutes")
    if idle is None:
        yield missing(where, "a worker that is idle must go: say after how many minutes, such as 10")
    elif isinstance(idle, int | float) and idle <= 0:
        yield wrong(where, idle, "must be 1 or more: a worker would go before it has begun")
    elif isinstance(idle, int | float) and idle > LONG_MINUTES:
        yield note(where, idle, f"every worker is paid for so long after its work: {LONG_MINUTES} or less is usual")
    most = document.get("max_workers", "missing")
    if most in ("missing", 0):
        yield wrong("max_workers", most, "must be the most workers that you want: Ray's default is 2: set it")
    where, kept = "provider.cache_stopped_nodes", mapping(document.get("provider")).get("cache_stopped_nodes", True)
    if kept is not False:
        yield wrong(where, kept, "must be false: a machine that is stopped, not ended, costs its disk for ever")
