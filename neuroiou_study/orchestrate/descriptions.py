"""What MLflow says in sentences: of a study, of its trials, and the card of its best loss. No MLflow here."""

from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.core.surrogate import SurrogateNet
from neuroiou_study.report.leaderboard import Leaderboard
from neuroiou_study.report.tables import in_words, number, verdict
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.fit_surrogate import read_fidelity
from neuroiou_study.stages.pipeline import plan
from neuroiou_study.stages.records import Assignment, TrialRecord
from neuroiou_study.stages.store import Store

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as a description, in Markdown."""
COLOUR = "mlflow.runColor"
"""The tag with the colour that MLflow's charts give a run."""
_FIDELITY = ("r2", "sign_tp", "sign_fp", "sign_fn", "gradient_cosine", "gain_error")
CARD = """The learned IoU loss of trial `{trial}` of study `{study}`.

**What it is.** A network from {num_features} features ({inputs}) of one class in one image (or batch: `{aggregate}`) to
that class's estimated IoU loss. Registered is the network; `extra_files/` has the whole loss.

**How to load it.** `NeuroIoULoss.load(folder)` of `neuroiou_study.core`, with the folder that `neuroiou-study export`
writes or the files of `extra_files/`; the network alone: `mlflow.pytorch.load_model("models:/{name}@champion")`.

**What it was fitted on.** Training images of `{data}`, as the study's pretrained network saw them; of each output
{perturbed} perturbed copies.

**Where it holds.** It fine-tunes a network that cross-entropy has trained; it was not made to train one from random
weights. Its features have this mean and deviation; three deviations beyond, it extrapolates:

{features}

**How faithful it is**, on images it was not fitted on: {fidelity}.

**What it reached.** Mean IoU {score} on `select`; {difference}.

**Licence.** The code is Apache-2.0; the weights are yours, and stand under what the data allow.
"""


def trial_note(study: StudySpec, assignment: Assignment, summary: str) -> str:
    """What a trial is, and where what belongs to it is; ``summary`` is the link of the study's run."""
    spec = assignment.specs(study)[0]
    values = in_words(assignment.values, "`") or "the file's own values"
    stages = "\n".join(f"- `{step.address}`" for step in plan(spec).values())
    kind = "" if assignment.fresh_seed is None else f", again on fresh seed {assignment.fresh_seed}"
    return (
        f"Trial {assignment.number} of arm **{assignment.arm}** (`{spec.finetune.loss.name}`){kind}: {values}.\n\n"
        f"Study: [{study.name}]({summary}). Its results in the store, first seed:\n\n{stages}"
    )


def experiment_note(study: StudySpec, board: Leaderboard, summary: str) -> str:
    """What the study found; ``summary`` is the link of its run."""
    answer = verdict(board) or "Not confirmed on fresh seeds: the order may be chance."
    return (
        f"# {study.name}\n\n{answer}\n\nAll of it: [summary]({summary}); `report.html` and figures are among its files."
    )


def model_card(study: StudySpec, store: Store, board: Leaderboard, best: TrialRecord, address: str) -> str:
    """The card of the surrogate at ``address``, of the trial ``best``."""
    folder = store.verified(address)
    loss, fidelity = NeuroIoULoss.load(folder), read_fidelity(folder)
    row = next(row for row in board.arms if row.trial == best.assignment.name)
    difference = number(row.difference_to_ce, "+.4f")
    return CARD.format(
        trial=best.assignment.name,
        study=study.identity,
        name=study.name,
        num_features=len(loss.surrogate.net.mean),
        inputs=loss.surrogate.config.inputs.name,
        aggregate=loss.aggregate,
        data=study.data.name,
        features=_features(loss.surrogate.net),
        perturbed=best.assignment.specs(study)[0].collect_pairs.perturbed or "no",
        fidelity=", ".join(f"`{name}` {number(fidelity.get(name))}" for name in _FIDELITY),
        score=number(best.score),
        difference=f"{difference} on `val` against cross-entropy trained as long",
    )


def _features(net: SurrogateNet) -> str:
    pairs = zip(net.mean.tolist(), net.std.tolist(), strict=True)
    return ", ".join(f"{mean:.3g} ± {std:.3g}" for mean, std in pairs)
