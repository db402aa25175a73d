"""Images of ``val`` beside their labels and what each arm makes of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from neuroiou_study.report.examples import Example
from neuroiou_study.report.figures import entitle, save
from neuroiou_study.report.make_figure5 import ARMS
from neuroiou_study.report.palette import palette
from neuroiou_study.report.paper import CLAIMS, NAMES

_LEGEND_COLUMNS = 7


def draw_examples(
    path: Path, title: str, examples: Sequence[Example], classes: Sequence[str], data: str, ignore_index: int
) -> None:
    """A row for each example: image, ground truth, CE, NeuroIoU; void is white in all of them but the image."""
    height, width = examples[0].sample.labels.shape
    cell = 2.9
    legend_rows = -(-(len(classes) + 1) // _LEGEND_COLUMNS)
    size = (4 * cell + 0.6, len(examples) * (cell * height / width + 0.25) + 1.0 + 0.25 * legend_rows)
    figure = Figure(figsize=size, layout="constrained")
    entitle(figure, f"{title}\nthe paper: {CLAIMS['fig5']}")
    rows = np.atleast_2d(figure.subplots(len(examples), 2 + len(ARMS)))
    colours = palette(data, len(classes), ignore_index)
    for axes, example in zip(rows, examples, strict=True):
        _draw_row(axes, example, colours, ignore_index)
    _legend(figure, classes, colours, ignore_index)
    save(figure, path)


def _draw_row(row: Sequence[Axes], example: Example, colours: NDArray[np.uint8], void: int) -> None:
    labels = example.sample.labels
    pictures = [example.sample.image, colours[labels]]
    captions = [example.sample.name, "ground truth"]
    for arm in ARMS:
        pictures.append(colours[np.where(labels == void, np.uint8(void), example.predictions[arm])])
        captions.append(f"{NAMES[arm]}: IoU {example.ious[arm]:.1f} %")
    for axes, picture, caption in zip(row, pictures, captions, strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(caption, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    row[0].set_ylabel(example.reason, fontsize=9)


def _legend(figure: Figure, classes: Sequence[str], colours: NDArray[np.uint8], void: int) -> None:
    names = dict(enumerate(classes)) | {void: "void"}
    patches = [
        Patch(facecolor=tuple(colours[number] / 255), edgecolor="#888888", label=name) for number, name in names.items()
    ]
    columns = min(_LEGEND_COLUMNS, len(patches))
    figure.legend(handles=patches, loc="outside lower center", ncols=columns, fontsize=9, frameon=False)
