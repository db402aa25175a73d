from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.spec import TrialSpec
from neuroiou_study.stages.files import write_json
from neuroiou_study.stages.fit_surrogate import FIDELITY_FILE
from neuroiou_study.stages.gate import Gated, require_faithful
from tests.stages.tiny import tiny_trial

NAN = float("nan")
GOOD = {"sign_tp": 0.95, "sign_fp": 1.0, "sign_fn": 0.99, "r2": 0.97, "gain_error": 0.5, "pixel_sign_tp": 0.1}


THRESHOLDS: dict[str, Any] = {"gate__min_sign": 0.95, "gate__min_r2": 0.97, "gate__max_gain_error": 0.5}


def trial(**values: Any) -> TrialSpec:
    return tiny_trial(**{"gate__enabled": True, **THRESHOLDS, **values})


def missed(folder: Path, spec: TrialSpec, **fidelity: float) -> str | None:
    """What the gate says of a good surrogate with these numbers changed; None if it lets it through."""
    write_json(folder / FIDELITY_FILE, {**GOOD, **fidelity})
    try:
        require_faithful(spec, folder)
    except Gated as verdict:
        return str(verdict)
    return None


def test_what_just_reaches_every_threshold_passes(tmp_path: Path) -> None:
    assert missed(tmp_path, trial()) is None


@pytest.mark.parametrize("name", ["sign_tp", "sign_fp", "sign_fn"])
def test_each_sign_must_be_right_often_enough(tmp_path: Path, name: str) -> None:
    assert missed(tmp_path, trial(), **{name: 0.949}) == f"gate: {name} 0.949 is below min_sign 0.95"
    assert missed(tmp_path, trial(gate__min_sign=0.9), **{name: 0.949}) is None


def test_a_surrogate_of_the_value_must_fit_it(tmp_path: Path) -> None:
    assert missed(tmp_path, trial(), r2=0.96) == "gate: r2 0.960 is below min_r2 0.97"
    assert missed(tmp_path, trial(), r2=-12.0) == "gate: r2 -12.000 is below min_r2 0.97"
    assert missed(tmp_path, trial(gate__min_r2=-20.0), r2=-12.0) is None
    assert missed(tmp_path, trial(), gain_error=9.0) is None


def test_a_surrogate_of_the_gains_must_fit_them_and_not_the_value(tmp_path: Path) -> None:
    spec = trial(fit_surrogate__flip_gain_weight=1.0)
    assert missed(tmp_path, spec, r2=-1.0) is None
    assert missed(tmp_path, spec, gain_error=0.51) == "gate: gain_error 0.510 is above max_gain_error 0.5"
    wider = trial(fit_surrogate__flip_gain_weight=1.0, gate__max_gain_error=0.75)
    assert missed(tmp_path, wider, gain_error=0.51) is None


@pytest.mark.parametrize("inputs", ["hinge3", "log6"])
def test_a_surrogate_of_other_sums_is_held_to_its_gains_too(tmp_path: Path, inputs: str) -> None:
    spec = trial(fit_surrogate__flip_gain_weight=0.1, fit_surrogate__inputs=inputs)
    assert missed(tmp_path, spec, r2=0.5) is None
    assert missed(tmp_path, spec, gain_error=9.0) == "gate: gain_error 9.000 is above max_gain_error 0.5"


def test_everything_that_is_missed_is_named(tmp_path: Path) -> None:
    said = missed(tmp_path, trial(), sign_fn=0.1, sign_tp=0.2, r2=0.3)
    assert said == (
        "gate: sign_tp 0.200 is below min_sign 0.95; sign_fn 0.100 is below min_sign 0.95; "
        "r2 0.300 is below min_r2 0.97"
    )


def test_what_could_not_be_measured_passes(tmp_path: Path) -> None:
    assert missed(tmp_path, trial(), sign_tp=NAN, sign_fp=NAN, sign_fn=NAN, r2=NAN) is None
    assert missed(tmp_path, trial(fit_surrogate__flip_gain_weight=1.0), gain_error=NAN) is None
    assert missed(tmp_path, trial(), sign_tp=NAN, sign_fn=0.5) == "gate: sign_fn 0.500 is below min_sign 0.95"


def test_a_gate_that_is_off_lets_everything_through(tmp_path: Path) -> None:
    require_faithful(tiny_trial(), tmp_path)  # it does not even look
    write_json(tmp_path / FIDELITY_FILE, {**GOOD, "r2": -1.0})
    require_faithful(tiny_trial(), tmp_path)
    with pytest.raises(Gated):
        require_faithful(trial(), tmp_path)
