"""What a page is made of: sections with sentences, charts and tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from neuroiou_study.report.charts.chart import Chart
from neuroiou_study.report.page.pictures import PictureRow


@dataclass(frozen=True)
class Link:
    """Text that leads to ``url``, which is of http or https."""

    text: str
    url: str


@dataclass(frozen=True)
class PageTable:
    """A table; cells are text as a reader sees it, the first of a row names it."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Link]]
    is_folded: bool = False
    """Shown when it is asked for."""


@dataclass(frozen=True)
class Section:
    """A part of the page under one heading."""

    name: str
    title: str
    says: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[PageTable] = ()
    pictures: Sequence[PictureRow] = ()

    @property
    def is_empty(self) -> bool:
        """Is there nothing to show yet?"""
        return not (self.says or self.charts or self.tables or self.pictures)
