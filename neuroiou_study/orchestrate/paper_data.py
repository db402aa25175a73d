"""Which of the paper's data sets are at hand, and what stands in for those that are not."""

import json
from dataclasses import dataclass
from pathlib import Path

TITLES = {"voc": "PASCAL VOC 2011", "cityscapes": "Cityscapes", "camvid": "CamVid", "shapes": "the embedded shapes"}
_VGG16 = {"fcn8s": "vgg16-397923af.pth", "segnet": "vgg16_bn-6c64b313.pth"}
"""torchvision's names of the weights that a network starts from; *cited*."""


@dataclass(frozen=True)
class Source:
    """A data set that a target is made on."""

    kind: str
    """``voc``, ``cityscapes``, ``camvid`` or ``shapes``."""
    title: str
    is_papers: bool
    overrides: tuple[str, ...] = ()
    """``key=value`` that puts the data set into a study file of its kind."""
    weights: Path | None = None
    """Where torchvision's VGG-16 files may be."""

    def weights_override(self, model: str) -> tuple[str, ...]:
        """``model.weights=…`` if there is a file for ``model`` beside the data."""
        path = self.weights / _VGG16[model] if self.weights and model in _VGG16 else None
        return (f"model.weights={json.dumps(str(path))}",) if path and path.is_file() else ()


@dataclass(frozen=True)
class DataAtHand:
    """Folders of data sets, as far as they are there. Without any, the embedded shapes."""

    root: Path | None = None
    voc: Path | None = None
    voc_year: str = "2011"
    cityscapes: Path | None = None
    camvid: Path | None = None

    def source(self, *wanted: str) -> Source:
        """The first of the paper's data sets ``wanted`` that is there, else CamVid, else shapes."""
        for kind in wanted:
            if (path := self._folder(kind)) is not None:
                return self._papers(kind, path)
        papers = " or ".join(TITLES[kind] for kind in wanted)
        kind = "shapes" if self.camvid is None else "camvid"
        overrides = () if self.camvid is None else (_root(self.camvid),)
        return Source(kind, f"{TITLES[kind]} (the paper: {papers})", False, overrides)

    def _folder(self, kind: str) -> Path | None:
        return self.voc if kind == "voc" else self.cityscapes

    def _papers(self, kind: str, path: Path) -> Source:
        if kind == "voc" and self.voc_year != "2011":
            title = f"PASCAL VOC {self.voc_year} (the paper: 2011)"
            return Source(kind, title, True, (_root(path), f'data.year="{self.voc_year}"'), self.root)
        return Source(kind, TITLES[kind], True, (_root(path),), self.root)


def find_data(root: Path | None) -> DataAtHand:
    """What is in ``root``: VOCdevkit, cityscapes and camvid, or one of them itself.

    Raises FileNotFoundError if ``root`` is given and holds none of them.
    """
    if root is None:
        return DataAtHand()
    root = root.expanduser().absolute()
    if not root.is_dir():
        raise FileNotFoundError(f"--data: {root}: must be a folder: correct the path")
    voc, year = _voc(root)
    cityscapes = _first(root, "cityscapes", "leftImg8bit")
    camvid = _first(root, "camvid", "train.txt")
    if not (voc or cityscapes or camvid):
        rule = "must hold VOCdevkit (with VOC2011 or VOC2012), cityscapes or camvid, or be one of them"
        raise FileNotFoundError(f"--data: {root}: {rule}: correct the path, or leave --data out for embedded shapes")
    return DataAtHand(root, voc, year, cityscapes, camvid)


def _voc(root: Path) -> tuple[Path | None, str]:
    """The folder that holds ``VOC<year>``, and the year: the paper's if it is there."""
    for year in ("2011", "2012"):
        for folder in (root, root / "VOCdevkit"):
            if (folder / f"VOC{year}").is_dir():
                return folder, year
    return None, "2011"


def _first(root: Path, name: str, content: str) -> Path | None:
    """``root/name`` or ``root``, whichever has ``content``."""
    return next((folder for folder in (root / name, root) if (folder / content).exists()), None)


def _root(path: Path) -> str:
    # Quoted: to YAML a path may look like something else.
    return f"data.root={json.dumps(str(path))}"
