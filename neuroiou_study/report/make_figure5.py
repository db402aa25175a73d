"""Figure 5 anew: what CE and NeuroIoU make of some images of ``val``, chosen by rule and not by eye."""

from collections.abc import Sequence
from pathlib import Path

from neuroiou_study.report.examples import Example, make_examples
from neuroiou_study.report.paper import NAMES
from neuroiou_study.report.reproduced import OURS, Reproduction, Row, Setting, network
from neuroiou_study.stages import build
from neuroiou_study.stages.store import Store

ARMS = ("ce", "neuroiou")


def make_figure5(setting: Setting, store: Store) -> Reproduction:
    """The images where NeuroIoU gains most over CE, a typical one, and the one where it loses most.

    Raises RuntimeError if one of the two has no complete trial.
    """
    ((_, study),) = setting.studies.items()
    dataset = build.dataset(study.data, "val")
    examples = make_examples(study, store, dataset, *ARMS)

    def draw(path: Path) -> None:
        from neuroiou_study.report.draw_examples import draw_examples

        title = setting.title(f"Figure 5: images of val, chosen by the difference in IoU, {network(study)}")
        draw_examples(path, title, examples, dataset.class_names, setting.palette, dataset.ignore_index)

    return Reproduction(
        setting=setting,
        headline="; ".join(_in_words(example) for example in examples),
        rows=[row for example in examples for row in _rows(example)],
        ours={example.reason: {"image": example.sample.name, "iou_percent": example.ious} for example in examples},
        paper={},
        draw=draw,
    )


def _rows(example: Example) -> Sequence[Row]:
    fixed = {"image": example.sample.name, "reason": example.reason, "source": OURS}
    return [{**fixed, "arm": arm, "iou_percent": iou} for arm, iou in example.ious.items()]


def _in_words(example: Example) -> str:
    scores = ", ".join(f"{NAMES[arm]} {iou:.1f}" for arm, iou in example.ious.items())
    return f"{example.reason} {example.sample.name}: {scores}"
