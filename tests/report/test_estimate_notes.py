"""What an estimate says of itself: on what it was measured, what it takes for granted, how old the prices are."""

import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from neuroiou_study.report.estimate_tables import amount, choice, measured_rows, measured_table, offers_table
from neuroiou_study.report.measured import Measured, measured
from neuroiou_study.report.open_work import Work
from neuroiou_study.report.plan import Plan, make_estimate
from neuroiou_study.spec.prices import PricesSpec
from neuroiou_study.stages.calibrate import Calibration, StageSeconds
from neuroiou_study.stages.records import StudyRecords, study_folder
from tests.report.ledgers import MadeUp, made_up, price_list

TODAY = datetime.date(2026, 3, 1)
GPU: dict[str, Any] = {"name": "gpu", "gpus": 1, "gpu": "L4"}
ON_GPU: dict[str, Any] = {"resources": {"workers": 1, "gpus_per_worker": 1, "trials_at_once": 1}}


def plan_of(made: MadeUp, prices: PricesSpec | None = None, **speedups: float) -> Plan:
    return make_estimate(made.study, made.store, prices or price_list(), speedups, TODAY)


def said(made: MadeUp, prices: PricesSpec | None = None, **speedups: float) -> str:
    return "\n".join(plan_of(made, prices, **speedups).notes)


def took(made: MadeUp, **changes: Any) -> None:
    for stage in ("pretrain", "collect_pairs", "fit_surrogate", "finetune", "evaluate"):
        made.took(stage, 10, workers=1, **changes)


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    made = made_up(tmp_path)
    made.took_as_usual()
    return made


def test_it_says_on_what_it_was_measured(made: MadeUp) -> None:
    assert "Measured of this study: 6 results by 2 workers with 0 GPUs, on cpu of there." in said(made)


def test_seconds_of_a_processor_say_nothing_about_gpus(tmp_path: Path) -> None:
    made = made_up(tmp_path, **ON_GPU)
    took(made)
    rule = "pretrain, collect_pairs, finetune, evaluate: measured without a GPU, and a worker of the study has one"
    assert rule in said(made, price_list(GPU)) and "or guess with --speedup" in said(made, price_list(GPU))
    assert rule in said(made, price_list(GPU), gpu=8.0)


def test_seconds_of_gpus_need_no_such_warning(tmp_path: Path) -> None:
    made = made_up(tmp_path, **ON_GPU)
    took(made, gpu_seconds=10.0, device="NVIDIA L4")
    assert "without a GPU" not in said(made, price_list(GPU)) and "has L4" not in said(made, price_list(GPU))
    assert "5 results by 1 worker with 1 GPU, on NVIDIA L4 of there." in said(made, price_list(GPU))


def test_another_gpu_than_the_measured_one_is_named(tmp_path: Path) -> None:
    made = made_up(tmp_path, **ON_GPU)
    took(made, gpu_seconds=10.0, device="NVIDIA H100 80GB HBM3")
    line = "gpu has L4, and NVIDIA H100 80GB HBM3 was measured: taken to be as fast. Give --speedup gpu=FACTOR."
    assert line in said(made, price_list(GPU))
    told = said(made, price_list(GPU), gpu=0.2)
    assert line not in told and "gpu: taken to be 0.2 times as fast as measured (--speedup)." in told


def test_without_a_factor_all_machines_are_equally_fast(made: MadeUp) -> None:
    line = "All machines are taken to be as fast as the measured one"
    assert line in said(made) and line not in said(made, big=2.0)


def test_old_prices_are_noted(made: MadeUp) -> None:
    assert "look them up again" not in said(made, price_list(date="2025-12-01"))  # 90 days
    line = "Prices are of 2025-11-30, 91 days ago: look them up again, and set date."
    assert line in said(made, price_list(date="2025-11-30"))
    assert "Prices: mine alone." in said(made, price_list(note="mine alone"))


def test_what_was_not_measured_itself_is_named(tmp_path: Path) -> None:
    made = made_up(tmp_path)
    took(made)
    assert "ce: its finetune was not measured: taken as that of other arms." in said(made)
    made.took("finetune", 10, arm="ce")
    assert "not measured" not in said(made)


