"""Entry point for ``ray job submit``; takes the options of ``neuroiou-study run``.

    ray job submit --working-dir . -- python jobs/run_study.py search_spaces/camvid_unet.yaml \\
        --set data.root=/shared/camvid --store /shared/runs

Paths are those of the cluster. Without ``--store`` (or NEUROIOU_STORE) results go to ``~/neuroiou-runs`` of the
head node: Ray deletes a job's own folder. A cluster of several nodes needs a store that all of them see.
"""

import os
import sys
from pathlib import Path

from neuroiou_study.cli import app

DEFAULT_STORE = Path.home() / "neuroiou-runs"


def main(arguments: list[str]) -> None:
    """Run the study that ``arguments`` describe."""
    is_given = any(argument.split("=")[0] == "--store" for argument in arguments)
    if not is_given and "NEUROIOU_STORE" not in os.environ:
        arguments = [*arguments, "--store", str(DEFAULT_STORE)]
    app(["run", *arguments], prog_name="run_study.py")


if __name__ == "__main__":
    main(sys.argv[1:])
