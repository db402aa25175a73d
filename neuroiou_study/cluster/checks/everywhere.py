"""What no file may have at any place: secrets, and doors that are open to the world."""

import ipaddress
import re
from collections.abc import Iterator

from neuroiou_study.cluster.checks.problem import Problem, mapping, walk, wrong
from neuroiou_study.cluster.checks.secret import ASSIGNED, HIDDEN, VALUES, is_elsewhere, names_secret

_NETWORK = re.compile(r"(?<![\w./:])[0-9a-fA-F.:]+/\d{1,3}(?![\w./])")
_NARROWEST = {4: 8, 6: 16}
"""A network of fewer leading bits is most of the world; *assumed*: private ones have 8 (10.0.0.0/8) or more."""
_REMEDY = "give it by an instance profile, a service account, a secret of Kubernetes, or a file of `file_mounts`"


def check_everywhere(document: object) -> Iterator[Problem]:
    """Secrets and open networks in ``document``."""
    for where, value in walk(document):
        if isinstance(value, str):
            yield from _open(where, value)
            yield from _secret_value(where, value)
        yield from _secret_names(where, value)


def _open(where: str, text: str) -> Iterator[Problem]:
    for network in _NETWORK.findall(text):
        try:
            parsed = ipaddress.ip_network(network, strict=False)
        except ValueError:
            continue
        if parsed.prefixlen < _NARROWEST[parsed.version]:
            yield wrong(where, network, "must not let the world in: name your own network, or reach the head by ssh")


def _secret_value(where: str, text: str) -> Iterator[Problem]:
    for kind, pattern in VALUES.items():
        if pattern.search(text):
            yield wrong(where, HIDDEN, f"must not be {kind}: {_REMEDY}; and make a new one, this one has been seen")


def _secret_names(where: str, value: object) -> Iterator[Problem]:
    pairs = dict(ASSIGNED.findall(value)) if isinstance(value, str) else mapping(value)
    # A variable of Kubernetes, a tag of AWS.
    for name, content in (("name", "value"), ("Key", "Value")):
        if isinstance(pairs.get(name), str) and content in pairs:
            pairs = {pairs[name]: pairs[content]}
    for name, content in pairs.items():
        if names_secret(name) and isinstance(content, str) and not is_elsewhere(content):
            yield wrong(f"{where}.{name}" if where else name, HIDDEN, f"must not be a secret: {_REMEDY}")
