"""Entry point for ``ray job submit``; takes the options of ``neuroiou-study reproduce``.

    ray job submit --working-dir . -- python jobs/reproduce.py all --data /shared/data --out /shared/reproduced

Paths are those of the cluster. Without ``--store`` (or NEUROIOU_STORE) and ``--out`` everything goes to
``~/neuroiou-runs`` of the head node: Ray deletes a job's own folder. A cluster of several nodes needs a store that all
of them see.
"""

import os
import sys
from pathlib import Path

from neuroiou_study.cli import app

DEFAULTS = {"--store": Path.home() / "neuroiou-runs", "--out": Path.home() / "neuroiou-runs" / "reproduced"}


def main(arguments: list[str]) -> None:
    """Reproduce what ``arguments`` describe."""
    given = {argument.split("=")[0] for argument in arguments}
    given |= {"--store"} if "NEUROIOU_STORE" in os.environ else set()
    for option, folder in DEFAULTS.items():
        if option not in given:
            arguments = [*arguments, option, str(folder)]
    app(["reproduce", *arguments], prog_name="reproduce.py")


if __name__ == "__main__":
    main(sys.argv[1:])
