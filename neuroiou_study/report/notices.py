"""What lower layers have to say while a study runs, on the terminal."""

import contextlib
import logging
from collections.abc import Iterator

from rich.console import Console

from neuroiou_study.core.data import cached


@contextlib.contextmanager
def notices(console: Console) -> Iterator[None]:
    """What this process says of its image cache is printed inside the block: how far it is, and why there is none."""
    log, handler = logging.getLogger(cached.__name__), _ToConsole(console)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class _ToConsole(logging.Handler):
    """Above a line that is being redrawn, where the console has one."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(self.format(record), soft_wrap=True, markup=False, highlight=False)
