"""Curves, bars and tables as pictures. The paper's values are black diamonds, or lines on blue in a table.

Import it where something is drawn: matplotlib takes a moment.
"""

import textwrap
from collections.abc import Mapping, Sequence
from math import ceil, isfinite, nan
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from torch import Tensor

from neuroiou_study.core.approximation import JUMP, target, target_derivative
from neuroiou_study.report.make_bars import MEAN, Panel, above_ce
from neuroiou_study.report.make_figure2 import Curve
from neuroiou_study.report.make_table1 import Line
from neuroiou_study.report.paper import CLAIMS, DERIVATIVE_AT_JUMP, NAMES
from neuroiou_study.report.reproduced import PAPER

DPI = 150
COLOURS = {
    **{"ce": "#8c8c8c", "weighted_ce": "#d9a441", "soft_iou": "#59a14f", "neuroiou": "#1f6fb4"},
    **{"neuroiou6": "#d1495b", "no_int": "#8e6bbf", "hinge": "#3a9c96"},
}
_CURVES = ("#d1495b", "#1f6fb4", "#59a14f")
_PAPER_CELL, _OURS_CELL, _HEAD_CELL = "#dce8f5", "#ffffff", "#eeeeee"
_CLASSES_OF_BLOCK = 11
"""Columns of a table before it continues below: the paper has ten and ten."""
WITH_BACKGROUND = "with backgr."
_READABLE = 20
"""A bar of so many percent holds its number."""


LETTERS_PER_INCH = 11
"""Of a title; *measured* on figure 3."""


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as a PNG; equal figures make equal files."""
    figure.savefig(path, dpi=DPI, metadata={"Software": None})


def entitle(figure: Figure, text: str) -> None:
    """``text`` stands over ``figure``, with lines that are too long for it broken."""
    room = int(figure.get_figwidth() * LETTERS_PER_INCH)
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, room)]
    figure.suptitle("\n".join(lines), fontsize=11)


def draw_figure2(path: Path, title: str, x: Tensor, curves: Mapping[str, Curve]) -> None:
    """The function with its approximations, and the derivative with theirs."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    entitle(figure, title)
    function, slopes = figure.subplots(1, 2)
    _draw_function(function, x, curves)
    _draw_slopes(slopes, x, curves)
    for axes in (function, slopes):
        axes.set_xlabel("x")
        axes.set_xlim(0, 2)
        axes.grid(alpha=0.25)
    save(figure, path)


def _draw_function(axes: Axes, x: Tensor, curves: Mapping[str, Curve]) -> None:
    inset = axes.inset_axes((0.34, 0.46, 0.36, 0.36), xlim=(0.9, 1.1), ylim=(0.97, 1.2))
    for each in (axes, inset):
        _draw_in_two_parts(each, x, target(x), "f")
        for (name, curve), colour in zip(curves.items(), _CURVES, strict=True):
            error = curve.errors(x)["rmse"]
            each.plot(x, curve.values, color=colour, linewidth=1.4, label=f"{name}: RMSE {error:.4f}")
    inset.tick_params(labelsize=7)
    axes.indicate_inset_zoom(inset, edgecolor="black")
    axes.set_title("(a) the function and its approximations", fontsize=10)
    axes.set_ylabel("f(x)")
    axes.set_ylim(0.85, 2.75)
    axes.legend(fontsize=8, loc="upper left", ncols=2)


def _draw_slopes(axes: Axes, x: Tensor, curves: Mapping[str, Curve]) -> None:
    low, high = DERIVATIVE_AT_JUMP
    _draw_in_two_parts(axes, x, target_derivative(x), "f'")
    for (name, curve), colour in zip(curves.items(), _CURVES, strict=True):
        label = f"{name}: {curve.slope_at_jump:.2f} at x = 1"
        axes.plot(x, curve.slopes, color=colour, linewidth=1.4, label=label)
    axes.plot([JUMP, JUMP], [low, high], color="black", linewidth=1, marker="D", markerfacecolor="white", label="paper")
    axes.lines[-1].set_label("paper: at x = 1 in [-1, 1]")
    axes.set_title("(b) the derivative and its approximations", fontsize=10)
    axes.set_ylabel("f'(x)")
    axes.set_ylim(-2, 4.2)
    axes.text(0.99, 0.02, "peaks above 4.2 are cut off", transform=axes.transAxes, ha="right", fontsize=8)
    axes.legend(fontsize=8, loc="upper left")


def _draw_in_two_parts(axes: Axes, x: Tensor, values: Tensor, name: str) -> None:
    """``values`` without a line across the jump."""
    for side, label in ((x < JUMP, name), (x > JUMP, None)):
        axes.plot(x[side], values[side], color="black", linewidth=3.5, alpha=0.35, label=label)


