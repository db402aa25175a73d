"""Run a study on a cluster and print its news, a line of JSON each.

Usage: ``python -m tests.watched_study FILE STORE ADDRESS``. The first line says how many trials the cluster runs at
once, for shares of a GPU.
"""

import json
import sys
from pathlib import Path

from neuroiou_study.orchestrate.cluster import connected, trials_at_once
from neuroiou_study.orchestrate.study import run_study
from neuroiou_study.orchestrate.where import Where
from neuroiou_study.spec import load_study
from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.news import Ended, Epoch, News

SHARES = (0.25, 0.3, 0.5, 1.0)


def show(news: News) -> None:
    record = news.record if isinstance(news, Ended) else None
    assignment = record.assignment if record else news.assignment  # type: ignore[union-attr]
    stage = news.progress.stage if isinstance(news, Epoch) else None
    name = assignment.name if assignment else None
    print(json.dumps([type(news).__name__, name, stage, record and record.state]), flush=True)  # noqa: T201


def main(file: Path, store: Path, address: str) -> None:
    with connected(address):
        found = [trials_at_once(ResourcesSpec(cpus_per_worker=0.5, gpus_per_worker=share)) for share in SHARES]
    print(json.dumps(found), flush=True)  # noqa: T201
    run_study(load_study(file), FolderStore(store), Where("ray", address, f"sqlite:///{store / 'mlflow.db'}"), show)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
