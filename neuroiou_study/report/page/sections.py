"""Which sections a study's page has, and in which order: the verdict's evidence first, how to repeat it last."""

from collections.abc import Mapping, Sequence

from neuroiou_study.report.charts.chart import Chart
from neuroiou_study.report.charts.differences import classes_difference_chart, differences_chart
from neuroiou_study.report.charts.fidelity import fidelity_charts
from neuroiou_study.report.charts.inputs import inputs_chart
from neuroiou_study.report.charts.scores import classes_chart, seeds_chart
from neuroiou_study.report.charts.search import curves_chart, history_chart, importance_chart, parallel_chart
from neuroiou_study.report.charts.surrogate import examine, surrogate_charts
from neuroiou_study.report.export import champion_of
from neuroiou_study.report.leaderboard import ArmRow, Leaderboard
from neuroiou_study.report.page.pictures import make_pictures
from neuroiou_study.report.page.section import PageTable, Section
from neuroiou_study.report.page.traced import traced_sections
from neuroiou_study.report.tables import caveats, number, outcome, short
from neuroiou_study.report.val_scores import val_scores
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.records import TrialRecord
from neuroiou_study.stages.store import Store

Importances = Mapping[str, Mapping[str, float]]
"""Arm → searched name → share of the scores' variance that it explains."""
CHANGES = "Changed pixels: green became right, red became wrong, grey is wrong in both."


def make_sections(
    study: StudySpec, store: Store, records: Sequence[TrialRecord], board: Leaderboard, importances: Importances
) -> list[Section]:
    """The sections that have something to show."""
    sections = [
        _leaderboard(study, board),
        _classes(study, store, board),
        _pictures(study, store, board),
        _search(study, records, board, importances),
        _surrogate(study, store, records, board),
        _fidelity(study, store, records),
        *traced_sections(study, store, records),
    ]
    return [section for section in sections if not section.is_empty]


def _leaderboard(study: StudySpec, board: Leaderboard) -> Section:
    learned = [row for row in board.arms if row.arm in study.learned_arms and row.comparisons]
    charts = [differences_chart(board, learned)] if learned else []
    charts += [seeds_chart(board.arms, study.arms)] if any(row.val_miou_per_seed for row in board.arms) else []
    return Section("leaderboard", "Leaderboard", caveats(board), charts, [_arms_table(board)])


def _arms_table(board: Leaderboard) -> PageTable:
    reference = f"val vs {board.ce_control}" if board.ce_control else "val vs CE"
    columns = ("trial", "loss", "select mIoU", "val mIoU", "without background", reference, "trials")
    rows = [_arm_cells(board, row) for row in board.arms]
    return PageTable("The best of each arm, best first on the split that decides", columns, rows)


def _arm_cells(board: Leaderboard, row: ArmRow) -> list[str]:
    scores = [number(value) for value in (row.select_miou, row.val_miou, row.val_miou_without_background)]
    difference = "control" if row.arm == board.ce_control else number(row.difference_to_ce, "+.4f")
    return [row.trial or f"{row.arm}: none", row.loss, *scores, difference, outcome(row)]


def _classes(study: StudySpec, store: Store, board: Leaderboard) -> Section:
    best = next((row for row in board.arms if row.arm in study.learned_arms and row.comparisons), None)
    charts = [classes_difference_chart(board, best)] if best else []
    scores = val_scores(study, store)
    charts += [classes_chart(scores, study.arms)] if scores else []
    return Section("classes", "Class by class", (), charts)


def _pictures(study: StudySpec, store: Store, board: Leaderboard) -> Section:
    title, arm = "What it looks like", next((r.arm for r in board.arms if r.arm in study.learned_arms), None)
    if board.ce_control is None or arm is None:
        return Section("pictures", title)
    try:
        rows = make_pictures(study, store, board.ce_control, arm)
    except (OSError, RuntimeError) as error:  # data of another machine, or nothing complete: the rest is worth reading
        return Section("pictures", title, (f"No pictures: {error}",))
    says = "Images of val, chosen by the difference in IoU, the worst included; networks of the first seed."
    return Section("pictures", title, (says, CHANGES), pictures=rows)


def _search(study: StudySpec, records: Sequence[TrialRecord], board: Leaderboard, importances: Importances) -> Section:
    charts: list[Chart | None] = []
    if records:
        charts = [
            history_chart(records, study.arms),
            curves_chart(board.arms, records, study.arms, board.start_select_miou),
        ]
        charts += [inputs_chart(study, records)]
        charts += [parallel_chart(records, arm) for arm in study.learned_arms]
        charts += [importance_chart(importances, study.arms)] if importances else []
    tables = [_trials_table(board)] if board.trials else []
    return Section("search", "The search", (), [chart for chart in charts if chart and chart.rows], tables)


def _trials_table(board: Leaderboard) -> PageTable:
    names = sorted({name for trial in board.trials for name in trial["values"]})
    rows = [
        [trial["trial"], trial["state"], number(trial["select_miou"])]
        + [short(trial["values"][name]) if name in trial["values"] else "" for name in names]
        for trial in board.trials
    ]
    return PageTable(f"All {len(rows)} trials", ("trial", "state", "select mIoU", *names), rows, is_folded=True)


def _surrogate(study: StudySpec, store: Store, records: Sequence[TrialRecord], board: Leaderboard) -> Section:
    best = champion_of(study, records, board)
    examined = examine(study, store, best) if best else None
    if examined is None:
        return Section("surrogate", "The best surrogate")
    says = f"{examined.trial}, at {len(examined.rows)} rows of training images that it was not fitted on."
    return Section("surrogate", "The best surrogate", (says,), surrogate_charts(examined))


def _fidelity(study: StudySpec, store: Store, records: Sequence[TrialRecord]) -> Section:
    says = "A surrogate that fits the IoU loss better is not always the better loss: what counts is its gradient."
    charts = fidelity_charts(study, store, records)
    return Section("fidelity", "Fidelity and what came of it", (says,) if charts else (), charts)
