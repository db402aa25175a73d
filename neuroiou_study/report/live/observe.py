"""How a running study is told of: to a person at a terminal, to a log, to a program."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

from rich.console import Console

from neuroiou_study.report.live.event_log import EventLog
from neuroiou_study.report.live.live_view import LiveView
from neuroiou_study.report.live.notices import notices
from neuroiou_study.report.status import num_runs
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.ledger import Ledger
from neuroiou_study.stages.news import Observer
from neuroiou_study.stages.store import Store

LogFormat = Literal["auto", "text", "json"]


@contextmanager
def observed(
    study: StudySpec, store: Store, console: Console, log_format: LogFormat, tracking: str
) -> Iterator[Observer]:
    """What news of ``study`` are given to inside the block; warnings of this package are told in the same way.

    ``auto`` is a live view where ``console`` is a terminal, and else a line for each event. ``tracking`` says where
    MLflow is, without secrets.
    """
    in_json, say = log_format == "json", _sayer(console)
    is_live = log_format == "auto" and console.is_terminal
    with (
        notices(say, in_json=in_json),
        _view(study, store, console, tracking)
        if is_live
        else nullcontext(EventLog(num_runs(study), say, as_json=in_json)) as observer,
    ):
        yield observer


def _view(study: StudySpec, store: Store, console: Console, tracking: str) -> LiveView:
    cost = Ledger(study.identity, store).total
    return LiveView(study, num_runs(study), console, cost, f"store {store.address} · MLflow {tracking}")


def _sayer(console: Console) -> Callable[[str], None]:
    def say(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False, highlight=False)

    return say
