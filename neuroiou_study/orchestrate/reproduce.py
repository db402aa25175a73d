"""The paper's figures and tables anew: run the studies behind one, draw it, show it in MLflow.

Finished work in the store is used again, so targets that stand on one study run it once.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from neuroiou_study.orchestrate.paper_studies import Wish, chosen_targets, make_setting
from neuroiou_study.orchestrate.reproduce_view import ReproduceView
from neuroiou_study.orchestrate.study import run_study
from neuroiou_study.orchestrate.where import Where
from neuroiou_study.report.make_bars import make_bars, make_figure6, make_weighted_ce
from neuroiou_study.report.make_figure2 import make_figure2
from neuroiou_study.report.make_figure5 import make_figure5
from neuroiou_study.report.make_table1 import make_table1
from neuroiou_study.report.reproduced import Reproduction, Setting
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.check_data import check_data
from neuroiou_study.stages.news import News, Observer
from neuroiou_study.stages.store import Store

Make = Callable[[Setting, Store], Reproduction]
_MAKE: Mapping[str, Make] = {
    "fig2": lambda setting, _: make_figure2(setting),
    "table1": make_table1,
    "fig3": make_bars,
    "fig4": make_bars,
    "fig5": make_figure5,
    "fig6": make_figure6,
    "weighted-ce": make_weighted_ce,
}
Watched = Callable[[StudySpec], AbstractContextManager[Observer]]
"""Entered while a study is run; what it gives hears the study's news."""


@contextmanager
def unwatched(_: StudySpec) -> Iterator[Observer]:
    """For runs that nobody watches."""

    def observer(news: News) -> None:
        """Hears and says nothing."""

    yield observer


def plan(name: str, wish: Wish) -> list[Setting]:
    """What the target ``name``, or all of them, will be made from; every image of the data has been opened.

    Raises ValueError or FileNotFoundError, *where: value: rule: remedy*, at the first thing that is wrong.
    """
    settings = [make_setting(target, wish) for target in chosen_targets(name)]
    checked: set[str] = set()
    for study in _studies(settings):
        # Images are the same for all models; what differs is whether they fit a batch.
        key = f"{study.data!r} {study.pretrain.batch_size} {study.finetune.batch_size} {study.controls!r}"
        if key not in checked:
            for _ in check_data(study):
                pass
        checked.add(key)
    return settings


def _studies(settings: Sequence[Setting]) -> Iterator[StudySpec]:
    """Those behind ``settings``, each once."""
    yield from {study.identity: study for setting in settings for study in setting.studies.values()}.values()


def reproduce(
    setting: Setting, store: Store, where: Where, folder: Path, watched: Watched = unwatched
) -> tuple[Reproduction, list[Path]]:
    """Run what is missing of the studies, write the three files of the target into ``folder`` and show them in MLflow.

    Raises RuntimeError, ValueError or OSError if a study cannot be run or drawn.
    """
    for study in setting.studies.values():
        with watched(study) as observer:
            run_study(study, store, where, observer)
    made = _MAKE[setting.target](setting, store)
    files = made.write(folder)
    try:
        ReproduceView(where.tracking_uri).show(made, files)
    except ReproduceView.FAILURES as error:
        logging.getLogger(__name__).warning("MLflow does not show %s: %s: repeat the command", made.target, error)
    return made, files
