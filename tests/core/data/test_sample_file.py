"""Samples in one file: what is written is read, bit for bit, and what is damaged is found."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuroiou_study.core.data.dataset import Sample
from neuroiou_study.core.data.sample_file import DamagedFileError, SampleFile, write_samples


def sample(number: int, height: int, width: int, name: str = "") -> Sample:
    rng = np.random.default_rng(number)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Sample(image, rng.integers(0, 256, (height, width), dtype=np.uint8), name or f"{number}.png")


SAMPLES = [sample(0, 6, 8), sample(1, 1, 1, "sub/ü \udcff.jpg"), sample(2, 9, 5)]
"""Of three sizes; one is named by bytes that are no text, as a file may be."""


def same(one: Sample, other: Sample) -> bool:
    arrays = zip(one[:2], other[:2], strict=True)
    return one.name == other.name and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in arrays)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with (tmp_path / "some.samples").open("wb") as file:
        write_samples(file, SAMPLES)
    return tmp_path / "some.samples"


def test_samples_of_any_size_are_read_as_they_were_written(path: Path) -> None:
    file = SampleFile(path)
    assert len(file) == 3
    for _ in range(2):
        assert all(same(file.load(number), SAMPLES[number]) for number in (2, 0, 1))


def test_views_of_larger_images_are_written_as_what_they_show(tmp_path: Path) -> None:
    image, labels, name = SAMPLES[0]
    with (tmp_path / "x").open("wb") as file:
        write_samples(file, [Sample(image[:, ::-2], labels[:, ::-2], name)])
    assert same(SampleFile(tmp_path / "x").load(0), Sample(image[:, ::-2], labels[:, ::-2], name))


def test_a_file_without_samples_is_whole(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        write_samples(file, [])
    assert len(SampleFile(tmp_path / "x")) == 0


def test_whoever_writes_to_a_sample_writes_to_his_own(path: Path) -> None:
    file = SampleFile(path)
    image, labels, _ = file.load(0)
    image[:], labels[:] = 0, 0
    assert same(file.load(0), SAMPLES[0])
    assert same(SampleFile(path).load(0), SAMPLES[0])


def test_every_damaged_byte_is_found(path: Path) -> None:
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
        with pytest.raises(DamagedFileError, match=str(path)):
            file = SampleFile(path)
            for number in range(len(SAMPLES)):
                file.load(number)


def test_a_file_cut_short_anywhere_is_not_whole(path: Path) -> None:
    content = path.read_bytes()
    for kept in range(len(content)):
        path.write_bytes(content[:kept])
        with pytest.raises(DamagedFileError, match=f"{path}: .*it is not whole"):
            SampleFile(path)


@pytest.mark.parametrize("damage", [lambda content: b"x" + content, lambda content: content[1:]])
def test_an_index_of_another_file_is_found(path: Path, damage: Callable[[bytes], bytes]) -> None:
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DamagedFileError, match="it has not the length that its index says"):
        SampleFile(path)


def test_damage_is_told_of_the_sample_that_has_it(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[6 * 8 * 4 + 2] ^= 1
    path.write_bytes(content)
    file = SampleFile(path)
    assert same(file.load(0), SAMPLES[0])
    with pytest.raises(DamagedFileError, match=r"ü .*jpg: its checksum differs"):
        file.load(1)
    assert same(file.load(2), SAMPLES[2])


def test_a_process_holds_a_sample_against_its_checksum_once(path: Path) -> None:
    file = SampleFile(path)
    file.load(0)
    with path.open("r+b") as handle:
        handle.write(bytes([file.pixels[0] ^ 1]))
    assert not same(file.load(0), SAMPLES[0])
    with pytest.raises(DamagedFileError):
        SampleFile(path).load(0)


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SampleFile(tmp_path / "x")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_large_file_is_mapped_and_never_read_as_a_whole_nor_sent_to_another_process(tmp_path: Path) -> None:
    big = sample(3, 512, 512)
    with (tmp_path / "x").open("wb") as handle:
        write_samples(handle, (big for _ in range(150)))
    before = resident_bytes()
    file = SampleFile(tmp_path / "x")
    assert same(file.load(100), big)
    assert isinstance(file.pixels, np.memmap) and file.pixels.nbytes > 150 * 2**20
    assert resident_bytes() - before < 30 * 2**20
    sent = pickle.dumps(file)
    assert len(sent) < 1000
    assert same(pickle.loads(sent).load(149), big)
