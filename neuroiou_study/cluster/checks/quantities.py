"""Amounts as Kubernetes writes them: ``500m`` processors, ``28Gi`` of memory."""

import re

PATTERN = r"^\d+(\.\d+)?(m|[kMGTPE]|[KMGTPE]i)?$"
_UNITS = {"": 1.0, "m": 1e-3, **{letter: 1e3**power for power, letter in enumerate("kMGTPE", 1)}}
_UNITS |= {f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", 1)}
_PARTS = re.compile(r"(\d+(?:\.\d+)?)([a-zA-Z]{0,2})")


def amount(said: object) -> float | None:
    """What ``said`` comes to, in units (processors, bytes, GPUs); None if it is no amount."""
    found = _PARTS.fullmatch(str(said)) if isinstance(said, str | int) and not isinstance(said, bool) else None
    return float(found[1]) * _UNITS[found[2]] if found and found[2] in _UNITS else None
