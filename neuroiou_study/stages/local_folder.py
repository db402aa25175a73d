"""Where this machine keeps what it would otherwise fetch or decode again."""

import os
from pathlib import Path


def local_folder(name: str) -> Path:
    """The folder for ``name`` (weights, images) below ``~/.cache/neuroiou-study``; it need not be there.

    ``NEUROIOU_CACHE`` names another folder, ``XDG_CACHE_HOME`` one for all programs. All may be removed at any time.
    """
    own = os.environ.get("NEUROIOU_CACHE")
    shared = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "neuroiou-study"
    return (Path(own) if own else shared).expanduser() / name
