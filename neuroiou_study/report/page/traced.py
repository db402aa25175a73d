"""Where every number of the page comes from: what it cost, the stages behind each trial, and how to do it again."""

import platform
from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch

from neuroiou_study import __version__
from neuroiou_study.report.page.section import Link, PageTable, Section
from neuroiou_study.report.status import cost_line
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.ledger import Entry, Ledger, total
from neuroiou_study.stages.made_with import made_with
from neuroiou_study.stages.mlflow_runs import MlflowRuns, mlflow_runs
from neuroiou_study.stages.records import StudyRecords, TrialRecord
from neuroiou_study.stages.store import Store


def traced_sections(study: StudySpec, store: Store, records: Sequence[TrialRecord]) -> list[Section]:
    """What the study took, and what it was made with and of; the ledger is read once for both."""
    entries = Ledger(study.identity, store).entries()
    return [_cost_section(entries), _reproduce_section(study, store, records, entries)]


def _cost_section(entries: Sequence[Entry]) -> Section:
    """What the study took, stage by stage."""
    if not entries:
        return Section("cost", "What it cost")
    by_stage: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_stage[entry.address.partition("/")[0]].append(entry)
    rows = [_cost_cells(stage, by_stage[stage]) for stage in by_stage]
    columns = ("stage", "attempts", "without a result", "hours", "CPU hours", "GPU hours", "hours lost")
    return Section("cost", "What it cost", [cost_line(total(entries))], (), [PageTable("By stage", columns, rows)])


def _cost_cells(stage: str, entries: Sequence[Entry]) -> list[str]:
    cost = total(entries)
    seconds = (cost.seconds, cost.cpu_seconds, cost.gpu_seconds, cost.lost_seconds)
    return [stage, str(cost.attempts), str(cost.unfinished), *(f"{each / 3600:.3f}" for each in seconds)]


def _reproduce_section(
    study: StudySpec, store: Store, records: Sequence[TrialRecord], entries: Sequence[Entry]
) -> Section:
    """The study, seeds, versions and machines, and the address of every result."""
    says = (
        "The study file is the whole recipe: run it again, anywhere; what is in the store is not made anew.",
        "Every address below is a folder in the store; every trial is a run in MLflow, with its name and the id below.",
    )
    everything, runs = [*records, *StudyRecords(study, store).confirmations()], mlflow_runs(study, store)
    stages = [cells for record in everything for cells in _stage_cells(record)]
    tables = [
        PageTable("How it was made", ("what", "value"), list(_facts(study, store, entries, runs))),
        PageTable("The results behind each trial", ("trial", "seed", "stage", "address"), stages, is_folded=True),
    ]
    if runs is not None:
        rows = _run_rows(everything, runs)
        tables.append(PageTable("The MLflow run of each trial", ("trial", "run"), rows, is_folded=True))
    return Section("reproduce", "How to reproduce it", says, (), tables)


def _facts(
    study: StudySpec, store: Store, entries: Sequence[Entry], runs: MlflowRuns | None
) -> Iterator[tuple[str, str | Link]]:
    devices = sorted({entry.device for entry in entries if entry.device})
    yield "study", f"{study.name} ({study.identity})"
    yield "command", "neuroiou-study run FILE, with the file that `study.json` of the store keeps"
    yield "store", store.address
    where = f"experiment {study.identity} at {runs.uri}" if runs else "not shown to the end of a study yet"
    yield "MLflow", _linked(where, runs.page("summary") if runs else None)
    yield "seeds of the search", ", ".join(map(str, study.seeds))
    yield "fresh seeds", ", ".join(map(str, study.fresh_seeds)) or "none"
    yield "workers of a trial", str(study.resources.workers)
    yield "computed on", ", ".join(devices) or "not noted"
    for number, made in enumerate(made_with(study, store), 1):
        code = f"neuroiou-study {made.version}, git {made.revision or 'not known'}, torch {made.torch}"
        yield f"driver {number}", f"{code}, Python {made.python}, on {made.machine}"
    yield "this page", f"neuroiou-study {__version__}, torch {torch.__version__}, Python {platform.python_version()}"


def _stage_cells(record: TrialRecord) -> Iterator[list[str]]:
    for run in record.runs:
        for stage, address in run.stages.items():
            yield [record.assignment.name, str(run.seed), stage, address]


def _run_rows(records: Sequence[TrialRecord], runs: MlflowRuns) -> list[list[str | Link]]:
    names = [record.assignment.name for record in records]
    return [[name, _linked(runs.runs[name], runs.page(name))] for name in names if name in runs.runs]


def _linked(text: str, url: str | None) -> str | Link:
    return text if url is None else Link(text, url)
