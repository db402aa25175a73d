"""Images, their labels, and what two arms make of them, as pictures inside the page (paper fig. 5)."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neuroiou_study.report.examples import Example, make_examples
from neuroiou_study.report.palette import palette
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages import build
from neuroiou_study.stages.store import Store

WIDEST = 480
"""Pixels; a wider picture is made so wide, for a page that can be mailed."""
_BETTER, _WORSE, _BOTH_WRONG = (27, 127, 77), (179, 38, 30), (120, 126, 134)


@dataclass(frozen=True)
class Picture:
    """A picture as a reader's browser takes it, its caption, and what it shows in words."""

    caption: str
    alt: str
    uri: str


@dataclass(frozen=True)
class PictureRow:
    """An image with all that is made of it."""

    title: str
    pictures: list[Picture]


def make_pictures(study: StudySpec, store: Store, control: str, arm: str) -> list[PictureRow]:
    """The images where ``arm`` gains most over ``control``, a typical one, and the one where it loses most.

    Raises RuntimeError if one of the two has no complete trial, and FileNotFoundError if the data are not here.
    """
    dataset = build.dataset(study.data, "val")
    colours = palette(study.data.name, dataset.num_classes, dataset.ignore_index)
    examples = make_examples(study, store, dataset, control, arm)
    return [_row(each, colours, dataset.ignore_index, control, arm) for each in examples]


def _row(example: Example, colours: NDArray[np.uint8], void: int, control: str, arm: str) -> PictureRow:
    labels, name = example.sample.labels, example.sample.name
    predictions = {each: np.where(labels == void, np.uint8(void), example.predictions[each]) for each in (control, arm)}
    pictures = [
        Picture("image", f"Image {name}", _photo(example.sample.image)),
        Picture("ground truth", f"Labels of {name}", _drawing(colours[labels])),
    ]
    for each, predicted in predictions.items():
        caption = f"{each}: IoU {example.ious[each]:.1f} %"
        pictures.append(Picture(caption, f"What {each} makes of {name}", _drawing(colours[predicted])))
    change, words = changed(labels, predictions[control], predictions[arm], void)
    pictures.append(Picture("changed pixels", words, _drawing(change)))
    return PictureRow(f"{example.reason}: {name}", pictures)


def changed(
    labels: NDArray[np.uint8], before: NDArray[np.uint8], after: NDArray[np.uint8], void: int
) -> tuple[NDArray[np.uint8], str]:
    """``(H, W, 3)`` green where ``after`` is right and ``before`` was not, red for the reverse; and that in words.

    Grey is wrong in both, void and right in both are white.
    """
    valid = labels != void
    was, now = (before == labels) & valid, (after == labels) & valid
    picture = np.full((*labels.shape, 3), 255, dtype=np.uint8)
    picture[valid & ~was & ~now] = _BOTH_WRONG
    picture[now & ~was], picture[was & ~now] = _BETTER, _WORSE
    number = max(1, int(valid.sum()))
    shares = (100 * int((now & ~was).sum()) / number, 100 * int((was & ~now).sum()) / number)
    return picture, f"{shares[0]:.1f} % of the pixels became right, {shares[1]:.1f} % became wrong"


def _photo(pixels: NDArray[np.uint8]) -> str:
    return _uri(pixels, "JPEG", Image.Resampling.LANCZOS)


def _drawing(pixels: NDArray[np.uint8]) -> str:
    return _uri(pixels, "PNG", Image.Resampling.NEAREST)


def _uri(pixels: NDArray[np.uint8], form: str, how: Image.Resampling) -> str:
    image = Image.fromarray(pixels)
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), how)
    out = io.BytesIO()
    image.save(out, form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"
