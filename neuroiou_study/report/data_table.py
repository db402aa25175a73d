"""What is in a study's data: images, sizes and class frequencies of each split."""

from collections.abc import Callable, Mapping

from rich.table import Table

from neuroiou_study.core.data.dataset import SPLITS, Split, Summary, unheard
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages import build


def data_table(study: StudySpec, opened: Callable[[str], object] = unheard) -> Table:
    """The data of ``study`` for a terminal; reads every sample once and calls ``opened`` with its name.

    Raises FileNotFoundError or ValueError naming the first file that is missing or damaged.
    """
    datasets = {split: build.dataset(study.data, split) for split in SPLITS}
    summaries = {split: dataset.summary(opened) for split, dataset in datasets.items()}
    table = Table(title=_title(study, summaries), title_justify="left")
    table.add_column("class", no_wrap=True)
    for split in summaries:
        table.add_column(f"{split} %", justify="right")
        table.add_column("images", justify="right")
    for index, name in enumerate(datasets["train"].class_names):
        table.add_row(name, *_class_cells(summaries, index))
    table.add_section()
    table.add_row("void, of all", *(cell for s in summaries.values() for cell in (_percent(s.void_fraction), "")))
    return table


def _class_cells(summaries: Mapping[Split, Summary], index: int) -> list[str]:
    cells = ((_percent(s.class_fractions[index]), str(s.images_with_class[index])) for s in summaries.values())
    return [cell for pair in cells for cell in pair]


def _title(study: StudySpec, summaries: Mapping[Split, Summary]) -> str:
    counts = (f"{split}: {_count(s.num_images, 'image')}{_sizes(s)}" for split, s in summaries.items())
    return "\n".join((f"Data {study.data.name}", *counts, "% of the valid pixels, and images with the class"))


def _sizes(summary: Summary) -> str:
    """The one size, or the most frequent and how many others there are, width × height."""
    if not summary.sizes:
        return ""
    (height, width), *others = summary.sizes
    return f" of {width}×{height}" + (f" and {_count(len(others), 'other size')}" if others else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3f}"
