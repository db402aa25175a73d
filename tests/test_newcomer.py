"""The README alone leads from an empty folder to an exported loss: this runs what it says, word by word."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import REPOSITORY

HEADING = "## Your own images, from nothing"
INSTALLING = ("python3 -m venv", "pip install")
"""`make install` does the same, and whoever runs this test has done it."""
MOST_COMMANDS = 10


def blocks(kind: str) -> list[str]:
    """The code blocks of ``kind`` below the heading."""
    section = (REPOSITORY / "README.md").read_text().partition(HEADING)[2].partition("\n## ")[0]
    return re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL)


def draw_images(folder: Path) -> None:
    """Twenty images of a bright disc on a dark, noisy ground, as the README says they lie."""
    draw = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rows, columns = np.mgrid[:60, :80]
    for number in range(20):
        row, column, radius = draw.integers(15, 45), draw.integers(15, 65), draw.integers(8, 15)
        mask = ((rows - row) ** 2 + (columns - column) ** 2 < radius**2).astype(np.uint8)
        image = draw.normal(90 + 60 * mask[..., None], 40, (60, 80, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"photo{number:02d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"photo{number:02d}.png")
    names = [f"photo{number:02d}\n" for number in range(20)]
    (folder / "train.txt").write_text("".join(names[:14]))
    (folder / "val.txt").write_text("".join(names[14:]))


def test_from_an_empty_folder_to_an_exported_loss_in_ten_commands(tmp_path: Path) -> None:
    [study], [commands] = blocks("yaml"), blocks("sh")
    draw_images(tmp_path / "my_data")
    (tmp_path / "my_images.yaml").write_text(study)
    assert study.startswith("# my_images.yaml\n") and len(commands.splitlines()) <= MOST_COMMANDS
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    said = ""
    for line in commands.splitlines():
        if not line.startswith(INSTALLING):
            done = subprocess.run(
                ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
            said += done.stdout
    assert "Best trial of each arm" in said and "mlflow ui --backend-store-uri" in said
    assert "neuroiou" in (tmp_path / "report.html").read_text()
    assert said.splitlines()[-1].startswith(")") and "NeuroIoULoss(" in said
    assert (tmp_path / "my_loss" / "README.md").is_file()
