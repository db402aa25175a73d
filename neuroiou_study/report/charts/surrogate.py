"""What the best surrogate has learned: its fit, its values between all right and all wrong, and where it pulls."""

from dataclasses import dataclass

import torch
from safetensors.torch import load_file
from torch import Tensor

from neuroiou_study.core.counts import SETS
from neuroiou_study.core.fidelity import value_and_gradient
from neuroiou_study.core.fitting import Rows, split_by_image
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.core.surrogate import Surrogate
from neuroiou_study.report.charts import axes
from neuroiou_study.report.charts.chart import Chart, Row
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.collect_pairs import PAIRS_FILE
from neuroiou_study.stages.fit_surrogate import rows_of, wanted_of
from neuroiou_study.stages.records import SeedRun, TrialRecord
from neuroiou_study.stages.store import Store

MOST_DOTS = 400
STEPS = 20
"""The surface is sampled at so many shares of the union, and one more."""
_WRONG, _RIGHT = "#b3261e", "#1f6fb4"


@dataclass(frozen=True)
class Examined:
    """A surrogate and the rows of D from images that it was not fitted on."""

    trial: str
    surrogate: Surrogate
    rows: Rows


def examine(study: StudySpec, store: Store, best: TrialRecord) -> Examined | None:
    """The surrogate of ``best``, of its best seed; None if its stages are not in the store."""
    run = max(best.runs, key=_end, default=None)
    folders = [
        store.find(run.stages[name]) for name in ("collect_pairs", "fit_surrogate") if run and name in run.stages
    ]
    if run is None or len(folders) < 2 or folders[0] is None or folders[1] is None:
        return None
    (spec,) = (each for each in best.assignment.specs(study) if each.seed == run.seed)
    pairs = load_file(folders[0] / PAIRS_FILE)
    num_classes = pairs["counts"].shape[2]
    own, *others = rows_of(spec, pairs, num_classes)
    _, settings = wanted_of(spec, num_classes)
    generator = torch.Generator().manual_seed(settings.seed)
    _, held_out = split_by_image(Rows.concatenated([own, *others]), settings.held_out_fraction, generator)
    unseen = own.select(torch.isin(own.image, held_out.image))
    return Examined(best.assignment.name, NeuroIoULoss.load(folders[1]).surrogate, unseen)


def surrogate_charts(examined: Examined) -> list[Chart]:
    """Its fit, its surface, and its pull on each set of pixels."""
    dots = examined.rows.select(torch.linspace(0, len(examined.rows) - 1, min(MOST_DOTS, len(examined.rows))).long())
    estimate, gradient = value_and_gradient(examined.surrogate, dots)
    pulls = [_pull_chart(examined, dots, gradient, index) for index in range(len(SETS))]
    return [_fit_chart(examined, dots, estimate), _surface_chart(examined), *pulls]


def _end(run: SeedRun) -> float:
    return run.history[-1]["select_miou"] if run.history else -1.0


def _fit_chart(examined: Examined, dots: Rows, estimate: Tensor) -> Chart:
    pairs = zip(dots.iou_loss.tolist(), estimate.tolist(), strict=True)
    data: list[Row] = [{"iou_loss": true, "estimate": value} for true, value in pairs]
    encoding = {
        "x": axes.number("iou_loss", "IoU loss", zero=True),
        "y": axes.number("estimate", "surrogate", zero=True),
    }
    dot = {
        "mark": {"type": "point", "filled": True, "size": 25, "opacity": 0.6, "color": _RIGHT},
        "encoding": {**encoding, "tooltip": axes.tooltip("iou_loss", "estimate")},
    }
    ends = {"values": [{"iou_loss": 0, "estimate": 0}, {"iou_loss": 1, "estimate": 1}]}
    ideal = {"data": ends, "mark": {"type": "line", "strokeDash": [4, 4], "color": "#8c8c8c"}, "encoding": encoding}
    says = (
        f"What {examined.trial} says of a class in an image (or rows of images) it was not fitted on, against the IoU "
        "loss that is to be learned. On the dashed line it is right."
    )
    return Chart(
        "surrogate_fit", "Fit of the best surrogate", says, data, {**axes.WIDE, "height": 280, "layer": [ideal, dot]}
    )


