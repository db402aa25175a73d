"""``neuroiou-study plan FILE``: what a study would do, and with a price list what that would cost."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuroiou_study import terminal
from neuroiou_study.given import given_store, given_study
from neuroiou_study.options import AllowCode, AsJson, File, Set, StoreAt
from neuroiou_study.spec import StudySpec
from neuroiou_study.spec.document import load_document
from neuroiou_study.spec.prices import PricesSpec
from neuroiou_study.terminal import Stopped, at_the_door, end, err, or_fail, out, print_json, stoppable

if TYPE_CHECKING:
    from neuroiou_study.report.estimate import Speedups
    from neuroiou_study.report.plan import Plan
    from neuroiou_study.stages.backend import Progress
    from neuroiou_study.stages.store import Store


def plan(
    file: File,
    overrides: Set = [],  # noqa: B006
    store: StoreAt = "./runs",
    prices: Annotated[
        Path | None,
        typer.Option(
            "--prices",
            metavar="LIST",
            help="Hours, machines and money of what is still to be run. Copy cluster/prices.yaml and fill in yours.",
        ),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="First run a trial of each arm here, for three epochs, to know what stages take that this study has "
            "not run yet. Kept beside the study, not as a part of it.",
        ),
    ] = False,
    speedup: Annotated[
        list[str],
        typer.Option(
            "--speedup",
            metavar="[MACHINE=]FACTOR",
            help="Machines of the list, or one of them, are so many times as fast as what was measured; repeatable.",
        ),
    ] = [],  # noqa: B006
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Say what a study would do, what of it is in the store already, and what the rest would cost.

    Costs are made from the seconds that the study's own stages took. Run its first trial of each arm on the machines it
    is meant for, with `neuroiou-study run FILE --set budget.max_trials=1 --set confirm=null` (they count), or measure
    here with --calibrate. `--set resources.trials_at_once=8` asks for the machines of eight trials at once.
    """
    terminal.allow_code(allow_code)
    study, opened = given_study(file, overrides), given_store(store)
    listed = None if prices is None else _prices(prices)
    speedups = at_the_door(lambda: _speedups(speedup, listed))
    if calibrate:
        _calibrate(study, opened)
    costs = calibrate or listed is not None
    made = at_the_door(lambda: _make_plan(study, opened, costs, listed, speedups))
    print_json(made.as_document()) if as_json else _show(study, made)


def summary(study: StudySpec) -> str:
    """A study in a sentence."""
    trials = ", ".join(f"{arm} {study.num_trials(arm)}" for arm in study.arms)
    seeds = f"{len(study.seeds)} seed{'s' if len(study.seeds) > 1 else ''}"
    arms = ", ".join(study.screened_arms)
    screened = f", of {study.screen.surrogates} screened surrogates each: {arms}" if study.screen else ""
    confirmed = f", confirmed on {len(study.fresh_seeds)} fresh seeds" if study.confirm else ""
    return f"Study {study.identity}: {len(study.search)} ranges, {seeds}, trials: {trials}{screened}{confirmed}."


def _prices(path: Path) -> PricesSpec:
    return at_the_door(lambda: load_document(path, [], PricesSpec))


def _speedups(texts: list[str], prices: PricesSpec | None) -> dict[str, float]:
    """Name of a machine → its factor; one without a name is every machine's that has none of its own."""
    if prices is None:
        if texts:
            raise ValueError(f"--speedup {texts[0]}: is of a machine in a price list: add --prices")
        return {}
    names, of_all, of_one = [machine.name for machine in prices.machines], dict[str, float](), dict[str, float]()
    for text in texts:
        name, _, number = text.rpartition("=")
        if name and name not in names:
            raise ValueError(f"--speedup {text}: must name a machine of the price list: choose of {', '.join(names)}")
        of_one |= {name: _factor(text, number)} if name else {}
        of_all |= {} if name else dict.fromkeys(names, _factor(text, number))
    return of_all | of_one


def _factor(text: str, number: str) -> float:
    try:
        factor = float(number)
    except ValueError:
        factor = 0.0
    if not 0 < factor <= 1e4:
        raise ValueError(f"--speedup {text}: must be a number above 0, or MACHINE=NUMBER: write for example 8")
    return factor


def _calibrate(study: StudySpec, store: Store) -> None:
    from neuroiou_study.stages.calibrate import calibrate

    if study.model.note:
        err.print(study.model.note, soft_wrap=True)
    with err.status("calibrating") as status:

        def hear(progress: Progress) -> bool:
            status.update(f"calibrating: {progress.stage} {progress.epoch}/{progress.epochs}")
            return False

        try:
            with stoppable():
                or_fail(lambda: calibrate(study, store, hear))
        except Stopped as stopped:
            end(stopped.exit_code, "stopped: nothing was kept")


def _make_plan(study: StudySpec, store: Store, costs: bool, prices: PricesSpec | None, speedups: Speedups) -> Plan:
    from neuroiou_study.report.plan import make_estimate, make_plan

    today = datetime.datetime.now(datetime.UTC).date()
    return make_estimate(study, store, prices, speedups, today) if costs else make_plan(study, store)


def _show(study: StudySpec, made: Plan) -> None:
    from neuroiou_study.report.estimate_tables import choice, measured_table, offers_table
    from neuroiou_study.report.status import plan_table

    out.print(summary(study), soft_wrap=True)
    out.print(plan_table(made.stages))
    if made.measured:
        out.print(measured_table(made.measured))
    if made.prices is not None and not made.measured:
        out.print("Everything is in the store: nothing is left to pay for.")
    elif made.prices is not None:
        out.print(offers_table(made.offers, made.prices))
        out.print(choice(made.offers, made.prices.currency), soft_wrap=True)
        for note in made.notes:
            out.print(f"· {note}", soft_wrap=True, markup=False)
