"""The cited numbers are those of the paper: its means are the means of its columns."""

from statistics import fmean

import pytest

from neuroiou_study.core.data.voc import VocDataset
from neuroiou_study.orchestrate.paper_studies import TARGETS
from neuroiou_study.report.paper import CLAIMS, NAMES, TABLE1, TABLE1_MEANS, VOC_CLASSES


def test_classes_are_those_of_the_data_set() -> None:
    assert ("background", *VOC_CLASSES) == VocDataset.class_names


@pytest.mark.parametrize("arm", TABLE1)
def test_means_of_table_1(arm: str) -> None:
    # The paper cuts after two digits, but for No-Int: its columns have the mean 67.886, and it says 67.87.
    excess = fmean(TABLE1[arm].values()) - TABLE1_MEANS[arm]
    assert -1e-9 < excess < (0.02 if arm == "no_int" else 0.01)


def test_every_target_has_a_claim_and_every_arm_a_name() -> None:
    assert set(CLAIMS) == set(TARGETS)
    assert set(TABLE1) < set(NAMES)
