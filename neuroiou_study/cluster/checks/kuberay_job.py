"""A job of KubeRay: it ends, its cluster with it, and its environment can be read."""

from collections.abc import Iterator
from typing import Any

from neuroiou_study.cluster.checks.everywhere import check_everywhere
from neuroiou_study.cluster.checks.problem import Problem, mapping, note, wrong
from neuroiou_study.spec.parse import ParseError, parse

RUNTIME = "spec.runtimeEnvYAML"


def check_job(spec: dict[str, Any]) -> Iterator[Problem]:
    """What a RayJob says beside its cluster."""
    ends = spec.get("shutdownAfterJobFinishes", False)
    if ends is not True and not spec.get("deletionStrategy"):
        yield wrong("spec.shutdownAfterJobFinishes", ends, "must be true: else the cluster stays, and is paid for")
    if "activeDeadlineSeconds" not in spec:
        yield note("spec.activeDeadlineSeconds", "missing", "a job that hangs is paid for ever: say for how long")
    for key in ("entrypointNumCpus", "entrypointNumGpus", "entrypointResources"):
        if spec.get(key):
            rule = "the study's driver would run on a worker, which may be taken: remove it"
            yield wrong(f"spec.{key}", spec[key], rule)
    if isinstance(spec.get("runtimeEnvYAML"), str):
        yield from _runtime(spec["runtimeEnvYAML"])


def _runtime(text: str) -> Iterator[Problem]:
    """A text of YAML in the YAML: Kubernetes does not look into it, Ray does when the job begins."""
    try:
        said = parse(text)
    except ParseError:  # its message shows the text
        yield wrong(RUNTIME, "(not shown)", "must be YAML: correct it")
        return
    if not isinstance(said, dict):
        yield wrong(RUNTIME, text, "must be a mapping such as env_vars: {NAME: value}: correct it")
        return
    for name, value in mapping(said.get("env_vars")).items():
        if not isinstance(value, str):
            yield wrong(f"{RUNTIME}.env_vars.{name}", value, f'must be a text: write "{value}"')
    yield from check_everywhere({RUNTIME: said})