def draw_bars(path: Path, title: str, panels: Sequence[Panel], name: str) -> None:
    """A row for each panel: a group of bars for each class, then one for the mean."""
    num_groups = max(len(panel.classes) for panel in panels) + 1
    width = min(18.0, max(8.5, 2.5 + 0.62 * num_groups))
    figure = Figure(figsize=(width, 1.4 + 3.1 * len(panels)), layout="constrained")
    entitle(figure, f"{title}\nthe paper: {CLAIMS[name]}")
    rows = np.atleast_1d(figure.subplots(len(panels), 1))
    for axes, panel in zip(rows, panels, strict=True):
        _draw_panel(axes, panel)
    _legend(figure, panels)
    save(figure, path)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    groups = [*panel.classes, MEAN]
    arms = list(dict.fromkeys([*panel.ours, *panel.paper]))
    bar = 0.8 / max(1, len(arms))
    for place, arm in enumerate(arms):
        centres = np.arange(len(groups)) + (place - (len(arms) - 1) / 2) * bar
        ours, paper = (_heights(values.get(arm, {}), groups) for values in (panel.ours, panel.paper))
        axes.bar(centres, ours, bar * 0.92, color=COLOURS[arm])
        axes.scatter(centres, paper, marker="D", s=24, facecolors="white", edgecolors="black", zorder=3)
        _write_means(axes, float(centres[-1]), ours[-1], paper[-1])
    axes.axvline(len(groups) - 1.5, color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(groups)), groups, fontsize=9)
    if len(groups) > 9:
        axes.tick_params(axis="x", labelrotation=30)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
    _describe_panel(axes, panel)


def _write_means(axes: Axes, x: float, ours: float, paper: float) -> None:
    """Our number at the foot of its bar, the paper's above its diamond; nothing where there is none."""
    if isfinite(ours):
        colour = "white" if ours > _READABLE else "black"
        height = 2 if ours > _READABLE else ours + 2
        axes.text(x, height, f"{ours:.2f}", color=colour, fontsize=8, rotation=90, ha="center", va="bottom")
    if isfinite(paper):
        axes.text(
            x,
            max(paper, ours if isfinite(ours) else 0) + 4,
            f"{paper:.2f}",
            fontsize=8,
            style="italic",
            rotation=90,
            ha="center",
            va="bottom",
        )


def _describe_panel(axes: Axes, panel: Panel) -> None:
    number = len(panel.classes)
    learned = [arm for arm in panel.ours if arm.startswith("neuroiou")]
    above = "; ".join(f"{NAMES[arm]} above CE in {above_ce(panel, arm)} of {number} classes" for arm in learned)
    axes.set_title(f"{panel.title}   ({above})" if above else panel.title, fontsize=10, loc="left")
    axes.set_ylabel("IoU (%)")
    axes.set_xlim(-0.6, number + 0.6)
    axes.set_ylim(0, 100)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)


def _heights(values: Mapping[str, float | None], groups: Sequence[str]) -> list[float]:
    return [nan if (value := values.get(name)) is None else value for name in groups]


def _legend(figure: Figure, panels: Sequence[Panel]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    arms = dict.fromkeys(arm for panel in panels for arm in (*panel.ours, *panel.paper))
    entries: list[Patch | Line2D] = [Patch(color=COLOURS[arm], label=f"{NAMES[arm]}, ours") for arm in arms]
    if any(panel.paper for panel in panels):
        mark = {"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black"}
        entries.append(Line2D([], [], linestyle="", label="the paper's value, over the bar of its loss", **mark))  # type: ignore[arg-type]
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), fontsize=9, frameon=False)


def draw_table(path: Path, title: str, lines: Sequence[Line], classes: Sequence[str]) -> None:
    """The paper's line (blue) above ours for each arm, the classes in blocks as wide as a page."""
    number = ceil(len(classes) / _CLASSES_OF_BLOCK)
    size = ceil(len(classes) / number)
    blocks = [list(classes[start : start + size]) for start in range(0, len(classes), size)]
    blocks[-1] += [MEAN, WITH_BACKGROUND]
    width = 3.4 + 0.95 * max(map(len, blocks))
    figure = Figure(figsize=(max(8.0, width), 0.9 + len(blocks) * (0.5 + 0.27 * len(lines))), layout="constrained")
    entitle(figure, title)
    for axes, block in zip(np.atleast_1d(figure.subplots(len(blocks), 1)), blocks, strict=True):
        _draw_block(axes, lines, block)
    figure.supxlabel("Blue: the paper's numbers (VOC 2011, FCN-8s), cited. White: ours.", fontsize=9, style="italic")
    save(figure, path)


def _draw_block(axes: Axes, lines: Sequence[Line], columns: Sequence[str]) -> None:
    axes.axis("off")
    texts = [[_number(_column(line, name)) for name in columns] for line in lines]
    colours = [_PAPER_CELL if line.source == PAPER else _OURS_CELL for line in lines]
    labels = [f"{NAMES[line.arm]}, {'paper' if line.source == PAPER else 'ours'}" for line in lines]
    table = axes.table(
        cellText=[[label, *row] for label, row in zip(labels, texts, strict=True)],
        cellColours=[[colour] * (len(columns) + 1) for colour in colours],
        colLabels=["", *columns],
        colColours=[_HEAD_CELL] * (len(columns) + 1),
        colWidths=[1.9, *[1.0] * len(columns)],
        cellLoc="center",
        bbox=Bbox.unit(),
    )
    table.auto_set_font_size(False)
    table.set_fontsize(8.5)
    for (row, column), cell in table.get_celld().items():
        cell.set_edgecolor("#bbbbbb")
        is_mean = column > 0 and columns[column - 1] == MEAN
        if column == 0:
            cell.get_text().set_horizontalalignment("left")
        cell.get_text().set_fontweight("bold" if row == 0 or is_mean else "normal")


def _column(line: Line, name: str) -> float | None:
    means = {MEAN: line.mean, WITH_BACKGROUND: line.mean_with_background}
    return means[name] if name in means else line.values.get(name)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
