"""The command: measure the subjects, print one table, write JSON."""

import argparse
import importlib
import os
import sys
from pathlib import Path

# Before torch is loaded: else page faults, which cross-entropy has most of, would flatter the other losses.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

from tests.benchmarks.figures import Figure, line, write_json

SUBJECTS = {
    "loss": "the loss's forward and backward over cross-entropy's, and its memory",
    "step": "a training step with the loss over one with cross-entropy",
    "fits": "many surrogates fitted together over one after another",
    "input": "images a second of the loader over what a training step consumes",
    "study": "a study's wall time over the computing of its stages",
    "growth": "seconds and memory per trial as a study grows",
    "scaling": "two workers over one",
}


def main() -> int:
    options = _options()
    figures: dict[str, list[Figure]] = {}
    skipped: dict[str, str] = {}
    for subject in options.only or SUBJECTS:
        try:
            module = importlib.import_module(f"tests.benchmarks.{subject}")
        except ModuleNotFoundError as error:
            skipped[subject] = f"needs {error.name}, which is not installed"
            print(f"{subject:<9} left out: {skipped[subject]}", flush=True)
            continue
        figures[subject] = []
        for figure in module.measure(options.quick):
            figures[subject].append(figure)
            print(line(subject, figure), flush=True)
    if options.json:
        write_json(options.json, figures, skipped, options.quick)
    return 0


def _options() -> argparse.Namespace:
    subjects = "\n".join(f"  {name:<9} {meaning}" for name, meaning in SUBJECTS.items())
    parser = argparse.ArgumentParser(
        "make bench BENCH_ARGS=",
        description="Measure what things cost, as ratios measured in turns in one run.",
        epilog=f"subjects:\n{subjects}\n\nRun it on an idle machine.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller cases: within three minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, metavar="SUBJECT", help="these subjects alone")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
