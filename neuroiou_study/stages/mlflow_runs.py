"""Which MLflow runs show the trials of a study, so that a report leads to them without asking MLflow."""

from pydantic import ValidationError

from neuroiou_study.spec import StudySpec
from neuroiou_study.spec.base import Spec
from neuroiou_study.stages.records import study_folder
from neuroiou_study.stages.store import Store


class MlflowRuns(Spec):
    """Where the study was shown last."""

    uri: str
    """Of the tracking server or database, without names and passwords."""
    experiment: str
    """MLflow's id of the study's experiment."""
    runs: dict[str, str]
    """Trial, or ``summary`` → MLflow's id of its run."""

    def page(self, trial: str) -> str | None:
        """The address of a run's page in the UI of the tracking server; None without a server or a run."""
        is_server = self.uri.startswith(("http://", "https://"))
        if not is_server or trial not in self.runs:
            return None
        return f"{self.uri.rstrip('/')}/#/experiments/{self.experiment}/runs/{self.runs[trial]}"


def note_mlflow_runs(study: StudySpec, store: Store, runs: MlflowRuns) -> None:
    """Write ``runs`` into the store, in the place of what was there."""
    store.write_json(_name(study), runs.model_dump(mode="json"))


def mlflow_runs(study: StudySpec, store: Store) -> MlflowRuns | None:
    """What was noted last; None for a study that no MLflow has shown to its end. Raises RuntimeError if damaged."""
    document = store.read_json(name := _name(study))
    try:
        return None if document is None else MlflowRuns.model_validate(document)
    except ValidationError as error:
        rule = "damaged: remove it, and `neuroiou-study sync` writes it anew"
        raise RuntimeError(f"{store.address}/{name}: {error.errors()[0]['msg']}: {rule}") from error


def _name(study: StudySpec) -> str:
    return f"{study_folder(study)}/mlflow_runs.json"
