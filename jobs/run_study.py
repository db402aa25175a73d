"""Entry point for ``ray job submit``; takes the options of ``neuroiou-study run``.

ray job submit --working-dir . -- python jobs/run_study.py search_spaces/camvid_unet.yaml --store /shared/runs
"""

import sys

from neuroiou_study.cli import app

if __name__ == "__main__":
    app(["run", *sys.argv[1:]], prog_name="run_study.py")
