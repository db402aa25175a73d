"""Table 1 anew: IoU of each class for five losses, with the paper's rows beside ours where the classes are its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from neuroiou_study.report.paper import NAMES, TABLE1, TABLE1_MEANS, VOC_CLASSES
from neuroiou_study.report.reproduced import OURS, PAPER, Reproduction, Row, Setting, network
from neuroiou_study.report.val_scores import ArmScores, val_scores
from neuroiou_study.stages import build
from neuroiou_study.stages.store import Store


@dataclass(frozen=True)
class Line:
    """A line of the table: an arm of ours or of the paper's, IoU in percent by class, and their mean."""

    arm: str
    source: str
    values: Mapping[str, float | None]
    mean: float | None
    mean_with_background: float | None = None


def make_table1(setting: Setting, store: Store) -> Reproduction:
    """The table, from one study of all classes or from one binary study for each."""
    classes = _classes(setting)
    ours = _by_category(setting, store) if setting.is_by_category else _of_one_study(setting, store)
    study = next(iter(setting.studies.values()))
    lines = [line for arm in TABLE1 for line in _lines(setting, arm, ours.get(arm, {}), classes)]
    subject = f"Table 1: IoU (%) of each class, {network(study)}"
    subject += ", a binary study for each" if setting.is_by_category else ""

    def draw(path: Path) -> None:
        from neuroiou_study.report.figures import draw_table

        draw_table(path, setting.title(subject), lines, classes)

    return Reproduction(
        setting=setting,
        headline="mean " + ", ".join(_in_words(line) for line in lines if line.source == OURS),
        rows=[_row(line, classes) for line in lines],
        ours={line.arm: _summary(line) for line in lines if line.source == OURS},
        paper={"mean": dict(TABLE1_MEANS), "classes": {arm: dict(row) for arm, row in TABLE1.items()}},
        draw=draw,
        missing=[arm for arm in TABLE1 if not ours.get(arm)],
    )


def _classes(setting: Setting) -> list[str]:
    """All but the background."""
    if setting.is_papers_data:
        return list(VOC_CLASSES)
    if setting.is_by_category:
        return list(setting.studies)
    ((_, study),) = setting.studies.items()
    dataset = build.dataset(study.data, "val")
    return [name for index, name in enumerate(dataset.class_names) if index != dataset.background]


def _of_one_study(setting: Setting, store: Store) -> dict[str, Mapping[str, float | None]]:
    ((_, study),) = setting.studies.items()
    return {arm: scores.per_class for arm, scores in val_scores(study, store).items()}


def _by_category(setting: Setting, store: Store) -> dict[str, Mapping[str, float | None]]:
    """Arm → category → the IoU that the study of that category has for it."""
    found: dict[str, dict[str, float | None]] = {}
    for category, study in setting.studies.items():
        scores: Mapping[str, ArmScores] = val_scores(study, store)
        for arm, each in scores.items():
            found.setdefault(arm, {})[category] = each.per_class[category]
    return dict(found)


def _lines(setting: Setting, arm: str, ours: Mapping[str, float | None], classes: Sequence[str]) -> list[Line]:
    """The paper's line above ours; of other data's classes the paper has only its mean."""
    values = {name: ours.get(name) for name in classes}
    known = [value for value in values.values() if value is not None]
    cited = TABLE1[arm] if setting.is_papers_data else {}
    # All classes of the study; the binary ones have a background each.
    everything = [value for value in ours.values() if value is not None and not setting.is_by_category]
    return [
        Line(arm, PAPER, cited, TABLE1_MEANS[arm]),
        Line(arm, OURS, values, _mean(known), _mean(everything)),
    ]


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _summary(line: Line) -> dict[str, Any]:
    means = {"mean": line.mean, "mean_with_background": line.mean_with_background}
    return {**means, "classes": dict(line.values)}


def _row(line: Line, classes: Sequence[str]) -> Row:
    return {
        "arm": line.arm,
        "source": line.source,
        **{name: line.values.get(name) for name in classes},
        "mean": line.mean,
        "mean_with_background": line.mean_with_background,
    }


def _in_words(line: Line) -> str:
    mean = "–" if line.mean is None else f"{line.mean:.2f}"
    return f"{NAMES[line.arm]} {mean} (paper {TABLE1_MEANS[line.arm]:.2f})"
