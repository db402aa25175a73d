"""A pod of a cluster on Kubernetes: no more privileges than it needs, and resources that Ray can read."""

from collections.abc import Iterator
from typing import Any

from neuroiou_study.cluster.checks.problem import Problem, items, mapping, missing, wrong
from neuroiou_study.cluster.checks.quantities import amount
from neuroiou_study.spec.cluster import PINNED, is_pinned

GPU = "nvidia.com/gpu"


def check_pod(where: str, group: dict[str, Any]) -> Iterator[Problem]:
    """The pod of a head or a group of workers; ``where`` is the place of its ``template.spec``."""
    pod = mapping(mapping(group.get("template")).get("spec"))
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield wrong(f"{where}.{key}", pod[key], "must not share what is the host's: remove it")
    yield from _volumes(where, pod)
    for key in ("initContainers", "containers"):
        for number, each in enumerate(items(pod.get(key))):
            yield from _container(f"{where}.{key}[{number}]", pod, mapping(each))
    containers = items(pod.get("containers"))
    if containers:  # the first is Ray's
        yield from _resources(f"{where}.containers[0].resources", mapping(mapping(containers[0]).get("resources")))


def check_image(where: str, image: object) -> Iterator[Problem]:
    """Is ``image`` one for good?"""
    if isinstance(image, str) and not is_pinned(image):
        yield wrong(where, image, PINNED)


def _volumes(where: str, pod: dict[str, Any]) -> Iterator[Problem]:
    volumes = [mapping(each) for each in items(pod.get("volumes"))]
    for number, volume in enumerate(volumes):
        if "hostPath" in volume:
            rule = "must not reach into the host: take a claim, or emptyDir"
            yield wrong(f"{where}.volumes[{number}].hostPath", mapping(volume["hostPath"]).get("path"), rule)
    names = [each.get("name") for each in volumes]
    for number, container in enumerate(items(pod.get("containers"))):
        for place, mount in enumerate(items(mapping(container).get("volumeMounts"))):
            name = mapping(mount).get("name")
            if name not in names:
                at = f"{where}.containers[{number}].volumeMounts[{place}].name"
                yield wrong(at, name, "must be one of the pod's volumes: correct it, or add that")


def _container(where: str, pod: dict[str, Any], container: dict[str, Any]) -> Iterator[Problem]:
    yield from check_image(f"{where}.image", container.get("image"))
    yield from _privileges(f"{where}.securityContext", pod, mapping(container.get("securityContext")))


def _privileges(where: str, pod: dict[str, Any], own: dict[str, Any]) -> Iterator[Problem]:
    context = {**mapping(pod.get("securityContext")), **own}
    non_root, escalates = context.get("runAsNonRoot", False), own.get("allowPrivilegeEscalation", True)
    if non_root is not True or context.get("runAsUser") == 0:
        yield wrong(f"{where}.runAsNonRoot", non_root, "must be true, and the user not 0, in the pod or here: add it")
    if own.get("privileged"):
        yield wrong(f"{where}.privileged", own["privileged"], "must be false: it would have the whole host: remove it")
    if escalates is not False:
        yield wrong(f"{where}.allowPrivilegeEscalation", escalates, "must be false: add it")
    if "ALL" not in items(mapping(own.get("capabilities")).get("drop")):
        yield missing(f"{where}.capabilities.drop", "must have ALL: add it")


def _resources(where: str, resources: dict[str, Any]) -> Iterator[Problem]:
    limits, requests = mapping(resources.get("limits")), mapping(resources.get("requests"))
    for key, why in (("cpu", "Ray lends as many processors"), ("memory", "Ray sizes its store by it")):
        if key not in limits:
            yield missing(f"{where}.limits.{key}", f"{why}: say how much")
    for key in requests:
        asked, most = amount(requests[key]), amount(limits.get(key))
        if asked is not None and most is not None and asked > most:
            yield wrong(
                f"{where}.requests.{key}", requests[key], f"must be at most the limit, {limits[key]}: correct it"
            )
    if GPU in limits.keys() | requests.keys() and amount(limits.get(GPU)) != amount(requests.get(GPU, limits.get(GPU))):
        rule = f"must be the {requests.get(GPU)} of requests: Kubernetes gives GPUs out whole: correct it"
        yield wrong(f"{where}.limits.{GPU}", limits.get(GPU, "missing"), rule)
