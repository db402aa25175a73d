"""What else this program has to say while a study runs: warnings, and how far its image cache is."""

import contextlib
import logging
from collections.abc import Callable, Iterator

from neuroiou_study.core.data import cached
from neuroiou_study.report.live.event_log import as_json

PACKAGE = __name__.partition(".")[0]


@contextlib.contextmanager
def notices(say: Callable[[str], None], *, in_json: bool = False) -> Iterator[None]:
    """Inside the block ``say`` gets the warnings of this package, and what its image cache is doing."""
    package, cache, handler = logging.getLogger(PACKAGE), logging.getLogger(cached.__name__), _Saying(say, in_json)
    level = cache.level
    package.addHandler(handler)
    cache.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        cache.setLevel(level)


class _Saying(logging.Handler):
    def __init__(self, say: Callable[[str], None], in_json: bool) -> None:
        super().__init__()
        self._say, self._in_json = say, in_json

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        self._say(as_json({"event": record.levelname.lower(), "message": text}) if self._in_json else text)
