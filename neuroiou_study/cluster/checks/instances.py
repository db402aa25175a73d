"""What well-known sizes of machines have; *cited*: the providers' own lists of their instances."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """A machine."""

    cpus: int
    gpus: int


def known_size(instance: str) -> Size | None:
    """What ``instance`` has, or None if it is not known here, or, as Google's N1, has GPUs attached by choice."""
    if instance in _WITH_GPUS:
        return _WITH_GPUS[instance]
    if amazon := _AMAZON_WITHOUT.fullmatch(instance):
        return Size(4 * int(amazon["times"] or 1), 0)
    if google := _GOOGLE_WITHOUT.fullmatch(instance):
        return Size(int(google["cpus"]), 0)
    return None


def _sized(text: str) -> dict[str, Size]:
    """``name cpus gpus`` a line."""
    rows = [line.split() for line in text.strip().splitlines()]
    return {name: Size(int(cpus), int(gpus)) for name, cpus, gpus in rows}


_AMAZON_WITHOUT = re.compile(r"[cmr][5-8][a-z]*\.(?P<times>\d*)xlarge")
_GOOGLE_WITHOUT = re.compile(r"(?:n2d?|e2|c2d?|c3d?|c4)-(?:standard|highmem|highcpu)-(?P<cpus>\d+)")
_WITH_GPUS = _sized("""
g4dn.xlarge 4 1
g4dn.2xlarge 8 1
g4dn.4xlarge 16 1
g4dn.8xlarge 32 1
g4dn.16xlarge 64 1
g4dn.12xlarge 48 4
g5.xlarge 4 1
g5.2xlarge 8 1
g5.4xlarge 16 1
g5.8xlarge 32 1
g5.16xlarge 64 1
g5.12xlarge 48 4
g5.24xlarge 96 4
g5.48xlarge 192 8
g6.xlarge 4 1
g6.2xlarge 8 1
g6.4xlarge 16 1
g6.8xlarge 32 1
g6.16xlarge 64 1
g6.12xlarge 48 4
g6.24xlarge 96 4
g6.48xlarge 192 8
g6e.xlarge 4 1
g6e.2xlarge 8 1
g6e.4xlarge 16 1
g6e.8xlarge 32 1
g6e.16xlarge 64 1
g6e.12xlarge 48 4
g6e.24xlarge 96 4
g6e.48xlarge 192 8
p3.2xlarge 8 1
p3.8xlarge 32 4
p3.16xlarge 64 8
p4d.24xlarge 96 8
p4de.24xlarge 96 8
p5.4xlarge 16 1
p5.48xlarge 192 8
p5e.48xlarge 192 8
p5en.48xlarge 192 8
g2-standard-4 4 1
g2-standard-8 8 1
g2-standard-12 12 1
g2-standard-16 16 1
g2-standard-24 24 2
g2-standard-32 32 1
g2-standard-48 48 4
g2-standard-96 96 8
a2-highgpu-1g 12 1
a2-highgpu-2g 24 2
a2-highgpu-4g 48 4
a2-highgpu-8g 96 8
a2-megagpu-16g 96 16
a2-ultragpu-1g 12 1
a2-ultragpu-2g 24 2
a2-ultragpu-4g 48 4
a2-ultragpu-8g 96 8
a3-highgpu-1g 26 1
a3-highgpu-2g 52 2
a3-highgpu-4g 104 4
a3-highgpu-8g 208 8
a3-megagpu-8g 208 8
a3-ultragpu-8g 224 8
""")
