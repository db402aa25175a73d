"""The best surrogate of a study as a loss that any PyTorch program can load."""

from collections.abc import Sequence
from pathlib import Path

from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.report.leaderboard import Leaderboard, make_leaderboard
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.fit_surrogate import read_fidelity
from neuroiou_study.stages.records import SeedRun, TrialRecord, best_learned
from neuroiou_study.stages.store import Store

_CARD = """# A learned IoU loss for semantic segmentation

```python
from neuroiou_study.core import NeuroIoULoss

loss_fn = NeuroIoULoss.load("{folder}")      # ignore_index={ignore_index}; pass another if your void label differs
loss = loss_fn(logits, labels)               # logits (B, C, H, W), labels (B, H, W) int64
loss.backward()
```

It fine-tunes a network that cross-entropy has trained; it was not made to train one from random weights.

| | |
|---|---|
| study | {study} |
| trial | {trial} (seed {seed}) |
| stage | {address} |
| mean IoU on the selection split | {score:.4f} |
| difference to cross-entropy trained as long, on the deciding split | {difference} |

Searched values:

{values}

How faithful it is, on images it was not fitted on:

{fidelity}
"""


def champion_of(study: StudySpec, records: Sequence[TrialRecord], board: Leaderboard) -> TrialRecord | None:
    """The learned trial that a confirmation put first, or without one the search; None if none is complete."""
    confirmed = [row for row in board.arms if study.confirm and row.val_miou_per_seed]
    first = next((row.trial for row in confirmed if row.arm in study.learned_arms), None)
    named = next((record for record in records if record.assignment.name == first), None)
    return named or best_learned(study, records)


def export_loss(
    study: StudySpec, store: Store, records: Sequence[TrialRecord], folder: Path, board: Leaderboard | None = None
) -> TrialRecord:
    """Write the best surrogate's loss and a README into ``folder``; returns its trial.

    ``board`` is the leaderboard of ``records``, made if it is not given. Raises RuntimeError if no trial of the
    surrogate's arm is complete, or if the surrogate is not in the store as it was made.
    """
    board = board or make_leaderboard(study, store, records)
    best = champion_of(study, records, board)
    if best is None:
        raise RuntimeError(f"{study.identity}: no complete surrogate trial in {store.address}: run the study first")
    run = max(best.runs, key=lambda each: each.history[-1]["select_miou"])
    loss = NeuroIoULoss.load(store.verified(run.stages["fit_surrogate"]))
    folder.mkdir(parents=True, exist_ok=True)
    loss.save(folder)
    (folder / "README.md").write_text(_card(study, store, board, best, run, loss, folder))
    return best


def _card(
    study: StudySpec,
    store: Store,
    board: Leaderboard,
    best: TrialRecord,
    run: SeedRun,
    loss: NeuroIoULoss,
    folder: Path,
) -> str:
    address = run.stages["fit_surrogate"]
    source = store.find(address)
    assert source is not None
    row = next(row for row in board.arms if row.trial == best.assignment.name)
    difference = "not measured" if row.difference_to_ce is None else f"{row.difference_to_ce:+.4f}"
    return _CARD.format(
        folder=folder.name,
        ignore_index=loss.ignore_index,
        study=study.identity,
        trial=best.assignment.name,
        seed=run.seed,
        address=address,
        score=best.score,
        difference=difference,
        values=_bullets(best.assignment.values),
        fidelity=_bullets(read_fidelity(source)),
    )


def _bullets(values: dict[str, float] | dict[str, bool | int | float | str]) -> str:
    return "\n".join(f"- `{name}`: {value}" for name, value in values.items()) or "- none"
