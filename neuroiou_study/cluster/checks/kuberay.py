"""A file for KubeRay: its fields, and what makes its pods safe and cheap."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from neuroiou_study.cluster.checks.kuberay_fields import Fields, RayCluster, RayJob
from neuroiou_study.cluster.checks.problem import Problem, items, mapping, missing, note, wrong
from neuroiou_study.spec.cluster import PINNED, is_pinned
from neuroiou_study.spec.explain import explain

KINDS: dict[str, type[Fields]] = {"RayCluster": RayCluster, "RayJob": RayJob}
API = "ray.io/v1"


def check_kuberay(document: dict[str, Any]) -> Iterator[Problem]:
    """Everything about a file whose ``apiVersion`` is API."""
    if document.get("apiVersion") != API:
        yield wrong("apiVersion", document.get("apiVersion"), f"must be {API}: change it")
    model = KINDS.get(str(document.get("kind")))
    if model is None:
        yield wrong("kind", document.get("kind"), f"must be {' or '.join(KINDS)}: change it")
        return
    try:
        model.model_validate(document)
    except ValidationError as error:
        yield from (Problem(line) for line in explain(error, document, model))
    spec, where = mapping(document.get("spec")), "spec"
    if model is RayJob:
        yield from _job(spec)
        spec, where = mapping(spec.get("rayClusterSpec")), "spec.rayClusterSpec"
    yield from _cluster(where, spec)


def _job(spec: dict[str, Any]) -> Iterator[Problem]:
    ends = spec.get("shutdownAfterJobFinishes", False)
    if ends is not True and not spec.get("deletionStrategy"):
        yield wrong("spec.shutdownAfterJobFinishes", ends, "must be true: else the cluster stays, and is paid for")
    if "activeDeadlineSeconds" not in spec:
        yield note("spec.activeDeadlineSeconds", "missing", "a job that hangs is paid for ever: say for how long")
    for key in ("entrypointNumCpus", "entrypointNumGpus", "entrypointResources"):
        if spec.get(key):
            yield wrong(
                f"spec.{key}", spec[key], "the study's driver would run on a worker, which may be taken: remove it"
            )


def _cluster(where: str, spec: dict[str, Any]) -> Iterator[Problem]:
    mode = mapping(spec.get("authOptions")).get("mode", "missing" if "authOptions" not in spec else "token")
    if mode != "token":
        yield wrong(f"{where}.authOptions.mode", mode, "must be token: nobody may use the cluster without it")
    if spec.get("enableInTreeAutoscaling") is not True:
        rule = "must be true: else no worker comes and none goes"
        yield wrong(f"{where}.enableInTreeAutoscaling", spec.get("enableInTreeAutoscaling", False), rule)
    if "idleTimeoutSeconds" not in mapping(spec.get("autoscalerOptions")):
        yield missing(
            f"{where}.autoscalerOptions.idleTimeoutSeconds", "a worker that is idle must go: say after how long"
        )
    yield from _head(f"{where}.headGroupSpec", mapping(spec.get("headGroupSpec")))
    for number, group in enumerate(items(spec.get("workerGroupSpecs"))):
        yield from _workers(f"{where}.workerGroupSpecs[{number}]", mapping(group))
    names = [mapping(group).get("groupName") for group in items(spec.get("workerGroupSpecs"))]
    for name in {str(each) for each in names if names.count(each) > 1}:
        yield wrong(f"{where}.workerGroupSpecs", name, "two groups have this name: rename one")


def _head(where: str, head: dict[str, Any]) -> Iterator[Problem]:
    parameters = mapping(head.get("rayStartParams"))
    for name in ("num-cpus", "num-gpus"):
        number = parameters.get(name, "as many as it has")
        if str(number) != "0":
            yield wrong(f"{where}.rayStartParams.{name}", number, 'must be "0": the head runs no work')
    for key, value in (("serviceType", head.get("serviceType")), ("enableIngress", head.get("enableIngress"))):
        if value in ("LoadBalancer", "NodePort", True):
            rule = "must not open the dashboard to others: reach it by `kubectl port-forward`"
            yield wrong(f"{where}.{key}", value, rule)
    yield from _pod(f"{where}.template.spec", head)


def _workers(where: str, group: dict[str, Any]) -> Iterator[Problem]:
    for key in ("replicas", "minReplicas"):
        if group.get(key, 0) != 0:
            yield note(f"{where}.{key}", group[key], "so many are paid for from the beginning, with and without work")
    yield from _pod(f"{where}.template.spec", group)


def _pod(where: str, group: dict[str, Any]) -> Iterator[Problem]:
    pod = mapping(mapping(group.get("template")).get("spec"))
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield wrong(f"{where}.{key}", pod[key], "must not share what is the host's: remove it")
    for number, container in enumerate(items(pod.get("containers"))):
        yield from _container(f"{where}.containers[{number}]", pod, mapping(container))


def _container(where: str, pod: dict[str, Any], container: dict[str, Any]) -> Iterator[Problem]:
    image = container.get("image")
    if isinstance(image, str) and not is_pinned(image):
        yield wrong(f"{where}.image", image, PINNED)
    yield from _privileges(f"{where}.securityContext", pod, mapping(container.get("securityContext")))
    if "memory" not in mapping(mapping(container.get("resources")).get("limits")):
        yield missing(f"{where}.resources.limits.memory", "Ray sizes its store by it: say how much")


def _privileges(where: str, pod: dict[str, Any], own: dict[str, Any]) -> Iterator[Problem]:
    context = {**mapping(pod.get("securityContext")), **own}
    non_root, escalates = context.get("runAsNonRoot", False), own.get("allowPrivilegeEscalation", True)
    if non_root is not True or context.get("runAsUser") == 0:
        yield wrong(f"{where}.runAsNonRoot", non_root, "must be true, and the user not 0, in the pod or here: add it")
    if escalates is not False or own.get("privileged"):
        yield wrong(f"{where}.allowPrivilegeEscalation", escalates, "must be false, and privileged too: add it")
    if "ALL" not in items(mapping(own.get("capabilities")).get("drop")):
        yield missing(f"{where}.capabilities.drop", "must have ALL: add it")
