"""The colour of each class in pictures: the data set's own where it has one."""

import numpy as np
from numpy.typing import NDArray

_CITYSCAPES = (
    *((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30)),
    *((220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142)),
    *((0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)),
)
"""*Cited*: cityscapesScripts' labels.py."""
_CAMVID = (
    *((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0)),
    *((192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
)
"""*Cited*: SegNet-Tutorial."""
_SHAPES = ((110, 120, 130), (214, 70, 60), (60, 160, 80), (60, 90, 210), (240, 190, 40), (190, 60, 190))
"""*Assumed*: the data set's own hues, stronger."""
_VOID = (255, 255, 255)


def palette(data: str, num_classes: int, ignore_index: int) -> NDArray[np.uint8]:
    """``(256, 3)`` RGB of each stored number; ``data`` is a data set's short name, void is white."""
    colours = {"cityscapes": _CITYSCAPES, "camvid": _CAMVID, "shapes": _SHAPES}.get(data, ())[:num_classes]
    table = np.array([_voc(number) for number in range(256)], dtype=np.uint8)
    table[: len(colours)] = np.array(colours, dtype=np.uint8).reshape(-1, 3)
    table[ignore_index] = _VOID
    return table


def _voc(number: int) -> tuple[int, int, int]:
    """The colour of ``number`` in PASCAL VOC: its bits, three at a time, from the highest down; *cited*: VOCdevkit."""
    red = green = blue = 0
    for position in range(8):
        red |= (number & 1) << (7 - position)
        green |= (number >> 1 & 1) << (7 - position)
        blue |= (number >> 2 & 1) << (7 - position)
        number >>= 3
    return red, green, blue
