"""``python -m neuroiou_study``."""

from neuroiou_study.cli import main

main()
