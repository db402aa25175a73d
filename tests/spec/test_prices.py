"""Price lists: what they may say, and what is said of those that are wrong."""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.spec import SpecError
from neuroiou_study.spec.document import load_document
from neuroiou_study.spec.prices import MachineSpec, PricesSpec
from tests.conftest import REPOSITORY

MACHINE: dict[str, Any] = {
    "name": "g6.xlarge",
    "provider": "aws",
    "cpus": 4,
    "gpus": 1,
    "gpu": "L4",
    "spot": 0.35,
    "on_demand": 0.8,
}
PRICES = "date: 2026-01-31\ncurrency: USD\nmachines: [{machine}]\n"


def load(folder: Path, text: str) -> PricesSpec:
    path = folder / "prices.yaml"
    path.write_text(text)
    return load_document(path, [], PricesSpec)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SpecError) as caught:
        load(folder, text)
    return str(caught.value).removeprefix(f"{folder / 'prices.yaml'}: ")


def with_machine(**changes: Any) -> str:
    return PRICES.format(machine=json.dumps({**MACHINE, **changes}))


def test_our_list_is_right_and_says_that_it_is_an_example() -> None:
    prices = load_document(REPOSITORY / "cluster" / "prices.yaml", [], PricesSpec)
    assert prices.note is not None and "example" in prices.note
    assert {machine.provider for machine in prices.machines} == {"aws", "gcp"}
    assert {machine.gpus for machine in prices.machines} == {0, 1, 4, 8}


def test_a_list_is_read(tmp_path: Path) -> None:
    prices = load(tmp_path, with_machine())
    (machine,) = prices.machines
    assert (prices.date, prices.currency, prices.note) == (datetime.date(2026, 1, 31), "USD", None)
    assert (machine.cpus, machine.gpus, machine.spot, machine.on_demand) == (4, 1, 0.35, 0.8)


def test_a_machine_of_ones_own_has_no_spot_price_and_may_cost_nothing(tmp_path: Path) -> None:
    (machine,) = load(tmp_path, with_machine(spot=None, on_demand=0)).machines
    assert (machine.spot, machine.on_demand) == (None, 0)


WRONG = {
    "no date": (PRICES.format(machine=json.dumps(MACHINE)).partition("\n")[2], "date: missing: this key is required"),
    "a date as text": (with_machine().replace("2026-01-31", "'2026-01-31'"), "date: '2026-01-31': input should be"),
    "a date with an hour": (with_machine().replace("2026-01-31", "2026-01-31 10:00:00"), "date: datetime.datetime("),
    "a date that is no day": (with_machine().replace("2026-01-31", "2026-02-31"), "must be YAML in UTF-8"),
    "a date to come": (with_machine().replace("2026-01-31", "2999-01-31"), "date: '2999-01-31': must be the day on"),
    "a sign for the currency": (with_machine().replace("USD", "$"), "currency: '$': string should match"),
    "no machine": (PRICES.format(machine=""), "machines: []: list should have at least 1"),
    "a price as text": (with_machine(on_demand="0.80 USD"), "machines.0.on_demand: '0.80 USD': input should be"),
    "a negative price": (with_machine(spot=-0.1), "machines.0.spot: -0.1: input should be greater"),
    "a price of a year": (with_machine(on_demand=20_000), "machines.0.on_demand: 20000: input should be less"),
    "spot above on demand": (with_machine(spot=0.9), "machines.0.spot: 0.9: is more than the 0.8 of on_demand"),
    "half a core": (with_machine(cpus=0.5), "machines.0.cpus: 0.5: input should be a valid integer"),
    "GPUs of no number": (with_machine(gpus=0), "machines.0.gpu: 'L4': names GPUs, but gpus is 0"),
    "a misspelt key": (with_machine(ondemand=1), "machines.0.ondemand: unknown key"),
    "a missing price": (
        PRICES.format(machine="{name: a, provider: b, cpus: 1, gpus: 0, spot: 1}"),
        "machines.0.on_demand: missing: this key is required: add it (cluster/prices.yaml describes it)",
    ),
    "one name twice": (
        PRICES.format(machine=f"{json.dumps(MACHINE)}, {json.dumps(MACHINE)}"),
        "machines.name: 'g6.xlarge': stands twice: name each size once",
    ),
    "a list": ("- 1", "list: must be a mapping of keys: see cluster/prices.yaml"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_list_is_refused(tmp_path: Path, mistake: str) -> None:
    text, said = WRONG[mistake]
    line = refusal(tmp_path, text)
    assert said in line and "\n" not in line
    assert "search_spaces" not in line and "neuroiou-study schema" not in line


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere\.yaml: No such file"):
        load_document(tmp_path / "nowhere.yaml", [], PricesSpec)


@pytest.mark.parametrize(
    ("gpu", "device", "same"),
    [
        ("L4", "NVIDIA L4", True),
        ("l4", "NVIDIA L4", True),
        ("L4", "NVIDIA L40S", False),
        ("A100", "NVIDIA A100-SXM4-40GB", True),
        ("RTX 4090", "NVIDIA GeForce RTX 4090", True),
        (None, "NVIDIA L4", True),
        ("H100", "cpu", False),
    ],
)
def test_a_gpu_is_known_by_words_of_its_name(gpu: str | None, device: str, same: bool) -> None:
    assert MachineSpec.model_validate({**MACHINE, "gpu": gpu}).gpu_is(device) is same