def test_one_measurement_has_no_spread(made: MadeUp) -> None:
    stages = "pretrain, collect_pairs, fit_surrogate, finetune, evaluate"
    assert f"{stages}: measured once in an arm, which has no spread" in said(made)
    for arm in ("neuroiou", "ce"):
        made.took("finetune", 60, arm=arm, values={"finetune.lr": 1e-3})
    assert "pretrain, collect_pairs, fit_surrogate, evaluate: measured once" in said(made)


def test_machines_that_are_left_out_and_limits_are_named(tmp_path: Path) -> None:
    made = made_up(tmp_path, budget={"max_trials": 2, "max_hours": 3, "max_gpu_hours": 4})
    made.took_as_usual()
    told = said(made, price_list({}, {"name": "small", "cpus": 1}))
    assert "fits on" not in told
    assert "budget.max_hours is 3: the study may end before" in told and "budget.max_gpu_hours is 4" in told
    wide = made_up(tmp_path, resources={"cpus_per_worker": 2})
    assert "No worker of the study fits on small." in said(wide, price_list({}, {"name": "small", "cpus": 1}))


def test_the_share_of_trials_that_are_stopped_is_named(made: MadeUp) -> None:
    assert "fine-tuning epochs" not in said(made)
    made.ended(made.begun("ce", 0, finetune__lr=1e-3), "pruned", epochs=1)
    made.ended(made.begun("neuroiou", 0, finetune__lr=1e-3))
    assert "Of their fine-tuning epochs, trials so far ran: ce 33%; those to come" in said(made)


def calibrated(made: MadeUp, load: float = 0.1, **seconds: float) -> None:
    stages = [StageSeconds(stage=stage, arm="neuroiou", seconds=each, epochs=None) for stage, each in seconds.items()]
    document = Calibration(host="laptop", device="cpu", load=load, begun="2026-01-01T00:00:00+00:00", stages=stages)
    made.store.write_json(f"{study_folder(made.study)}/calibration.json", document.model_dump(mode="json"))


def test_a_calibration_stands_in_for_what_was_not_run(made: MadeUp, tmp_path: Path) -> None:
    before = plan_of(made).offers
    calibrated(made, pretrain=1.0, collect_pairs=1.0, fit_surrogate=1.0, finetune=1.0, evaluate=1.0)
    assert plan_of(made).offers == before and "calibration" not in said(made)
    fresh = made_up(tmp_path / "fresh", resources={"workers": 1, "trials_at_once": 1})
    calibrated(fresh, pretrain=1.0, collect_pairs=2.0, fit_surrogate=3.0, finetune=4.0, evaluate=5.0)
    (offer,) = plan_of(fresh).offers
    assert offer.hours.likely * 3600 == pytest.approx(1 + 2 + 3 + 4 * (4 + 5) + 2 * 5)
    assert "Measured in a calibration: 5 results by 1 worker with 0 GPUs, on cpu of laptop." in said(fresh)
    fresh.took("pretrain", 100, workers=1)
    assert "Measured of this study: 1 result by 1 worker with 0 GPUs, on cpu of there." in said(fresh)


def test_a_calibration_on_a_busy_machine_is_not_believed(tmp_path: Path) -> None:
    made, every = made_up(tmp_path), ("pretrain", "collect_pairs", "fit_surrogate", "finetune", "evaluate")
    calibrated(made, **dict.fromkeys(every, 1.0))
    assert "busy" not in said(made)
    calibrated(made, load=2.5, **dict.fromkeys(every, 1.0))
    assert "laptop was busy before the calibration (load 2.5 a core): its seconds may be too many" in said(made)


def test_a_screening_takes_what_one_took_or_fits_one_after_the_other(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "search": {"fit_surrogate.depth": {"int": [1, 9]}},
        "screen": {"surrogates": 4},
        "seeds": [0, 1],
    }
    made = made_up(tmp_path, **changes)
    made.took("fit_surrogate", 30)
    known = measured(made.study, made.store, [])
    assert known.seconds(Work("screen", "neuroiou")).likely == 30
    made.took("screen", 40, address="screen/neuroiou", workers=1)
    known = measured(made.study, made.store, [])
    assert known.seconds(Work("screen", "neuroiou")).likely == 40 / 8  # of four surrogates on two seeds
    assert known.has_own("screen", "neuroiou")


