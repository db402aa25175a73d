"""The leaderboard for a terminal, and what a reader has to know before believing it."""

from collections.abc import Iterator, Mapping
from math import isnan

from rich.table import Table

from neuroiou_study.report.leaderboard import ArmRow, Leaderboard
from neuroiou_study.report.screened import screening_notes, screening_table
from neuroiou_study.report.verdict import MEANS, Comparison
from neuroiou_study.spec import Scalar


def as_tables(board: Leaderboard, num_trials: int = 10) -> list[Table]:
    """The leaderboard for a terminal: the arms, verdicts and screening if there are any, then the best trials."""
    confirmed = [row for row in _learned(board) if row.comparisons]
    verdicts = [_verdicts_table(board), _classes_table(board, confirmed[0])] if confirmed else []
    screening = [screening_table(board.screening)] if board.screening else []
    return [_arms_table(board), *verdicts, *screening, _trials_table(board, num_trials)]


def caveats(board: Leaderboard) -> list[str]:
    """What a reader has to know before believing the table."""
    notes = []
    if board.start_select_miou is not None:
        notes.append(f"The pretrained network, before fine-tuning, has mIoU {board.start_select_miou:.4f} on select.")
    if board.ce_control is None:
        notes.append("There is no cross-entropy control: add one under controls to know what the loss gained.")
    if board.confidence is not None:
        notes += _confirmation_notes(board)
    elif board.num_seeds == 1:
        notes.append("One seed: small differences may be chance. Add confirm to the study before believing them.")
    return notes + [note for row in board.screening for note in screening_notes(row)]


def _confirmation_notes(board: Leaderboard) -> Iterator[str]:
    seeds, wanted = ", ".join(map(str, board.confirmation_seeds)), len(board.confirmation_seeds)
    yield (
        f"val is the mean over fresh seeds {seeds}; select is the search's own estimate, which choosing the best makes "
        f"too high. Intervals ({board.confidence:.0%}): paired bootstrap over images and seeds; verdicts: "
        "Holm's correction."
    )
    for row in board.arms:
        if row.trial and len(row.val_miou_per_seed) < wanted:
            yield f"{row.trial}: {len(row.val_miou_per_seed)} of {wanted} fresh seeds are there; the others failed."


def verdict(board: Leaderboard) -> str | None:
    """In a sentence: is the best learned loss better than the controls? None without a confirmation."""
    row = next((row for row in _learned(board) if row.comparisons), None)
    if row is None:
        return None
    against = [each for each in row.comparisons if each.measure == "miou" and not isnan(each.value)]
    parts = [f"{each.verdict} than {each.control}" for each in against if each.verdict != "no difference"]
    same = [each.control for each in against if each.verdict == "no difference"]
    parts += [f"not different from {', '.join(same)}"] if same else []
    return f"{row.trial}, the best learned loss on val, is {'; '.join(parts)}."


def _arms_table(board: Leaderboard) -> Table:
    table = Table(title=f"Best trial of each arm · study {board.study}", title_justify="left")
    table.add_column("trial", no_wrap=True)
    reference = f"vs {board.ce_control}" if board.ce_control else "vs CE"
    # Broken here, so that it is not the numbers that a narrow terminal breaks.
    for column in ("select\nmIoU", "val\nmIoU", "without\nbackground", reference, "trials"):
        table.add_column(column, justify="right")
    for row in board.arms:
        is_reference = row.arm == board.ce_control
        difference = "control" if is_reference else number(row.difference_to_ce, "+.4f")
        on_val = (number(row.val_miou), number(row.val_miou_without_background))
        scores = (number(row.select_miou), *on_val, difference)
        table.add_row(row.trial or f"{row.arm}: none", *scores, outcome(row))
    return table


def _verdicts_table(board: Leaderboard) -> Table:
    """A block for each learned trial, a line for each control: the difference in mean IoU and its verdict."""
    table = Table(title="Confirmed differences in val mIoU", title_justify="left")
    table.add_column("trial, against", no_wrap=True)
    for column in ("difference", f"{board.confidence:.0%} interval", "p (Holm)"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in (row for row in _learned(board) if row.comparisons):
        against = [each for each in row.comparisons if each.measure == "miou"]
        table.add_row(row.trial)
        for each in against:
            table.add_row(f"  {each.control}", *_comparison(each), end_section=each is against[-1])
    return table


def _classes_table(board: Leaderboard, row: ArmRow) -> Table:
    """What the best learned trial gained and lost in each class against the control that counts most."""
    control = board.ce_control or row.comparisons[0].control
    table = Table(title=f"{row.trial} against {control} by class, IoU on val", title_justify="left")
    table.add_column("class", no_wrap=True)
    for column in ("difference", f"{board.confidence:.0%} interval", "p (Holm)"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for each in row.comparisons:
        if each.control == control and each.measure not in MEANS:
            table.add_row(each.measure, *_comparison(each))
    return table


def _learned(board: Leaderboard) -> list[ArmRow]:
    return [row for row in board.arms if row.loss == "neuroiou"]


def _comparison(each: Comparison) -> tuple[str, str, str, str]:
    if isnan(each.value):
        return "–", "–", "–", "not measured"
    interval = f"{each.low:+.4f} … {each.high:+.4f}"
    return f"{each.value:+.4f}", interval, f"{each.p_holm:.3g}", each.verdict


def outcome(row: ArmRow) -> str:
    """How many trials the row's arm had, and how many of them did not end well."""
    counted = [(row.pruned, "pruned"), (row.gated, "gated"), (row.failed, "failed")]
    remarks = ", ".join(f"{number} {state}" for number, state in counted if number)
    total = str(row.complete + row.pruned + row.gated + row.failed)
    return f"{total} ({remarks})" if remarks else total


def _trials_table(board: Leaderboard, num_trials: int) -> Table:
    title = f"Best {min(num_trials, len(board.trials))} of {len(board.trials)} trials"
    table = Table(title=title, title_justify="left")
    for column in ("trial", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("select mIoU", justify="right")
    table.add_column("values")
    for row in board.trials[:num_trials]:
        remark = _shortened(row["error"]) if row["error"] else _values(row["values"])
        table.add_row(row["trial"], row["state"], number(row["select_miou"]), remark)
    return table


def _values(values: dict[str, Scalar]) -> str:
    """``fit_surrogate: depth 4, width 100; finetune: lr 0.001``."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        group, _, field = name.partition(".")
        groups.setdefault(group, []).append(f"{field} {short(value)}")
    return "; ".join(f"{group}: {', '.join(fields)}" for group, fields in groups.items())


def _shortened(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:99]}…"


def number(value: float | None, form: str = ".4f") -> str:
    """``value`` as every table of a report writes it; a dash where there is none."""
    return "–" if value is None or isnan(value) else format(value, form)


def in_words(values: Mapping[str, Scalar], quote: str = "") -> str:
    """``finetune.lr 0.001, fit_surrogate.depth 4``, the names between ``quote``."""
    return ", ".join(f"{quote}{name}{quote} {short(value)}" for name, value in values.items())


def short(value: Scalar) -> str:
    """A searched value with as many digits as tell it from others."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
