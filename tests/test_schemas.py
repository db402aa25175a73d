"""Editors complete every YAML file that is shipped: its first line names a schema, which is right and accepts it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from neuroiou_study.spec.parse import parse
from tests.conftest import REPOSITORY
from tests.studies import call

KEPT = {
    "study": REPOSITORY / "search_spaces" / "study.schema.json",
    "cluster": REPOSITORY / "cluster" / "cluster.schema.json",
    "prices": REPOSITORY / "cluster" / "prices.schema.json",
}
SHIPPED = sorted(path for folder in ("search_spaces", "cluster") for path in (REPOSITORY / folder).rglob("*.y*ml"))
WITHOUT = {
    "onprem.yaml": "Ray's schema refuses min_workers, which its provider for machines of one's own needs",
    "kuberay-cluster.yaml": "KubeRay publishes no JSON schema of its resources",
    "kuberay-rayjob.yaml": "KubeRay publishes no JSON schema of its resources",
}
RAY = f"https://raw.githubusercontent.com/ray-project/ray/ray-{ray.__version__}/python/ray/autoscaler/ray-schema.json"


def schema_of(path: Path) -> str | None:
    """What the first line says."""
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text())
    return found[1] if found else None


@pytest.mark.parametrize("kind", KEPT)
def test_a_kept_schema_is_the_one_of_this_version(kind: str) -> None:
    told = f"neuroiou-study schema {kind} > {KEPT[kind].relative_to(REPOSITORY)}"
    assert KEPT[kind].read_text() == call("schema", kind).stdout, f"it has changed: {told}"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_file_names_its_schema_and_is_accepted_by_it(path: Path) -> None:
    named = schema_of(path)
    if path.name in WITHOUT:
        assert named is None, "remove it from WITHOUT"
    elif path.name == "compose.yaml":
        assert named is not None and named.endswith("/compose-spec.json")
    elif named == RAY:
        assert not list(Draft7Validator(ray_schema()).iter_errors(yaml.safe_load(path.read_text())))
    else:
        assert named is not None, "its first line must name its schema"
        schema = json.loads((path.parent / named).read_text())
        plain = json.loads(json.dumps(parse(path.read_text()), default=str))  # JSON has no dates
        assert not list(Draft202012Validator(schema).iter_errors(plain))


def test_rays_schema_still_refuses_what_machines_of_ones_own_need() -> None:
    document = yaml.safe_load((REPOSITORY / "cluster" / "onprem.yaml").read_text())
    [error] = Draft7Validator(ray_schema()).iter_errors(document)
    assert "min_workers" in error.message


def ray_schema() -> dict[str, Any]:
    """As it is in the installed version, which the pinned address has too."""
    schema: dict[str, Any] = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    return schema
