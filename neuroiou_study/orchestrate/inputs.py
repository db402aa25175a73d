"""The data of a study as MLflow's data set inputs."""

import hashlib
import json

from mlflow.entities import Dataset, DatasetInput, InputTag

from neuroiou_study.spec import StudySpec

SPLITS = {"train": "fits", "select": "chooses", "val": "decides"}
"""Split → what it does."""


def dataset_inputs(study: StudySpec) -> list[DatasetInput]:
    """The splits of the study's data. The digest is of what the file says of them: equal data, equal digest."""
    document = study.data.model_dump(mode="json", exclude={"augment"})
    source = json.dumps(document, sort_keys=True)
    digest = hashlib.sha256(source.encode()).hexdigest()[:8]
    kind = "s3" if str(document.get("root", "")).startswith("s3://") else "local"
    return [
        DatasetInput(
            Dataset(name=f"{study.data.name}-{split}", digest=digest, source_type=kind, source=source),
            [InputTag("mlflow.data.context", f"{split}: {does}")],
        )
        for split, does in SPLITS.items()
    ]
