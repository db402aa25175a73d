"""What the EC2 check takes, botocore takes: its own validator is the oracle, and a few enumerations more."""

import copy
import random
from typing import Any

import botocore.session  # type: ignore[import-untyped]
import yaml
from botocore.validate import ParamValidator  # type: ignore[import-untyped]

from neuroiou_study.cluster.checks.json_schema import against
from neuroiou_study.cluster.checks.run_instances import run_instances
from tests.cluster.wrong_file import SHIPPED

SHAPE = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
JUNK = [None, "x", 1, 1.5, True, [], {}, ["x"], {"x": 1}]


def request() -> dict[str, Any]:
    types = yaml.safe_load((SHIPPED / "aws-gpu.yaml").read_text())["available_node_types"]
    config = types["l4-spot"]["node_config"]
    del config["SubnetIds"]
    return {"MinCount": 1, "MaxCount": 1, **config}


def botocore_takes(asked: dict[str, Any]) -> bool:
    return not ParamValidator().validate(asked, SHAPE).has_errors()


def test_what_we_ship_is_taken_by_both() -> None:
    assert botocore_takes(request()) and not list(against(run_instances(), request()))


def test_what_botocore_refuses_is_refused() -> None:
    right, refused = request(), 0
    for seed in range(300):
        asked = _changed(right, random.Random(seed))
        if not botocore_takes(asked):
            refused += 1
            assert list(against(run_instances(), asked)), (seed, asked)
    assert refused > 100


def _changed(right: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """``right`` with one key renamed or one value replaced."""
    asked = copy.deepcopy(right)
    parent = chance.choice(list(_parents(asked)))
    key = chance.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    if chance.random() < 0.3 and isinstance(parent, dict):
        parent[f"{key}x"] = parent.pop(key)
    else:
        parent[key] = copy.deepcopy(chance.choice(JUNK))
    return asked


def _parents(value: Any) -> Any:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if children:
        yield value
    for child in children:
        yield from _parents(child)
