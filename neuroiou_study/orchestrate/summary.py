"""What MLflow shows of a whole study in its summary run: parameters, metrics, a table and a note. No MLflow here."""

import json
from collections.abc import Sequence
from typing import Any

from neuroiou_study.orchestrate.shown import ONCE, Series
from neuroiou_study.report.leaderboard import ArmRow, Leaderboard
from neuroiou_study.report.tables import caveats, in_words, number, verdict
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.ledger import Total
from neuroiou_study.stages.records import STATES

NOTE_TRIALS = 10


def study_parameters(study: StudySpec) -> dict[str, str]:
    """What makes it this study and not another: its ranges, controls, seeds and pruner."""
    fields = study.model_dump(mode="json", include={"search", "controls", "seeds", "search_seed", "pruner"})
    ranges = {f"search.{name}": bounds for name, bounds in fields.pop("search").items()}
    controls = {f"controls.{name}": loss for name, loss in fields.pop("controls").items()}
    return {name: json.dumps(value) for name, value in {**fields, **ranges, **controls}.items()}


def summary_metrics(board: Leaderboard, cost: Total) -> Series:
    """The best of each arm, its confirmed differences to the controls, how many trials ended how, and the cost."""
    best = {row.arm: row for row in reversed(board.arms)}
    values: dict[str, float | None] = {
        f"trials/{state}": sum(getattr(row, state) for row in best.values()) for state in STATES
    }
    for row in best.values():
        values |= _arm_metrics(row)
    values |= {f"cost/{name}": value for name, value in cost.model_dump().items()}
    # In one section, because MLflow's charts have one for each prefix, and an empty one for those of this run alone.
    named = {f"study/{name.replace('/', '_')}": value for name, value in values.items()}
    return {name: {ONCE: float(value)} for name, value in named.items() if value is not None}


def _arm_metrics(row: ArmRow) -> dict[str, float | None]:
    values = {
        f"score/{row.arm}": row.select_miou,
        f"val_miou/{row.arm}": row.val_miou,
        f"val_difference_to_ce/{row.arm}": row.difference_to_ce,
    }
    for each in row.comparisons:
        if each.measure == "miou":
            name = f"{row.arm}_to_{each.control}"
            values |= {f"confirmed_{part}/{name}": getattr(each, part) for part in ("value", "low", "high", "p_holm")}
    return values


def leaderboard_table(board: Leaderboard) -> dict[str, list[Any]]:
    """Every trial, best first, as MLflow's artifact viewer reads a table."""
    names = sorted({name for trial in board.trials for name in trial["values"]})
    fixed = ["trial", "arm", "state", "select_miou", "seconds", "error"]
    rows = [[trial[key] for key in fixed] + [trial["values"].get(name) for name in names] for trial in board.trials]
    return {"columns": fixed + names, "data": rows}


def note(study: StudySpec, board: Leaderboard, store: str) -> str:
    """The study's result in Markdown."""
    parts = [
        f"# {study.name}",
        f"Study `{study.identity}`. Its results are in `{store}`; `neuroiou-study sync` writes all of this anew.",
        verdict(board) or "",
        "## Best trial of each arm",
        _table(["arm", "loss", "trial", "select mIoU", "val mIoU", "val vs CE"], _arm_rows(board)),
        "\n".join(f"- {caveat}" for caveat in caveats(board)),
        f"## Best {min(NOTE_TRIALS, len(board.trials))} of {len(board.trials)} trials",
        _table(["trial", "state", "select mIoU", "values"], _trial_rows(board)),
    ]
    return "\n\n".join(part for part in parts if part)


def _arm_rows(board: Leaderboard) -> list[list[str]]:
    return [
        [
            row.arm,
            row.loss,
            row.trial or "–",
            *map(number, (row.select_miou, row.val_miou)),
            number(row.difference_to_ce, "+.4f"),
        ]
        for row in board.arms
    ]


def _trial_rows(board: Leaderboard) -> list[list[str]]:
    return [
        [trial["trial"], trial["state"], number(trial["select_miou"]), in_words(trial["values"], "`")]
        for trial in board.trials[:NOTE_TRIALS]
    ]


def _table(columns: list[str], rows: Sequence[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, ["---"] * len(columns), *rows])
