"""What all commands share: the two streams, exit codes, and how an error ends the program."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, TypeVar

import typer
from rich.console import Console

Result = TypeVar("Result")
DONE, FAILED, WRONG_INPUT, BUSY = 0, 1, 2, 3
EXIT_CODES = "Exit codes: 0 done, 1 the study failed, 2 the input is wrong, 3 another driver has the study, 130 "
EXIT_CODES += "interrupted, 143 terminated."

out = Console(highlight=False)
err = Console(stderr=True)


class Stopped(Exception):  # noqa: N818  not an error: somebody asked for it
    """The program was asked to stop, by Ctrl-C or SIGTERM."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


@contextmanager
def stoppable() -> Iterator[None]:
    """The block ends with Stopped on Ctrl-C or SIGTERM (``ray job stop``); a second one ends the program at once.

    What is half done then is what any death leaves: the same command continues it.
    """
    asked = list[int]()

    def stop(number: int, _: FrameType | None) -> None:
        if asked:
            os._exit(128 + number)
        asked.append(number)
        raise KeyboardInterrupt  # what libraries expect; Ray raises another in its place

    former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(asked[0] if asked else signal.SIGINT) from None
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def at_the_door(call: Callable[[], Result]) -> Result:
    """What ``call`` returns; input it finds wrong ends the program with exit code 2 and no traceback."""
    try:
        return call()
    except (ValueError, OSError, RuntimeError) as error:
        end(WRONG_INPUT, str(error))


def or_fail(call: Callable[[], Result]) -> Result:
    """What ``call`` returns; a world that is not as it must be ends the program with exit code 1."""
    try:
        return call()
    except (RuntimeError, ValueError, OSError) as error:
        end(FAILED, str(error))


def end(code: int, message: str) -> NoReturn:
    """End the program with ``message``."""
    err.print(message, style="red", soft_wrap=True, markup=False, highlight=False)
    raise typer.Exit(code)


def allow_code(allowed: bool) -> None:
    """What ``--allow-code`` does. Workers read it too: Ray's get it from ``orchestrate/cluster.py``."""
    if allowed:
        os.environ["NEUROIOU_ALLOW_CODE"] = "1"


def is_quiet() -> bool:
    """Is nobody watching?"""
    return not err.is_terminal


def print_json(document: object) -> None:
    """Print ``document`` for a program."""
    sys.stdout.write(json.dumps(_without_nan(document), indent=2, allow_nan=False) + "\n")


def _without_nan(document: object) -> object:
    """``document`` with null for what has no value: JSON has no NaN."""
    if isinstance(document, dict):
        return {name: _without_nan(value) for name, value in document.items()}
    if isinstance(document, list | tuple):
        return [_without_nan(value) for value in document]
    return None if isinstance(document, float) and document != document else document
