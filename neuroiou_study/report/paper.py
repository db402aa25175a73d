"""What the paper reports (Nagendar et al., BMVC 2018), all *cited*: the numbers that ours stand beside.

Table 1 is the only one with numbers by class; figures 3, 4 and 6 are bars without numbers, of which the text claims an
order. IoU in percent, as in the paper.
"""

from collections.abc import Mapping

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""The 20 classes of table 1, in its order, under the data set's names."""

_CE = (
    *(70.58, 59.71, 67.71, 64.84, 63.48, 75.17, 72.05, 70.40, 53.81, 64.37),
    *(64.12, 65.71, 58.64, 70.61, 77.28, 62.27, 66.85, 56.73, 72.27, 64.79),
)
_SOFT_IOU = (
    *(72.72, 61.78, 68.61, 67.29, 64.31, 76.57, 73.03, 70.82, 54.18, 64.06),
    *(65.63, 64.17, 58.70, 71.20, 77.39, 64.14, 67.72, 58.38, 72.20, 66.07),
)
_NEUROIOU = (
    *(73.68, 61.84, 69.80, 67.83, 64.49, 77.73, 73.57, 71.28, 54.82, 65.38),
    *(65.98, 65.82, 60.37, 72.10, 78.04, 66.62, 69.02, 59.52, 73.06, 67.18),
)
_NO_INT = (
    *(73.65, 61.80, 69.80, 67.82, 64.38, 77.73, 73.57, 71.27, 54.77, 65.37),
    *(65.97, 65.82, 60.37, 72.04, 78.03, 66.62, 68.98, 59.52, 73.03, 67.18),
)
_HINGE = (
    *(75.14, 63.35, 70.71, 69.75, 65.84, 79.80, 74.97, 73.03, 55.47, 66.16),
    *(67.60, 66.74, 62.73, 73.68, 79.89, 68.03, 71.62, 60.85, 74.72, 69.27),
)

TABLE1: Mapping[str, Mapping[str, float]] = {
    arm: dict(zip(VOC_CLASSES, row, strict=True))
    for arm, row in {
        "ce": _CE,
        "soft_iou": _SOFT_IOU,
        "neuroiou": _NEUROIOU,
        "no_int": _NO_INT,
        "hinge": _HINGE,
    }.items()
}
"""Arm → class → IoU: FCN-8s on PASCAL VOC 2011."""
TABLE1_MEANS: Mapping[str, float] = {
    "ce": 66.06,
    "soft_iou": 66.94,
    "neuroiou": 67.90,
    "no_int": 67.87,
    "hinge": 69.46,
}
"""Arm → mean over the 20 classes without background."""

WEIGHTED_CE: Mapping[str, float] = {"weighted_ce": 58.4, "neuroiou": 60.2}
"""Arm → mean over "a subset of classes with this foreground-background imbalance" of Cityscapes; unnamed."""

DERIVATIVE_AT_JUMP = (-1.0, 1.0)
"""Section 4.2: "the approximation of the derivative at x = 1 lies between -1 and 1"."""

CLAIMS: Mapping[str, str] = {
    "fig2": "the approximations almost exactly match; the derivative at 1 lies in [-1, 1]",
    "table1": "mean IoU on VOC 2011: " + ", ".join(f"{arm} {mean}" for arm, mean in TABLE1_MEANS.items()),
    "fig3": "NeuroIoU above CE in every class, for all three networks (VOC 2011; numbers for FCN only, in table 1)",
    "fig4": "NeuroIoU above CE in every class, for all three networks (Cityscapes; bars without numbers)",
    "fig5": "NeuroIoU fills gaps and finds poles; its failure is a small sign that CE misses too",
    "fig6": "NeuroIoU-6 above NeuroIoU-3, both above CE (VOC 2011; bars without numbers)",
    "weighted-ce": "mean IoU over rare classes of Cityscapes: weighted CE 58.4, NeuroIoU 60.2",
}
"""Target → what the paper says about it."""

NAMES: Mapping[str, str] = {
    "ce": "CE",
    "weighted_ce": "weighted CE",
    "soft_iou": "IoU-Appx",
    "neuroiou": "NeuroIoU",
    "neuroiou6": "NeuroIoU-6",
    "no_int": "NeuroIoU No-Int",
    "hinge": "NeuroIoU Hinge",
}
"""Arm → what the paper calls it."""
