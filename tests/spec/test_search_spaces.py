"""Every study that is shipped can be run, and says how and what to expect."""

from pathlib import Path

import pytest
import yaml

from neuroiou_study.spec import load_study

FOLDER = Path(__file__).parents[2] / "search_spaces"
STUDIES = sorted(FOLDER.glob("*.yaml"))


def test_there_are_studies() -> None:
    assert FOLDER / "quickstart.yaml" in STUDIES
    assert sorted(FOLDER.iterdir()) == sorted([*STUDIES, FOLDER / "study.schema.json"])


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_it_loads_and_samples_every_arm(path: Path, tmp_path: Path) -> None:
    needs_files = yaml.safe_load(path.read_text())["data"]["name"] != "shapes"
    study = load_study(path, [f"data.root={tmp_path}"] if needs_files else [])
    assert study.name == path.stem
    for arm in study.arms:
        corner = {name: bounds.corners[0] for name, bounds in study.ranges(arm).items()}
        assert study.sample(corner, arm=arm, seed=study.seeds[0]).data == study.data


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_its_header_says_how_to_run_it_and_what_to_expect(path: Path) -> None:
    lines = path.read_text().splitlines()
    header = "\n".join(line for line in lines[: lines.index(f"name: {path.stem}")])
    assert all(line.startswith("#") for line in header.splitlines())
    assert f"command   neuroiou-study run search_spaces/{path.name}" in header
    assert "\n#   expect    " in header
