"""``neuroiou-study reproduce …``: the paper's figures and tables, ours beside the paper's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuroiou_study.given import default_tracking, given_store
from neuroiou_study.options import Backend, BackendName, LogFormat, LogFormatName, Set, StoreAt, TrackingUri
from neuroiou_study.terminal import FAILED, WRONG_INPUT, Stopped, end, err, out, stoppable

if TYPE_CHECKING:
    from neuroiou_study.orchestrate.paper_studies import Wish
    from neuroiou_study.orchestrate.where import Where
    from neuroiou_study.report.reproduced import Reproduction, Setting
    from neuroiou_study.stages.store import Store


def reproduce(
    target: Annotated[str, typer.Argument(help="fig2, table1, fig3, fig4, fig5, fig6, weighted-ce or all.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="ROOT", help="Holds VOCdevkit, cityscapes or camvid. Default: embedded shapes."),
    ] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Tiny studies: shows that it runs, not a result.")] = False,
    to: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the files; created.")] = Path(
        "reproduced"
    ),
    store: StoreAt = "./runs",
    tracking_uri: TrackingUri = "",
    backend: BackendName = Backend.ray,
    per_category: Annotated[
        bool, typer.Option("--per-category", help="For table1, one binary study for each class.")
    ] = False,
    overrides: Set = [],  # noqa: B006
    log_format: LogFormatName = LogFormat.auto,
) -> None:
    """Run the studies behind a figure or table of the paper and draw it, the paper's values beside ours."""
    from neuroiou_study.orchestrate.paper_data import find_data
    from neuroiou_study.orchestrate.paper_studies import Wish
    from neuroiou_study.orchestrate.uris import database
    from neuroiou_study.orchestrate.where import Where

    opened = given_store(store)
    uri = tracking_uri or default_tracking(opened)
    try:
        database(uri)
        settings = _plan(target, Wish(find_data(data), smoke, per_category, tuple(overrides)))
    except (ValueError, OSError, RuntimeError) as error:
        end(WRONG_INPUT, str(error))
    where = Where(backend.value, None, uri)
    failures = [failure for each in settings for failure in _one(each, opened, where, to, log_format)]
    out.print(f"All files: MLflow at {uri}, experiment reproduce", soft_wrap=True)
    if failures:
        end(FAILED, "\n".join(failures))


def _plan(target: str, wish: Wish) -> list[Setting]:
    from neuroiou_study.orchestrate import reproduce

    return reproduce.plan(target, wish)


def _one(setting: Setting, store: Store, where: Where, folder: Path, log_format: LogFormat) -> list[str]:
    """Make one target and say what came out; returns what failed, so that the others are made all the same."""
    from neuroiou_study.orchestrate import reproduce
    from neuroiou_study.orchestrate.uris import redacted
    from neuroiou_study.report.live.observe import observed

    place = redacted(where.tracking_uri)
    try:
        with stoppable():
            made, files = reproduce.reproduce(
                setting, store, where, folder, lambda study: observed(study, store, err, log_format.value, place)
            )
    except (RuntimeError, ValueError, OSError) as error:
        return [f"{setting.target}: {error}"]
    except Stopped as stopped:
        end(stopped.exit_code, "stopped; the same command continues where it stopped")
    _say(made, files)
    return [f"{made.target}: {each}: no complete trial: see the errors above" for each in made.missing]


def _say(made: Reproduction, files: list[Path]) -> None:
    smoke = " (smoke: not a result)" if made.setting.is_smoke else ""
    out.print(f"{made.target}, data: {made.setting.data}{smoke}", soft_wrap=True, style="bold", markup=False)
    out.print(f"  {made.headline}", soft_wrap=True, markup=False)
    out.print(f"  {', '.join(map(str, files))}", soft_wrap=True, markup=False)
