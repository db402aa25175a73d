"""The token that every node of a cluster asks for."""

import os
import secrets
from pathlib import Path


def make_token(path: Path) -> None:
    """Write a new token to ``path``, which only its owner can read. Raises FileExistsError if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        remedy = "use it, or give another --to"
        raise FileExistsError(f"{path}: there already: clusters that run may ask for it: {remedy}") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