def test_what_was_never_measured_has_no_seconds() -> None:
    with pytest.raises(KeyError):
        Measured([]).seconds(Work("pretrain", "ce"))


def test_a_result_belongs_to_all_who_share_it(made: MadeUp) -> None:
    known = measured(made.study, made.store, list(StudyRecords(made.study, made.store)))
    assert known.has_own("pretrain", "ce") and known.has_own("finetune", "ce")
    assert [sample.seconds for sample in known.of("finetune", "ce")] == [80]
    assert known.of("evaluate", "ce") == known.of("evaluate", "neuroiou")


def test_a_trial_that_runs_tells_whose_its_results_are(made: MadeUp) -> None:
    made.begun("ce", 1, finetune__lr=2e-3)
    made.took("finetune", 70, arm="ce", values={"finetune.lr": 2e-3})
    known = measured(made.study, made.store, [])
    assert sorted(sample.seconds for sample in known.of("finetune", "ce")) == [80, 140]


def shown(*tables: Any) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        for table in tables:
            console.print(table)
    return capture.get()


def test_the_tables_fit_a_terminal(made: MadeUp) -> None:
    prices = price_list({}, {"name": "machine-16chars", "provider": "somebody", "cpus": 2, "spot": None})
    plan = plan_of(made, prices)
    text = shown(measured_table(plan.measured), offers_table(plan.offers, prices))
    assert all(len(line) <= 80 for line in text.splitlines()) and "…" not in text
    (finetune,) = [line for line in text.splitlines() if "finetune" in line and " ce " in line]
    assert [cell.strip() for cell in finetune.split("│")[1:-1]] == ["finetune", "ce", "2", "1", "80.0", "80.0 – 80.0"]
    (big,) = [line for line in text.splitlines() if "│ big" in line]
    assert [cell.strip() for cell in big.split("│")[1:-1]] == ["big", "1", "2", "0.07", "0.07", "0.12", "0.24"]
    (own,) = [line for line in text.splitlines() if "machine-16chars" in line]
    assert [cell.strip() for cell in own.split("│")[2:-1]] == ["2", "2", "0.07", "0.10", "–", "0.35"]


def test_rows_say_what_runs_how_often(made: MadeUp) -> None:
    known = measured(made.study, made.store, [])
    rows = {(row.stage, *row.arms): row for row in measured_rows(made.phases, known)}
    assert list(rows) == [
        ("pretrain", "neuroiou"),
        ("collect_pairs", "neuroiou"),
        ("fit_surrogate", "neuroiou"),
        ("finetune", "neuroiou"),
        ("evaluate", "neuroiou", "ce"),
        ("finetune", "ce"),
    ]
    assert (rows["evaluate", "neuroiou", "ce"].runs, rows["finetune", "ce"].mean_seconds) == (6, 80)


def test_the_cheapest_and_the_fastest_are_named(made: MadeUp) -> None:
    prices = price_list({"spot": None, "on_demand": 1.0}, {"name": "fast", "spot": 40.0, "on_demand": 72.0})
    offers = plan_of(made, prices, fast=10.0).offers
    assert choice(offers, "EUR") == (
        "Likely cheapest: 1 × big (on demand), 0.07 h, 0.07 EUR. Fastest: 1 × fast (spot), 0.01 h, 0.57 EUR."
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00"),
        (0.001, "< 0.01"),
        (0.012, "0.01"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (9876, "9,876"),
    ],
)
def test_amounts_have_no_more_digits_than_they_are_worth(value: float, text: str) -> None:
    assert amount(value) == text


def test_a_plan_is_data_for_a_program(made: MadeUp) -> None:
    document = plan_of(made).as_document()
    assert document["prices"] == {"date": "2026-01-31", "currency": "EUR"}
    assert document["stages"][0]["stage"] == "pretrain" and len(document["offers"]) == 1
    assert document["measured"][0]["mean_seconds"] == 200 and len(document["notes"]) >= 5
