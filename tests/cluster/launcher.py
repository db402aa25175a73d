"""Ray's own commands, as a user calls them from outside a cluster."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

BIN = Path(sys.executable).parent


def ray(environment: Mapping[str, str], *arguments: str, patience_seconds: float) -> "subprocess.CompletedProcess[str]":
    """One of Ray's own commands, to its end."""
    command = [str(BIN / "ray"), *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=patience_seconds
    )
