"""Which machines are rented first: Ray's own scheduler, asked about the file that we ship."""

from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.v2.event_logger import AutoscalerEventLogger
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated import autoscaler_pb2

from tests.cluster.wrong_file import SHIPPED

Bundle = dict[str, float]
ONE: Bundle = {"CPU": 4, "GPU": 1}
WHOLE: Bundle = {"CPU": 8, "GPU": 8}


class _Silent(AutoscalerEventLogger):
    def __init__(self) -> None:
        pass

    def log_cluster_scheduling_update(self, *args: Any, **kwargs: Any) -> None:
        pass


def rented(trials: Sequence[Sequence[Bundle]]) -> dict[str, int]:
    """What Ray would rent for ``trials``, each of which is a placement group of workers."""
    document = {**yaml.safe_load((SHIPPED / "aws-gpu.yaml").read_text()), "auth": {}}  # it would read the key
    config = AutoscalingConfig(prepare_config(document), skip_content_hash=True)
    request = SchedulingRequest(
        node_type_configs=config.get_node_type_configs(),
        max_num_nodes=document["max_workers"] + 1,
        disable_launch_config_check=True,
        gang_resource_requests=[_gang(workers) for workers in trials],
    )
    reply = ResourceDemandScheduler(_Silent()).schedule(request)
    return {each.instance_type: each.count for each in reply.to_launch}


def _gang(workers: Sequence[Bundle]) -> Any:
    gang: Any = autoscaler_pb2.GangResourceRequest()  # type: ignore[attr-defined]
    requests = [ResourceRequestUtil.make(each) for each in workers]
    gang.requests.extend(requests)
    gang.bundle_selectors.add().resource_requests.extend(requests)
    return gang


@pytest.mark.parametrize(
    ("trials", "machines"),
    [
        ([[ONE]], {"l4-spot": 1}),
        ([[ONE]] * 8, {"l4-spot": 8}),
        ([[ONE]] * 9, {"l4-spot": 8, "l4-on-demand": 1}),
        ([[WHOLE]], {"a100x8-spot": 1}),
        ([[WHOLE]] * 2, {"a100x8-spot": 1, "h100x8-spot": 1}),
        ([[WHOLE]] * 3, {"a100x8-spot": 1, "h100x8-spot": 1, "h100x8-on-demand": 1}),
    ],
)
def test_spot_comes_before_the_full_price_of_one_size(trials: list[list[Bundle]], machines: dict[str, int]) -> None:
    assert rented(trials) == machines


def test_a_priority_decides_only_what_is_filled_equally() -> None:
    """What the comment in the file warns of: eight workers of one trial go to a machine of eight GPUs."""
    assert rented([[ONE] * 8]) == {"a100x8-spot": 1}
