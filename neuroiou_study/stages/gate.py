"""The gate: a surrogate that would be a bad loss costs no fine-tuning."""

from collections.abc import Iterator
from pathlib import Path

from neuroiou_study.spec.trial import TrialSpec
from neuroiou_study.stages.fit_surrogate import read_fidelity


class Gated(Exception):  # noqa: N818  not an error: the surrogate has been measured and found wanting
    """A surrogate did not reach what the spec's gate asks for; the message says what it missed."""


def require_faithful(spec: TrialSpec, surrogate: Path) -> None:
    """Raise Gated if the surrogate in the complete folder misses a threshold. What could not be measured passes."""
    missed = missed_by(spec, read_fidelity(surrogate)) if spec.gate.enabled else []
    if missed:
        raise Gated(f"gate: {'; '.join(missed)}")


def missed_by(spec: TrialSpec, fidelity: dict[str, float]) -> list[str]:
    """Each threshold of the spec's gate that a surrogate of this fidelity misses; none where the gate is off."""
    return list(_missed(spec, fidelity)) if spec.gate.enabled else []


def _missed(spec: TrialSpec, fidelity: dict[str, float]) -> Iterator[str]:
    gate = spec.gate
    for name in ("sign_tp", "sign_fp", "sign_fn"):
        if fidelity[name] < gate.min_sign:
            yield f"{name} {fidelity[name]:.3f} is below min_sign {gate.min_sign:g}"
    if spec.fit_surrogate.flip_gain_weight == 0:
        if fidelity["r2"] < gate.min_r2:
            yield f"r2 {fidelity['r2']:.3f} is below min_r2 {gate.min_r2:g}"
    elif fidelity["gain_error"] > gate.max_gain_error:
        yield f"gain_error {fidelity['gain_error']:.3f} is above max_gain_error {gate.max_gain_error:g}"
