"""Samples in one file that all processes of a machine can map: pixels, then an index with a checksum of each sample.

Layout: image and labels of sample 0, of sample 1, …; the index, JSON rows of ``name, height, width, crc32``; the length
and the CRC-32 of the index, and the format's name. A file that was not written to its end has no index.
"""

import json
import struct
import zlib
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroiou_study.core.data.dataset import Sample

_FORMAT = b"NIOUIMG1"
_TRAILER = struct.Struct("<QI8s")
_CHANNELS = 3


class DamagedFileError(ValueError):
    """A file of samples is cut short, or its content is not what was written; the message names file and sample."""


class _Entry(NamedTuple):
    name: str
    height: int
    width: int
    crc32: int

    @property
    def num_bytes(self) -> int:
        return self.height * self.width * (_CHANNELS + 1)


def write_samples(file: BinaryIO, samples: Iterable[Sample]) -> None:
    """Write ``samples`` to ``file``, one at a time, and their index."""
    entries = []
    for image, labels, name in samples:
        pixels = image.tobytes() + labels.tobytes()
        file.write(pixels)
        height, width = labels.shape
        entries.append(_Entry(name, height, width, zlib.crc32(pixels)))
    index = json.dumps(entries).encode()
    file.write(index)
    file.write(_TRAILER.pack(len(index), zlib.crc32(index), _FORMAT))


class SampleFile:
    """The samples in the file at ``path``, mapped into memory, whatever their sizes.

    A sample is held against its checksum when it is first loaded. Raises OSError if there is no such file, and
    DamagedFileError if it is not whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pixels = _mapped(path)
        self._entries = _read_index(path, self.pixels)
        self._offsets = list(accumulate((entry.num_bytes for entry in self._entries), initial=0))
        self._is_checked = bytearray(len(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, index: int) -> Sample:
        """Sample ``index``, copied. Raises DamagedFileError if its bytes have changed."""
        entry = self._entries[index]
        pixels = self.pixels[self._offsets[index] : self._offsets[index + 1]]
        if not self._is_checked[index]:
            if zlib.crc32(pixels.data) != entry.crc32:
                raise DamagedFileError(f"{self.path}: {entry.name}: its checksum differs")
            self._is_checked[index] = True
        labels_at = entry.height * entry.width * _CHANNELS
        return Sample(
            np.array(pixels[:labels_at]).reshape(entry.height, entry.width, _CHANNELS),
            np.array(pixels[labels_at:]).reshape(entry.height, entry.width),
            entry.name,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # A process that is not forked maps the file itself; pickled, the map would be all of its bytes.
        return SampleFile, (self.path,)


def _mapped(path: Path) -> NDArray[np.uint8]:
    if path.stat().st_size < _TRAILER.size:
        raise DamagedFileError(f"{path}: {path.stat().st_size} bytes: it is not whole")
    return np.memmap(path, dtype=np.uint8, mode="r")


def _read_index(path: Path, content: NDArray[np.uint8]) -> list[_Entry]:
    length, crc32, name = _TRAILER.unpack(content[-_TRAILER.size :].tobytes())
    begin = content.size - _TRAILER.size - length
    if name != _FORMAT or begin < 0:
        raise DamagedFileError(f"{path}: it is not whole")
    index = content[begin : begin + length].tobytes()
    if zlib.crc32(index) != crc32:
        raise DamagedFileError(f"{path}: the checksum of its index differs")
    entries = [_Entry(*row) for row in json.loads(index)]
    if sum(entry.num_bytes for entry in entries) != begin:
        raise DamagedFileError(f"{path}: it has not the length that its index says")
    return entries
