"""Any data set as a folder: ``images/``, ``masks/``, and ``train.txt`` and ``val.txt`` with a name a line."""

from pathlib import Path

from neuroiou_study.core.data.dataset import Split
from neuroiou_study.core.data.files import FilesDataset, Pair, is_file, portion, read_names, require_disjoint

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class FolderDataset(FilesDataset):
    """A split of the folder at ``root``; the sample ``a/b`` is ``images/a/b.jpg`` (jpeg, png) and ``masks/a/b.png``.

    A mask holds the number of a name in ``class_names``, or ``ignore_index``, for each pixel. ``select`` is an evenly
    spaced ``select_fraction`` of ``train.txt``. Raises FileNotFoundError if the folder, a list or a listed file is
    missing, and ValueError if a name is in both lists.
    """

    title = "Data set"

    def __init__(
        self,
        root: Path | str,
        split: Split,
        class_names: tuple[str, ...],
        *,
        ignore_index: int = 255,
        background: int | None = None,
        size: tuple[int, int] | None = None,
        select_fraction: float = 0.2,
    ) -> None:
        self.class_names, self.ignore_index, self.background = class_names, ignore_index, background
        training, deciding = (_read_list(Path(root), name) for name in ("train", "val"))
        require_disjoint(f"{root}: train.txt", training, deciding, "remove them from one of train.txt, val.txt")
        names = deciding if split == "val" else portion(training, split, select_fraction)
        super().__init__(root, split, [_pair(Path(root), name) for name in names], size=size)

    def sample_name(self, image_path: Path) -> str:
        return image_path.relative_to(self.root / "images").as_posix()


def _read_list(root: Path, name: str) -> list[str]:
    path = root / f"{name}.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"data.root: {root}: must be a folder with images/, masks/, train.txt and val.txt, {name}.txt is missing: "
            "set data.root to it"
        )
    return read_names(root, path)


def _pair(root: Path, name: str) -> Pair:
    mask = root / "masks" / f"{name}.png"
    found = [path for path in (root / "images" / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES) if is_file(path)]
    if len(found) > 1:
        raise ValueError(f"{found[0]}: also there as {found[1].name}: a name needs one image: remove the others")
    # A path that is not there, so that the name is counted among the missing files.
    return (found[0] if found else root / "images" / f"{name}.{{jpg,jpeg,png}}"), mask
