"""A running study on a terminal: a bar for what each worker is at, the best trials, cost, time left."""

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from neuroiou_study.report.live.standing import Standing
from neuroiou_study.report.status import cost_line
from neuroiou_study.report.tables import in_words
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.ledger import Total
from neuroiou_study.stages.news import Ended, News

LOOK_SECONDS = 30.0
"""How long a cost is shown before it is asked for again: it is the sum of many files; *assumed*."""
BARS, BEST = 8, 5
SHOWN = "select_miou"


class LiveView:
    """Shows the news of a study while the block runs. ``cost`` is asked what it took; ``places`` say where it is seen.

    What else is printed on ``console`` meanwhile stands above it.
    """

    def __init__(
        self, study: StudySpec, num_wanted: int, console: Console, cost: Callable[[], Total], places: str
    ) -> None:
        self._title, self._standing = f"Study {study.identity} · {places}", Standing(num_wanted)
        self._cost, self._total, self._looked = cost, cost(), time.monotonic()
        self._live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self._drawn)

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def __call__(self, news: News) -> None:
        """Take in one piece of news."""
        self._standing.take(news)
        if isinstance(news, Ended) and time.monotonic() - self._looked > LOOK_SECONDS:
            self._total, self._looked = self._cost(), time.monotonic()

    def _drawn(self) -> Group:
        title = Text(self._title, style="bold", overflow="ellipsis", no_wrap=True)
        best = [self._best()] if self._standing.complete else []
        return Group(title, self._bars(), *best, Text(self._standing.in_words()), Text(cost_line(self._total)))

    def _bars(self) -> Table:
        table = Table.grid(padding=(0, 2))
        running = list(self._standing.running.items())
        for name, progress in running[:BARS]:
            table.add_row(name, *(_bar(progress) if progress else ("starting",)))
        if not running:
            table.add_row("starting")
        if len(running) > BARS:
            table.add_row(f"… and {len(running) - BARS} more")
        return table

    def _best(self) -> Table:
        table = Table(title=f"Best of {len(self._standing.complete)} complete trials", title_justify="left")
        table.add_column("trial", no_wrap=True)
        table.add_column("select mIoU", justify="right")
        table.add_column("values", overflow="ellipsis", no_wrap=True)
        for record in self._standing.complete[:BEST]:
            table.add_row(record.assignment.name, f"{record.score:.4f}", in_words(record.assignment.values))
        return table


def _bar(progress: Progress) -> tuple[Text, ProgressBar, Text]:
    """The columns of one line: stage, how far it is, what it has reached."""
    reached = f"  {SHOWN} {progress.metrics[SHOWN]:.4f}" if SHOWN in progress.metrics else ""
    bar = ProgressBar(total=progress.epochs, completed=progress.epoch, width=24)
    return Text(progress.stage), bar, Text(f"{progress.epoch}/{progress.epochs}{reached}")
