"""What no file may have at any place: secrets, and doors that are open to the world."""

import ipaddress
import re
from collections.abc import Iterator

from neuroiou_study.cluster.checks.problem import Problem, mapping, walk, wrong

HIDDEN = "(not shown)"
_NETWORK = re.compile(r"(?<![\w./:])[0-9a-fA-F.:]+/\d{1,3}(?![\w./])")
_NARROWEST = {4: 8, 6: 16}
"""A network of fewer leading bits is most of the world; *assumed*: private ones have 8 (10.0.0.0/8) or more."""
_VALUES = {
    "an AWS access key": re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a Google API key": re.compile(r"\bAIza[\w-]{35}"),
    "a GitHub token": re.compile(r"\b(gh[pousr]_|github_pat_)\w{20,}"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    "a password": re.compile(r"://[^/\s:@]+:[^/\s@]+@"),
}
_WORDS = r"(?:secret|secret_?key|password|passwd|token|credentials?|api_?key|access_?key(?:_?id)?|private_?key)"
_NAME = re.compile(rf"(?:^|[_.\-/]){_WORDS}$")
_ASSIGNED = re.compile(r"\b([A-Z][A-Z0-9_]*)=([^\s;&|]+)")
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
    for kind, pattern in _VALUES.items():
        if pattern.search(text):
            yield wrong(where, HIDDEN, f"must not be {kind}: {_REMEDY}; and make a new one, this one has been seen")


def _secret_names(where: str, value: object) -> Iterator[Problem]:
    pairs = dict(_ASSIGNED.findall(value)) if isinstance(value, str) else mapping(value)
    # A variable of Kubernetes, a tag of AWS.
    for name, content in (("name", "value"), ("Key", "Value")):
        if isinstance(pairs.get(name), str) and content in pairs:
            pairs = {pairs[name]: pairs[content]}
    for name, content in pairs.items():
        if _names_secret(name) and isinstance(content, str) and not _is_elsewhere(content):
            yield wrong(f"{where}.{name}" if where else name, HIDDEN, f"must not be a secret: {_REMEDY}")


def _names_secret(name: str) -> bool:
    return bool(_NAME.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())) and name != "secret"


def _is_elsewhere(content: str) -> bool:
    """Is it empty, a path, or a variable?"""
    return content == "" or content[0] in "~/.$" or content.startswith("projects/")
