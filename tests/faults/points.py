"""What is killed and when: the plan of a chaos run, drawn from a seed."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from neuroiou_study.stages.pipeline import STAGES
from tests.faults.watch import Span

Process = Literal["driver", "trial", "worker", "raylet"]
Server = Literal["mlflow", "postgres", "s3"]
Target = Process | Server
PROCESSES: tuple[Process, ...] = ("driver", "trial", "worker", "raylet")
SERVERS: tuple[Server, ...] = ("mlflow", "postgres", "s3")
TARGETS: tuple[Target, ...] = (*PROCESSES, *SERVERS)
DOWN_SECONDS = (0.2, 2.0)
START_SECONDS: dict[Target, float] = {"mlflow": 12.0}
"""Until it answers again, being away included; *measured*: 11.5 to 15 s. The others take less than a stage."""


@dataclass(frozen=True)
class Point:
    """Kill ``target`` when the result at ``address`` is complete, or so many seconds after its making has begun."""

    target: Target
    address: str
    after_seconds: float | None = None
    down_seconds: float = 0.0
    """How long a server stays away before it is started again."""
    draw: float = 0.0
    """In [0, 1): which one, where there are several."""

    @property
    def moment(self) -> str:
        """``end of finetune`` or ``0.3 s into finetune``."""
        stage = self.address.partition("/")[0]
        return f"end of {stage}" if self.after_seconds is None else f"{self.after_seconds:.2f} s into {stage}"


@dataclass(frozen=True)
class Case:
    """One study, on S3, PostgreSQL and an MLflow server or in a folder, and what is killed in it, in order."""

    workers: int
    on_servers: bool
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        return "; ".join(f"{point.target} {point.moment}" for point in self.points)


def quick_cases(seed: int, spans: Sequence[Span]) -> list[Case]:
    """A few points that stand for all, without groups of workers and clusters, which are slow to start."""
    draw = random.Random(seed)
    return [
        Case(1, False, (_draw_point(draw, "driver", "finetune", spans, inside=True),)),
        Case(1, False, (_draw_point(draw, "trial", "pretrain", spans, inside=True),)),
        Case(1, True, _in_order([_draw_point(draw, each, "finetune", spans, inside=True) for each in SERVERS], spans)),
    ]


def num_workers(target: Target) -> int:
    """How many workers a trial of the study has in which ``target`` is killed."""
    return 2 if target == "worker" else 1


def cases_of(target: Target, seed: int, spans: Sequence[Span]) -> Iterator[Case]:
    """``target`` killed at the end of every stage and inside every stage; ``spans`` are an undisturbed study's.

    One study has all the kills that come at the end of a stage, another all inside: it goes on after each. Where
    ``target`` needs long to start again, there are more studies, so that it is there when it is killed.
    """
    draw = random.Random(f"{seed} {target}")
    for inside in (False, True):
        points = [_draw_point(draw, target, stage.name, spans, inside=inside) for stage in STAGES]
        on_servers = target in SERVERS or (target in ("driver", "trial") and inside)
        for together in _apart(_in_order(points, spans), spans, START_SECONDS.get(target, 0.0)):
            yield Case(num_workers(target), on_servers, together)


def _apart(points: Sequence[Point], spans: Sequence[Span], seconds: float) -> list[tuple[Point, ...]]:
    """``points``, which come in order, in as few studies as have them so many ``seconds`` apart."""
    studies: list[list[Point]] = []
    for point in points:
        ready = (each for each in studies if _time(point, spans) - _time(each[-1], spans) >= seconds)
        if (study := next(ready, None)) is None:
            studies.append(study := [])
        study.append(point)
    return [tuple(study) for study in studies]


def _in_order(points: Sequence[Point], spans: Sequence[Span]) -> tuple[Point, ...]:
    """``points`` in the order in which a study comes to them."""
    return tuple(sorted(points, key=lambda point: _time(point, spans)))


def _time(point: Point, spans: Sequence[Span]) -> float:
    """When an undisturbed study comes to ``point``, in seconds."""
    begin, end = next((span.begin, span.end) for span in spans if span.address == point.address)
    return end if point.after_seconds is None else begin + point.after_seconds


def _draw_point(draw: random.Random, target: Target, stage: str, spans: Sequence[Span], *, inside: bool) -> Point:
    span = draw.choice([span for span in spans if span.stage == stage])
    after = draw.uniform(0.0, 0.8) * span.seconds if inside else None
    return Point(target, span.address, after, draw.uniform(*DOWN_SECONDS), draw.random())
