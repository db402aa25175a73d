"""What all tests share: one thread, and the folders of real data, where there are any."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file with the tests on real clusters first: it is the longest, and the others run beside it."""
    items.sort(key=lambda item: item.path.name != "test_on_ray.py")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Here and in the programs that tests start: networks this small are slower with more, where cores are shared."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session", autouse=True)
def local_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests cache, in this process or another, is not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEUROIOU_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def camvid_small() -> Path:
    """The folder of the 60-image CamVid; set NEUROIOU_DATA to the folder that holds it."""
    return _folder("camvid_small")


@pytest.fixture(scope="session")
def camvid() -> Path:
    """The folder of the whole CamVid, SegNet layout; set NEUROIOU_DATA to the folder that holds it."""
    return _folder("camvid")


@pytest.fixture(scope="session")
def voc_sample() -> Path:
    """The folder of 54 images of PASCAL VOC 2012; set NEUROIOU_DATA to the folder that holds it."""
    return _folder("voc_sample")


@pytest.fixture(scope="session")
def cityscapes_sample() -> Path:
    """The folder of three images of Cityscapes; set NEUROIOU_DATA to the folder that holds it."""
    return _folder("cityscapes_sample")


def _folder(name: str) -> Path:
    data = Path(os.environ.get("NEUROIOU_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (data / name).is_dir():
        pytest.skip(f"needs {data / name}: set NEUROIOU_DATA to a folder with {name}")
    return data / name
