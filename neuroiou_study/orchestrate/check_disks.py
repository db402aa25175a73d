"""Is there room on the disks for what a study leaves?"""

import shutil

from neuroiou_study.orchestrate.findings import Outcome, nearest, passed, skipped, warned
from neuroiou_study.spec import StudySpec
from neuroiou_study.spec.model import CustomModelSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.local_folder import local_folder
from neuroiou_study.stages.store import Store

CHECKPOINTS = 6
"""An old and a new checkpoint of network and Adam's two moments."""
_GIB = 2**30


def check_disks(study: StudySpec, store: Store) -> Outcome:
    """A warning if the networks that the study leaves, or its checkpoints, may not fit where they go."""
    model = bytes_of_network(study)
    if model is None:
        return skipped("the size of a network of yours is known when it is built")
    kept = (sum(map(study.num_trials, study.arms)) + 1 + study.pretrain.snapshots) * len(study.seeds)
    needs = {store.scratch: (kept + CHECKPOINTS) * model, local_folder("images"): _bytes_of_images(study)}
    free = {folder: shutil.disk_usage(nearest(folder)).free for folder in needs}
    rows = [f"{each}: {free[each] / _GIB:.1f} GiB free, about {need / _GIB:.1f} needed" for each, need in needs.items()]
    if all(free[folder] > need for folder, need in needs.items()):
        return passed("; ".join(rows))
    return warned(f"{'; '.join(rows)}: make room or choose others")


def bytes_of_network(study: StudySpec) -> int | None:
    """The weights of the largest network of ``study``, without building it; None for a custom one."""
    import torch

    from neuroiou_study.orchestrate.trial_step import largest_trials

    specs = {repr(trial.model): trial.model for trial in largest_trials(study)}.values()
    if any(isinstance(spec, CustomModelSpec) for spec in specs):
        return None
    num_classes = build.dataset(study.data, "train").num_classes
    with torch.device("meta"):
        networks = [build.model(spec, num_classes, 0) for spec in specs]
    sizes: list[int] = [sum(value.nbytes for value in network.state_dict().values()) for network in networks]
    return max(sizes)


def _bytes_of_images(study: StudySpec) -> int:
    """Of the cache of decoded images; 0 where there is none, or images of many sizes."""
    if study.data.name == "shapes" or study.data.size is None or not study.resources.image_cache:
        return 0
    height, width = study.data.size
    return sum(len(build.dataset(study.data, split)) for split in ("train", "select", "val")) * height * width * 4
