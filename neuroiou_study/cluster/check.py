"""Is a cluster's file right? Offline, to the depth that Ray, Amazon, Google and KubeRay describe their own files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from neuroiou_study.cluster.checks.everywhere import check_everywhere
from neuroiou_study.cluster.checks.kuberay import API, check_kuberay
from neuroiou_study.cluster.checks.launcher import PROVIDERS, check_launcher
from neuroiou_study.cluster.checks.problem import Problem, items, mapping, wrong
from neuroiou_study.cluster.checks.sizes import compared
from neuroiou_study.spec import SpecError
from neuroiou_study.spec.base import Spec
from neuroiou_study.spec.cluster import ClusterSpec
from neuroiou_study.spec.document import read_document
from neuroiou_study.spec.explain import explain
from neuroiou_study.spec.prices import PricesSpec


def check(path: Path) -> list[Problem]:
    """Every mistake in the file at ``path``, *file: where: value: rule: remedy*, and notes; none if it is right.

    The file may be the small cluster file, what was rendered of it, changed by hand or not, or a price list.
    """
    try:
        document = read_document(path, ClusterSpec)
    except SpecError as error:
        return [Problem(line) for line in str(error).splitlines()]
    found = dict.fromkeys([*_of_kind(document), *check_everywhere(document)])
    return [Problem(f"{path}: {each.text}", each.is_note) for each in found]


def _of_kind(document: dict[str, Any]) -> Iterator[Problem]:
    if "apiVersion" in document:
        yield from check_kuberay(document)
    elif (kind := mapping(document.get("provider")).get("type")) in PROVIDERS:
        yield from check_launcher(document)
    elif "images" in document or "store" in document:
        yield from _cluster_file(document)
    elif "machines" in document:
        yield from _mistakes(document, PricesSpec)
    else:
        rule = f"must be {', '.join(PROVIDERS)}, or the file have apiVersion: {API}, images or machines: see cluster/"
        yield wrong("provider.type", kind, rule)


def _cluster_file(document: dict[str, Any]) -> Iterator[Problem]:
    mistakes = _mistakes(document, ClusterSpec)
    if mistakes:
        yield from mistakes
        return
    for provider in ("aws", "gcp"):
        for number, workers in enumerate(items(mapping(document.get(provider)).get("workers"))):
            yield from compared(f"{provider}.workers.{number}", ("cpus", "gpus"), workers, workers["instance"])


def _mistakes(document: dict[str, Any], kind: type[Spec]) -> list[Problem]:
    """What keeps ``document`` from being a ``kind``."""
    try:
        kind.model_validate(document)
    except ValidationError as error:
        return [Problem(line) for line in explain(error, document, kind)]
    return []
