"""The plan of a chaos run: everything is killed at the end of every stage and inside every stage."""

from itertools import pairwise, product

from neuroiou_study.stages.pipeline import STAGES
from tests.faults.points import SERVERS, TARGETS, Case, cases_of, quick_cases
from tests.faults.watch import Span

# Two trials of each arm, as the study goes.
ORDER = "pretrain collect_pairs fit_surrogate finetune evaluate finetune evaluate fit_surrogate finetune evaluate"
SPANS = [Span(f"{stage}/{number:016x}", 5 * number, 5 * number + 2.5) for number, stage in enumerate(ORDER.split())]


def plan(seed: int) -> list[Case]:
    return [case for target in TARGETS for case in cases_of(target, seed, SPANS)]


def test_every_target_is_killed_at_the_end_of_every_stage_and_inside_it() -> None:
    planned = [point for case in plan(0) for point in case.points]
    found = {(point.target, point.address.partition("/")[0], point.after_seconds is None) for point in planned}
    assert found == set(product(TARGETS, (stage.name for stage in STAGES), (True, False)))
    assert len(planned) == len(found) == 70


def test_a_study_has_kills_of_one_kind_and_workers_a_group() -> None:
    for case in plan(0):
        targets = {point.target for point in case.points}
        assert len(targets) == 1
        assert len(case.points) == len(STAGES) or targets == {"mlflow"}
        assert case.workers == (2 if targets == {"worker"} else 1)
        assert case.on_servers or not targets & set(SERVERS)


def test_the_kills_of_a_study_come_in_its_order() -> None:
    order = [span.address for span in SPANS]
    for case in plan(3):
        positions = [order.index(point.address) for point in case.points]
        assert positions == sorted(positions)


def test_mlflow_is_there_again_when_it_is_killed_again() -> None:
    begins = {span.address: span.begin for span in SPANS}
    studies = [case.points for case in cases_of("mlflow", 0, SPANS)]
    moments = [[begins[point.address] + (point.after_seconds or 2.5) for point in points] for points in studies]
    assert all(later - former >= 12 for each in moments for former, later in pairwise(each))
    assert len(studies) < 2 * len(STAGES)  # or nothing is packed


def test_a_point_inside_a_stage_comes_before_its_end() -> None:
    seconds = {span.address: span.seconds for span in SPANS}
    for case in plan(3):
        assert all(point.after_seconds is None or point.after_seconds < seconds[point.address] for point in case.points)


def test_the_seed_alone_draws_the_plan() -> None:
    assert plan(1) == plan(1) != plan(2)
    assert quick_cases(1, SPANS) == quick_cases(1, SPANS) != quick_cases(2, SPANS)
