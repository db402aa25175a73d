"""Lists, portions, and opening images and labels. Damage to a whole data set is in test_camvid and its likes."""

import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from neuroiou_study.core.data.files import open_image, open_labels, portion, read_names, require_disjoint
from tests.core.data.made import filled, noise, truncate, write


@pytest.mark.parametrize(("fraction", "expected"), [(0.2, [4, 9]), (0.5, [1, 3, 5, 7, 9]), (0.01, [])])
def test_a_portion_is_evenly_spaced_and_the_rest_is_for_training(fraction: float, expected: list[int]) -> None:
    assert portion(range(10), "select", fraction) == expected
    assert portion(range(10), "train", fraction) == [i for i in range(10) if i not in expected]


def test_names_are_the_lines_of_a_list(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a\n\n  b c \r\nd/e.f\n")
    assert read_names(tmp_path, tmp_path / "train.txt") == ["a", "b c", "d/e.f"]


@pytest.mark.parametrize(
    ("content", "message"),
    {
        "\n": "0 names: needs one a line",
        "a\n/JPEGImages/b.jpg /SegmentationClassAug/b.png\n": "/JPEGImages/b.jpg .*must be a name without folder",
        "a\nb\nc\nb\n": "b: stands twice",
    }.items(),
)
def test_a_wrong_list_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "train.txt").write_text(content)
    with pytest.raises(ValueError, match=f"{tmp_path}/train.txt: {message}"):
        read_names(tmp_path, tmp_path / "train.txt")


def test_training_names_in_the_deciding_list_are_counted() -> None:
    require_disjoint("here", ["a", "b"], ["c"], "")
    with pytest.raises(ValueError, match=r"here: 2 of 3 are in the list that decides, first b: .*: do this"):
        require_disjoint("here", ["a", "b", "c"], ["c", "b", "d"], "do this")


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK"])
def test_images_of_any_8_bit_mode_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    Image.fromarray(noise(0)).convert(mode).save(path)
    image = open_image(path)
    assert image.shape == (6, 8, 3)
    assert image.std() > 5


def test_deep_images_are_refused_rather_than_clipped(tmp_path: Path) -> None:
    Image.fromarray(filled(9).astype(np.uint16) * 1000).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"x\.png: mode I;16: images must have 8 bits a channel: convert the file"):
        open_image(tmp_path / "x.png")


def test_palette_labels_are_their_indices_whatever_the_colours(tmp_path: Path) -> None:
    labels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    picture = Image.fromarray(labels)
    picture.putpalette([7] * 768)
    picture.save(tmp_path / "x.png")
    assert Image.open(tmp_path / "x.png").mode == "P"
    assert np.array_equal(open_labels(tmp_path / "x.png"), labels)


@pytest.mark.parametrize("mode", ["RGB", "1", "LA", "I;16"])
def test_labels_of_another_mode_are_refused(tmp_path: Path, mode: str) -> None:
    Image.fromarray(filled(1)).convert(mode).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=rf"x\.png: mode {mode}: labels must be one 8-bit channel"):
        open_labels(tmp_path / "x.png")


@pytest.mark.parametrize("opener", [open_image, open_labels])
@pytest.mark.parametrize("kept", [0, 20, 60])
def test_a_truncated_file_is_named(tmp_path: Path, opener: Callable[[Path], object], kept: int) -> None:
    write(tmp_path / "x.png", noise(1)[..., 0])
    truncate(tmp_path / "x.png", kept)
    with pytest.raises(ValueError, match=f"{tmp_path}/x.png: .*: must be a readable image: re-copy the file"):
        opener(tmp_path / "x.png")


@pytest.mark.parametrize("opener", [open_image, open_labels])
@pytest.mark.parametrize(("width", "height"), [(11_586, 11_586), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_an_image_that_promises_too_much_is_not_decoded(
    tmp_path: Path, opener: Callable[[Path], object], width: int, height: int
) -> None:
    write(tmp_path / "x.png", noise(1)[..., 0])
    content = (tmp_path / "x.png").read_bytes()
    header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    (tmp_path / "x.png").write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    with (
        warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
        pytest.raises(ValueError, match=rf"{tmp_path}/x\.png: .*({width}×{height}|exceeds limit)"),
    ):
        opener(tmp_path / "x.png")


def test_text_in_a_png_that_inflates_is_refused(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("comment", "a" * 10_000_000, zip=True)
    Image.fromarray(noise(1)).save(tmp_path / "x.png", pnginfo=text)
    assert (tmp_path / "x.png").stat().st_size < 20_000
    with pytest.raises(ValueError, match=r"x\.png: Decompressed data too large .*: must be a readable image"):
        open_image(tmp_path / "x.png")


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "EPS"])
def test_another_format_is_refused_whatever_the_file_is_called(tmp_path: Path, kind: str) -> None:
    Image.fromarray(noise(1)).convert("P" if kind == "GIF" else "RGB").save(tmp_path / "x.png", kind)
    with pytest.raises(ValueError, match=r"x\.png: cannot identify image file .*: must be a readable image"):
        open_image(tmp_path / "x.png")
