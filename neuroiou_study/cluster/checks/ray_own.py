"""Ray's own validation of a file for ``ray up``."""

import copy
import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

from neuroiou_study.cluster.checks.json_schema import against
from neuroiou_study.cluster.checks.problem import Problem, mapping, wrong


def check_schema(document: dict[str, Any]) -> Iterator[Problem]:
    """All that Ray's schema says of ``document``."""
    # Ray takes this key out before it looks.
    return against(_schema(), {key: value for key, value in document.items() if key != "min_workers"})


@cache
def _schema() -> dict[str, Any]:
    import ray.autoscaler

    text = Path(ray.autoscaler.__file__).with_name("ray-schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def check_filled_in(document: dict[str, Any]) -> Iterator[Problem]:
    """The first thing that Ray says of ``document`` with its defaults filled in."""
    from click import ClickException
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    try:
        # It also prints.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            validate_config(prepare_config(copy.deepcopy(document)))
    except ValidationError as error:
        yield wrong(error.json_path, error.instance, f"{error.message}: change it")
    except ClickException as error:
        yield wrong("provider", mapping(document.get("provider")).get("type"), f"{error.message}: change it")
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        yield Problem(f"Ray: {' '.join(str(error).split()) or type(error).__name__}: change it")
