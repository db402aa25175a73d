"""Which surrogate loss makes MY segmentation model better on MY data?

The layers, lowest first; each imports downwards only:

* ``core``        plain PyTorch: counts, surrogates, losses, fidelity, training
* ``spec``        what a study file may say
* ``stages``      pretrain → collect_pairs → fit_surrogate → finetune → evaluate, each once per address in the store
* ``orchestrate`` the search: Ray Tune, Optuna, MLflow
* ``report``      the store as tables
* ``cli``         ``neuroiou-study …``
"""

__version__ = "0.1.0"