def _pull_chart(examined: Examined, dots: Rows, gradient: Tensor, index: int) -> Chart:
    """Derivative by one sum, times the union and turned so that up is right."""
    sign, name = examined.surrogate.config.inputs.right_signs[index], SETS[index].upper()
    some = dots.counts[:, index] > 0
    pull = (gradient[:, index] * dots.counts.sum(-1) * sign)[some].tolist()
    ious = (1 - dots.iou_loss)[some].tolist()
    data: list[Row] = [
        {"iou": iou, "pull": value, "direction": "right" if value > 0 else "wrong"}
        for iou, value in zip(ious, pull, strict=True)
    ]
    colour = {
        "field": "direction",
        "type": "nominal",
        "scale": {"domain": ["right", "wrong"], "range": [_RIGHT, _WRONG]},
    }
    encoding = {
        "x": axes.number("iou", "IoU of the class", zero=True),
        "y": axes.number("pull", "pull × union", form=".2~g", zero=True),
        "color": {**colour, "legend": {"title": None, "orient": "top"}},
        "shape": {"field": "direction", "type": "nominal", "scale": {"domain": ["right", "wrong"]}},
        "tooltip": axes.tooltip("iou", "pull", "direction"),
    }
    right = sum(value > 0 for value in pull)
    says = (
        f"How hard the loss pulls at a {name} pixel, and whether in the direction that helps: it does in {right} of "
        f"{len(pull)} rows."
    )
    drawing = {**axes.WIDE, "height": 220, "mark": {"type": "point", "size": 30}, "encoding": encoding}
    return Chart(f"gradient_{SETS[index]}", f"Gradient at {name} pixels", says, data, drawing)


def _surface_chart(examined: Examined) -> Chart:
    rows, shares = _surface(examined.rows)
    estimate, _ = value_and_gradient(examined.surrogate, rows)
    data: list[Row] = [
        {"tp": tp, "fp": fp, "fn": fn, "estimate": value, "iou_loss": 1 - tp}
        for (tp, fp, fn), value in zip(shares.tolist(), estimate.tolist(), strict=True)
    ]
    labels = {"axis": {"format": ".1f", "values": [0, 0.5, 1]}, "type": "ordinal"}
    encoding = {
        "x": {"field": "fp", "title": "FP share of the union", **labels},
        "y": {"field": "fn", "title": "FN share of the union", "sort": "descending", **labels},
        "color": {
            "field": "estimate",
            "type": "quantitative",
            "title": "surrogate",
            "scale": {"scheme": "viridis", "domain": [0, 1], "clamp": True},
            "legend": {"orient": "top", "gradientLength": 160},
        },
        "tooltip": axes.tooltip("tp", "fp", "fn", "estimate", "iou_loss"),
    }
    says = (
        "The surrogate between all right (lower left) and all wrong (the diagonal's end), at the sums that are typical "
        "of its data. The IoU loss itself has stripes along the diagonals and no others."
    )
    drawing = {**axes.WIDE, "height": 300, "mark": {"type": "rect"}, "encoding": encoding}
    return Chart("loss_surface", "Loss surface over TP, FP and FN", says, data, drawing)


def _surface(typical: Rows) -> tuple[Rows, Tensor]:
    """Rows for all shares of TP, FP and FN in a union of the middle size, and these shares ``(M, 3)``."""
    grid = torch.cartesian_prod(torch.arange(STEPS + 1), torch.arange(STEPS + 1))
    fp, fn = grid[grid.sum(1) <= STEPS].T
    shares = torch.stack([STEPS - fp - fn, fp, fn], dim=1).double() / STEPS
    union = typical.counts.sum(-1).double().median()
    counts = (shares * union).round().long()
    worth = typical.sums.sum(0) / typical.counts.sum(0).clamp(min=1)
    number = len(counts)
    pixels = typical.num_pixels.double().median().round().long()
    most_frequent = typical.class_index.mode().values
    return (
        Rows(counts, counts * worth, pixels.expand(number), most_frequent.expand(number), torch.zeros(number)),
        (shares * 100).round() / 100,
    )
