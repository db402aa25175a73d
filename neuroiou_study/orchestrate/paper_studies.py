"""The studies behind each figure and table of the paper: files of ``search_spaces/`` and what is changed in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import neuroiou_study
from neuroiou_study.orchestrate.paper_data import DataAtHand, Source
from neuroiou_study.report.make_bars import foreground
from neuroiou_study.report.reproduced import Setting
from neuroiou_study.spec import StudySpec, load_study

TARGETS = ("fig2", "table1", "fig3", "fig4", "fig5", "fig6", "weighted-ce")
ALL = "all"
MODELS = ("fcn8s", "segnet", "unet")

_WANTED = {
    **{"fig2": (), "table1": ("voc",), "fig3": ("voc",), "fig4": ("cityscapes",)},
    **{"fig5": ("cityscapes", "voc"), "fig6": ("voc",), "weighted-ce": ("cityscapes",)},
}
"""Target → the paper's data for it; figure 5 shows streets, and may show anything."""

_File = tuple[str, tuple[str, ...]]
"""A file's name without .yaml, and overrides."""
_LOSSES = ("table1", "fig5", "fig6", "weighted-ce")
_PAPERS_FILES: Mapping[tuple[str, str], _File] = {
    ("voc", "table1"): ("paper_table1", ()),
    ("voc", "fig6"): ("paper_fig6", ()),
    ("voc", "fig5"): ("voc2011_fcn8s", ()),
    ("voc", "fcn8s"): ("voc2011_fcn8s", ()),
    # Batch normalisation needs some images.
    ("voc", "segnet"): ("voc2011_fcn8s", ("model={name: segnet}", "pretrain.batch_size=4", "finetune.batch_size=4")),
    ("voc", "unet"): ("voc2011_fcn8s", ("model={name: unet, width: 64}",)),
    ("cityscapes", "fig5"): ("cityscapes_segnet", ("model={name: fcn8s}",)),
    ("cityscapes", "weighted-ce"): ("cityscapes_segnet", ("model={name: fcn8s}",)),
    ("cityscapes", "fcn8s"): ("cityscapes_segnet", ("model={name: fcn8s}",)),
    ("cityscapes", "segnet"): ("cityscapes_segnet", ()),
    ("cityscapes", "unet"): ("cityscapes_unet", ()),
}
_FILES: Mapping[tuple[str, str], _File] = {
    **_PAPERS_FILES,
    **{(kind, model): (f"camvid_{model}", ()) for kind in ("camvid", "shapes") for model in MODELS},
    **{(kind, target): ("paper_camvid", ()) for kind in ("camvid", "shapes") for target in _LOSSES},
}
"""(Data, what for) → the file."""

_SHAPES = ("data={name: shapes}",)
_SMOKE = (
    *("gate.enabled=false", "budget.max_trials=1", "confirm=null", "seeds=[0]", "pruner={name: none}"),
    *("pretrain.epochs=1", "pretrain.batch_size=4", "pretrain.lr=1e-2", "pretrain.optimizer={name: adamw}"),
    *("finetune.epochs=1", "finetune.batch_size=4", "finetune.lr=1e-3", "finetune.optimizer={name: adamw}"),
    *("fit_surrogate.epochs=3", "fit_surrogate.depth=1", "fit_surrogate.width=8"),
)
_SMOKE_MODELS = {
    "fcn8s": "model={name: fcn8s, width: 2}",
    "segnet": "model={name: segnet, width: 2}",
    "unet": "model={name: unet, width: 4, levels: 2}",
}
_SMOKE_SHAPES = (
    *("data={name: shapes, num_train: 16, num_select: 4, num_val: 6, size: [32, 48]}",),
    *("pretrain.epochs=6", "finetune.epochs=2"),
)
_SMOKE_FILES = ("data.size=[32, 48]",)
"""An epoch of all images; opening them takes most of the time."""


@dataclass(frozen=True)
class Wish:
    """What a person asked for."""

    data: DataAtHand
    is_smoke: bool = False
    is_by_category: bool = False
    overrides: tuple[str, ...] = ()
    """``key=value`` for every study."""


def chosen_targets(name: str) -> tuple[str, ...]:
    """The targets that ``name`` stands for. Raises ValueError for a name that is none."""
    if name == ALL:
        return TARGETS
    if name not in TARGETS:
        raise ValueError(f"reproduce: {name}: must be one of {', '.join((*TARGETS, ALL))}: choose one")
    return (name,)


def make_setting(target: str, wish: Wish) -> Setting:
    """What ``target`` is to be made from. Raises SpecError or FileNotFoundError if a study file is not right."""
    if target == "fig2":
        return Setting(target, "none needed (a function)", "", True, wish.is_smoke)
    source = wish.data.source(*_WANTED[target])
    by_category = wish.is_by_category and target == "table1"
    studies = _studies(target, source, wish)
    if by_category:
        studies = {name: _study(target, source, wish, name) for name in foreground(studies[target])}
    return Setting(target, source.title, source.kind, source.is_papers, wish.is_smoke, by_category, studies)


def _studies(target: str, source: Source, wish: Wish) -> dict[str, StudySpec]:
    uses: Sequence[str] = MODELS if target in ("fig3", "fig4") else (target,)
    return {use: _study(use, source, wish) for use in uses}


def _study(use: str, source: Source, wish: Wish, category: str | None = None) -> StudySpec:
    file, changes = _FILES[source.kind, use]
    path = find_search_space(file)
    changes = (*changes, *(_SHAPES if source.kind == "shapes" else source.overrides))
    model = load_study(path, changes).model.name
    changes += source.weights_override(model)
    if wish.is_smoke:
        changes += (*_SMOKE, _SMOKE_MODELS[model], *(_SMOKE_SHAPES if source.kind == "shapes" else _SMOKE_FILES))
    if category is not None:
        changes += (f"data.category={category}",)
    name = _name(file, source.kind, model, category, wish.is_smoke)
    return load_study(path, [f"name={name}", *changes, *wish.overrides])


def _name(file: str, kind: str, model: str, category: str | None, is_smoke: bool) -> str:
    """The file's name if nothing else is run from it, else one that says what is different."""
    name = file.replace("camvid", kind)
    if kind in ("voc", "cityscapes") and not file.startswith("paper_"):
        name = f"{file.split('_')[0]}_{model}"
    parts = (name, (category or "").replace(" ", "_"), "smoke" if is_smoke else "")
    return "_".join(part for part in parts if part)


def find_search_space(name: str) -> Path:
    """``search_spaces/<name>.yaml`` of the working directory, else of the repository.

    Raises FileNotFoundError if neither has it.
    """
    folders = (Path.cwd(), Path(neuroiou_study.__file__).parents[1])
    for folder in folders:
        path = folder / "search_spaces" / f"{name}.yaml"
        if path.is_file():
            return path
    rule = "must be in the working directory or beside the package"
    raise FileNotFoundError(f"search_spaces/{name}.yaml: not in {folders[0]}: {rule}: change to the repository")
