"""A study's status, looked at again and again, by somebody who does not run it."""

import json
import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live

from neuroiou_study.report.status import Status, status_table


def watch_status(look: Callable[[], Status], console: Console, every_seconds: float, *, as_json: bool = False) -> None:
    """Show what ``look`` finds until nothing is left to run: in place on a terminal, else whenever it has changed."""
    if console.is_terminal and not as_json:
        _in_place(look, console, every_seconds)
        return
    shown = ""
    while True:
        found = look()
        text = json.dumps(found.as_document())
        if text != shown:
            console.print(text if as_json else status_table(found), soft_wrap=as_json, markup=False)
            shown = text
        if found.is_over:
            return
        time.sleep(every_seconds)


def _in_place(look: Callable[[], Status], console: Console, every_seconds: float) -> None:
    found = look()
    with Live(status_table(found), console=console, auto_refresh=False) as live:
        while not found.is_over:
            time.sleep(every_seconds)
            found = look()
            live.update(status_table(found), refresh=True)
