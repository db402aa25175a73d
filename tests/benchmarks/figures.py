"""A measured number, the goal it is held against, and how both are shown."""

import json
import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import torch


@dataclass(frozen=True)
class Figure:
    """One number. ``at_most`` or ``at_least`` is its goal, if it has one."""

    case: str
    name: str
    value: float
    unit: str = "×"
    at_most: float | None = None
    at_least: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Is the goal reached? None if there is none."""
        if self.at_most is None and self.at_least is None:
            return None
        return self.value <= (math.inf if self.at_most is None else self.at_most) and self.value >= (
            -math.inf if self.at_least is None else self.at_least
        )

    @property
    def goal(self) -> str:
        parts = [f"≤ {self.at_most:g}"] if self.at_most is not None else []
        return " ".join(parts + ([f"≥ {self.at_least:g}"] if self.at_least is not None else []))


def in_turns(calls: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 2) -> dict[str, float]:
    """Median seconds of each call, each called once a round, so that what slows the machine slows all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(warm_up + rounds):
        for name, call in calls.items():
            begin = perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number >= warm_up:
                seconds[name].append(perf_counter() - begin)
    return {name: median(values) for name, values in seconds.items()}


def line(subject: str, figure: Figure) -> str:
    """A row of the table."""
    verdict = {True: "met", False: "MISSED", None: ""}[figure.is_met]
    value = f"{figure.value:.3g} {figure.unit}".rstrip()
    return f"{subject:<9} {figure.case:<34} {figure.name:<44} {value:>14}  {figure.goal:<9} {verdict}".rstrip()


def write_json(path: Path, figures: Mapping[str, Iterable[Figure]], skipped: Mapping[str, str], quick: bool) -> None:
    """All figures by subject, what was left out and why, and the machine."""
    document = {
        "quick": quick,
        "machine": machine(),
        "figures": {
            subject: [{**asdict(each), "met": each.is_met} for each in rows] for subject, rows in figures.items()
        },
        "skipped": dict(skipped),
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def machine() -> dict[str, str | int]:
    """What the figures belong to."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((each.partition(":")[2].strip() for each in lines if each.startswith("model name")), platform.machine())
