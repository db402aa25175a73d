"""A file for KubeRay: its fields, and what makes its cluster safe and cheap."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from neuroiou_study.cluster.checks.kuberay_fields import Fields, RayCluster, RayJob
from neuroiou_study.cluster.checks.kuberay_job import check_job
from neuroiou_study.cluster.checks.nodes import LOOPBACK
from neuroiou_study.cluster.checks.pods import check_image, check_pod
from neuroiou_study.cluster.checks.problem import Problem, items, mapping, missing, note, wrong
from neuroiou_study.cluster.launcher import RAY_VERSION
from neuroiou_study.spec.explain import explain

KINDS: dict[str, type[Fields]] = {"RayCluster": RayCluster, "RayJob": RayJob}
API = "ray.io/v1"
LONGEST_NAME = {"RayCluster": 53, "RayJob": 47}
"""*cited*: KubeRay's validation, which leaves room for the names that it makes of them."""


def check_kuberay(document: dict[str, Any]) -> Iterator[Problem]:
    """Everything about a file whose ``apiVersion`` is API."""
    if document.get("apiVersion") != API:
        yield wrong("apiVersion", document.get("apiVersion"), f"must be {API}: change it")
        return
    kind = str(document.get("kind"))
    if kind not in KINDS:
        yield wrong("kind", document.get("kind"), f"must be {' or '.join(KINDS)}: change it")
        return
    try:
        KINDS[kind].model_validate(document)
    except ValidationError as error:
        yield from (Problem(line) for line in explain(error, document, KINDS[kind]))
    name = mapping(document.get("metadata")).get("name")
    if isinstance(name, str) and len(name) > LONGEST_NAME[kind]:
        yield wrong("metadata.name", name, f"must have at most {LONGEST_NAME[kind]} letters: shorten it")
    spec, where = mapping(document.get("spec")), "spec"
    if kind == "RayJob":
        yield from check_job(spec)
        spec, where = mapping(spec.get("rayClusterSpec")), "spec.rayClusterSpec"
    yield from _cluster(where, spec)


def _cluster(where: str, spec: dict[str, Any]) -> Iterator[Problem]:
    mode = mapping(spec.get("authOptions")).get("mode", "missing" if "authOptions" not in spec else "token")
    if mode != "token":
        yield wrong(f"{where}.authOptions.mode", mode, "must be token: nobody may use the cluster without it")
    if spec.get("rayVersion", RAY_VERSION) != RAY_VERSION:
        rule = f"must be that of the images, {RAY_VERSION}: the operator does what that version needs: change it"
        yield wrong(f"{where}.rayVersion", spec["rayVersion"], rule)
    yield from _autoscaler(where, spec)
    yield from _head(f"{where}.headGroupSpec", mapping(spec.get("headGroupSpec")))
    groups = [mapping(each) for each in items(spec.get("workerGroupSpecs"))]
    for number, group in enumerate(groups):
        yield from _workers(f"{where}.workerGroupSpecs[{number}]", group)
    names = [each.get("groupName") for each in groups]
    for name in sorted({str(each) for each in names if names.count(each) > 1}):
        yield wrong(f"{where}.workerGroupSpecs", name, "two groups have this name: rename one")
    yield from _order(f"{where}.workerGroupSpecs", groups)


def _autoscaler(where: str, spec: dict[str, Any]) -> Iterator[Problem]:
    if spec.get("enableInTreeAutoscaling") is not True:
        rule = "must be true: else no worker comes and none goes"
        yield wrong(f"{where}.enableInTreeAutoscaling", spec.get("enableInTreeAutoscaling", False), rule)
    options, at = mapping(spec.get("autoscalerOptions")), f"{where}.autoscalerOptions"
    if "idleTimeoutSeconds" not in options:
        yield missing(f"{at}.idleTimeoutSeconds", "a worker that is idle must go: say after how long")
    yield from check_image(f"{at}.image", options.get("image"))


def _head(where: str, head: dict[str, Any]) -> Iterator[Problem]:
    parameters = mapping(head.get("rayStartParams"))
    for name in ("num-cpus", "num-gpus"):
        number = parameters.get(name, "as many as it has")
        if str(number) != "0":
            yield wrong(f"{where}.rayStartParams.{name}", number, 'must be "0": the head runs no work')
    host = parameters.get("dashboard-host")
    if host in LOOPBACK:
        rule = "must be 0.0.0.0 in a pod: the operator could not reach it; authOptions keep others out"
        yield wrong(f"{where}.rayStartParams.dashboard-host", host, rule)
    service = mapping(mapping(head.get("headService")).get("spec")).get("type")
    opened = {key: head.get(key) for key in ("serviceType", "enableIngress")} | {"headService.spec.type": service}
    for key, value in opened.items():
        if value in ("LoadBalancer", "NodePort", True):
            rule = "must not open the dashboard to others: reach it by `kubectl port-forward`"
            yield wrong(f"{where}.{key}", value, rule)
    yield from check_pod(f"{where}.template.spec", head)


def _workers(where: str, group: dict[str, Any]) -> Iterator[Problem]:
    most = group.get("maxReplicas")
    for key in ("replicas", "minReplicas"):
        number = group.get(key, 0)
        if isinstance(number, int) and isinstance(most, int) and number > most:
            yield wrong(f"{where}.{key}", number, f"must be at most the {most} of maxReplicas: change either")
        elif number != 0:
            yield note(f"{where}.{key}", number, "so many are paid for from the beginning, with and without work")
    yield from check_pod(f"{where}.template.spec", group)


def _order(where: str, groups: list[dict[str, Any]]) -> Iterator[Problem]:
    """Groups that are marked as spot come before those that are marked otherwise."""
    marked = [
        (number, mapping(each.get("labels")).get("market"), each.get("priority", 0))
        for number, each in enumerate(groups)
    ]
    others = [priority for _, market, priority in marked if market not in ("spot", None) and isinstance(priority, int)]
    for number, market, priority in marked:
        if market == "spot" and isinstance(priority, int) and others and priority <= max(others):
            rule = f"must be more than the {max(others)} of a group at the full price: spot is asked for first"
            yield wrong(f"{where}[{number}].priority", priority, rule)
