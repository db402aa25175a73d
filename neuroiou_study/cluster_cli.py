"""``neuroiou-study cluster …``: the machines on which studies run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuroiou_study.cluster.render import Kind, Provider
from neuroiou_study.terminal import WRONG_INPUT, at_the_door, err, out

app = typer.Typer(help="Make and check the files that start a cluster.", no_args_is_help=True)
DEFAULT_TOKEN = Path("~/.ray/auth_token")


@app.command()
def render(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The cluster file, such as cluster/cluster.yaml.")],
    provider: Annotated[Provider, typer.Option(help="Whose file to make.")],
    kind: Annotated[Kind, typer.Option(help="For kuberay: one study, or a cluster that stays.")] = Kind.job,
    overrides: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="--set aws.disk_gb=300; repeatable.")
    ] = [],  # noqa: B006
    to: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there. Default: print it.")] = None,
) -> None:
    """Make a provider's own file: for `ray up` (aws, gcp, onprem) or `kubectl apply` (kuberay)."""
    from neuroiou_study.cluster.render import render as rendered
    from neuroiou_study.spec.cluster import ClusterSpec
    from neuroiou_study.spec.document import load_document

    text = at_the_door(lambda: rendered(load_document(file, overrides, ClusterSpec), provider, kind))
    if to is None:
        typer.echo(text, nl=False)
        return
    at_the_door(lambda: to.write_text(text, encoding="utf-8"))
    out.print(f"{to}: written; its first lines say what to do with it", soft_wrap=True)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Cluster files, and providers' own.")],
) -> None:
    """Name every mistake in files that start a cluster, before a machine is rented. Needs no network."""
    from neuroiou_study.cluster.check import check as problems

    found = {file: problems(file) for file in files}
    for file, each in found.items():
        for problem in each:
            shown = f"note: {problem.text}" if problem.is_note else problem.text
            err.print(shown, style=None if problem.is_note else "red", soft_wrap=True, markup=False, highlight=False)
        if all(problem.is_note for problem in each):
            out.print(f"{file}: right", soft_wrap=True)
    if not all(problem.is_note for each in found.values() for problem in each):
        raise typer.Exit(WRONG_INPUT)


@app.command()
def token(
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="Where; created, for you alone.")] = DEFAULT_TOKEN,
) -> None:
    """Make the token that all nodes of a cluster ask for; it is carried to them and is in no other file."""
    from neuroiou_study.cluster.token import make_token

    path = to.expanduser()
    at_the_door(lambda: make_token(path))
    out.print(f"{path}: a new token. Say so to Ray: export RAY_AUTH_MODE=token", soft_wrap=True)
