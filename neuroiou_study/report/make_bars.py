"""Figures 3, 4, 6 and the comparison on rare classes anew: IoU of each class, arm beside arm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroiou_study.report.paper import NAMES, TABLE1, TABLE1_MEANS, WEIGHTED_CE
from neuroiou_study.report.reproduced import OURS, PAPER, Reproduction, Row, Setting, network
from neuroiou_study.report.val_scores import ArmScores, val_scores
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages import build
from neuroiou_study.stages.store import Store

MEAN = "mean"
RARE_FRACTION = 0.01
"""A class with a smaller share of the training images' valid pixels is rare. *Assumed*: the paper names no classes."""

Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class Panel:
    """A bar chart: a group for each class and one for their mean, a bar for each arm, in percent."""

    name: str
    title: str
    classes: Sequence[str]
    ours: Mapping[str, Scores]
    """Arm → class (or ``mean``) → IoU."""
    paper: Mapping[str, Scores]
    """The same, of the paper, as far as it has numbers."""


def make_bars(setting: Setting, store: Store) -> Reproduction:
    """CE against NeuroIoU for each network: figures 3 and 4."""
    arms = ("ce", "neuroiou")
    panels = []
    for model, study in setting.studies.items():
        paper = _table1(setting, arms) if (setting.target, model) == ("fig3", "fcn8s") else {}
        panels.append(_panel(network(study), val_scores(study, store), arms, foreground(study), paper))
    number = setting.target.removeprefix("fig")
    return _reproduction(setting, f"Figure {number}: IoU of each class, CE and NeuroIoU", panels, arms)


def make_figure6(setting: Setting, store: Store) -> Reproduction:
    """NeuroIoU with three inputs, with six, and CE."""
    arms = ("ce", "neuroiou", "neuroiou6")
    ((_, study),) = setting.studies.items()
    panel = _panel(network(study), val_scores(study, store), arms, foreground(study), {})
    return _reproduction(setting, "Figure 6: NeuroIoU with 3 and with 6 inputs", [panel], arms)


def make_weighted_ce(setting: Setting, store: Store) -> Reproduction:
    """Weighted CE against NeuroIoU on the rare classes."""
    arms = ("ce", "weighted_ce", "neuroiou")
    ((_, study),) = setting.studies.items()
    rare, rule = rare_classes(study)
    paper = {arm: {MEAN: mean} for arm, mean in WEIGHTED_CE.items()}
    title = f"{network(study)}, {len(rare)} rare class{'es' * (len(rare) > 1)}: {rule}"
    panel = _panel(title, val_scores(study, store), arms, rare, paper)
    return _reproduction(setting, "Rare classes: weighted CE and NeuroIoU", [panel], arms)


def rare_classes(study: StudySpec) -> tuple[list[str], str]:
    """The classes with less than a hundredth of the training pixels, and that rule in words; never none.

    Where no class is so rare, the rarest quarter.
    """
    dataset = build.dataset(study.data, "train")
    shares = dict(zip(dataset.class_names, dataset.class_frequencies().tolist(), strict=True))
    rare = [name for name, share in shares.items() if share < RARE_FRACTION]
    if rare:
        return rare, f"< {RARE_FRACTION:.0%} of training pixels"
    number = max(1, len(shares) // 4)
    return sorted(shares, key=lambda name: shares[name])[:number], "the rarest quarter"


def foreground(study: StudySpec) -> list[str]:
    """The classes of a study's data without the background."""
    dataset = build.dataset(study.data, "val")
    return [name for index, name in enumerate(dataset.class_names) if index != dataset.background]


def _table1(setting: Setting, arms: Sequence[str]) -> dict[str, Scores]:
    """Table 1 is of the network and data of figure 3 (a), whose bars have no numbers; on other data only its means."""
    means = {arm: {MEAN: TABLE1_MEANS[arm]} for arm in arms}
    return {arm: {**TABLE1[arm], **means[arm]} for arm in arms} if setting.is_papers_data else dict(means)


def _panel(
    title: str,
    scores: Mapping[str, ArmScores],
    arms: Sequence[str],
    classes: Sequence[str],
    paper: Mapping[str, Scores],
) -> Panel:
    ours = {
        arm: {**{name: scores[arm].per_class.get(name) for name in classes}, MEAN: scores[arm].mean(classes)}
        for arm in arms
        if arm in scores
    }
    return Panel(title.partition(",")[0], title, classes, ours, paper)


def _reproduction(setting: Setting, subject: str, panels: Sequence[Panel], arms: Sequence[str]) -> Reproduction:
    def draw(path: Path) -> None:
        from neuroiou_study.report.figures import draw_bars

        draw_bars(path, setting.title(subject), panels, setting.target)

    return Reproduction(
        setting=setting,
        headline="; ".join(_in_words(panel) for panel in panels),
        rows=[row for panel in panels for row in _rows(panel)],
        ours={panel.title: _summary(panel) for panel in panels},
        paper={panel.title: {arm: dict(values) for arm, values in panel.paper.items()} for panel in panels},
        draw=draw,
        missing=[f"{panel.name} {arm}" for panel in panels for arm in arms if arm not in panel.ours],
    )


def _rows(panel: Panel) -> list[Row]:
    return [
        {"panel": panel.title, "class": name, "arm": arm, "source": source, "iou_percent": values[name]}
        for source, arms in ((OURS, panel.ours), (PAPER, panel.paper))
        for arm, values in arms.items()
        for name in (*panel.classes, MEAN)
        if name in values
    ]


def _summary(panel: Panel) -> dict[str, Any]:
    """Means, and in how many classes each learned loss is above CE."""
    above = {f"classes_{arm}_above_ce": above_ce(panel, arm) for arm in panel.ours if arm != "ce"}
    return {"classes": list(panel.classes), "mean": {arm: each[MEAN] for arm, each in panel.ours.items()}, **above}


def above_ce(panel: Panel, arm: str) -> int:
    """In how many classes ``arm`` is better than CE."""
    ce, other = panel.ours.get("ce", {}), panel.ours.get(arm, {})
    pairs = ((ce.get(name), other.get(name)) for name in panel.classes)
    return sum(a is not None and b is not None and b > a for a, b in pairs)


def _in_words(panel: Panel) -> str:
    means = ", ".join(f"{NAMES[arm]} {_percent(each[MEAN])}" for arm, each in panel.ours.items())
    cited = {arm: mean for arm, each in panel.paper.items() if (mean := each.get(MEAN)) is not None}
    paper = ", ".join(f"{NAMES[arm]} {mean:.2f}" for arm, mean in cited.items())
    return f"{panel.name}: {means or 'nothing'}" + (f" (paper: {paper})" if paper else "")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
