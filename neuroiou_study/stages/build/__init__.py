"""From a spec to the object it describes: the only place that matches on names."""

from neuroiou_study.stages.build.data import augment, dataset
from neuroiou_study.stages.build.loss import loss
from neuroiou_study.stages.build.model import model
from neuroiou_study.stages.build.surrogate import fit_settings, surrogate_config
from neuroiou_study.stages.build.training import optimizer, schedule

__all__ = ["augment", "dataset", "fit_settings", "loss", "model", "optimizer", "schedule", "surrogate_config"]
