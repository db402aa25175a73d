"""Small JSON files of settings, read as strictly as if a stranger had written them."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 20
"""*Assumed*: what we write has some hundred bytes."""
SEAL = "sha256"
"""Key of the hash of all else in a document, and of the files that belong to it: damage that leaves it valid shows."""


def sealed(document: dict[str, Any], files: Iterable[Path] = ()) -> dict[str, Any]:
    """``document`` with the hash of its content and of the content of ``files``."""
    return {**document, SEAL: _digest(document, files)}


def unsealed(document: dict[str, Any], files: Iterable[Path] = ()) -> dict[str, Any]:
    """``document`` without its hash. Raises ValueError if it is another's; one without (of an old version) is taken."""
    content = {key: value for key, value in document.items() if key != SEAL}
    if SEAL in document and document[SEAL] != _digest(content, files):
        names = ", ".join(["this document", *(file.name for file in files)])
        raise ValueError(f"{SEAL}: {shortened(document[SEAL])}: is not that of {names}: something was changed")
    return content


def _digest(document: dict[str, Any], files: Iterable[Path]) -> str:
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def write_settings(path: Path, document: dict[str, Any], files: Iterable[Path] = ()) -> None:
    """Write ``document``, sealed together with ``files``, for :func:`read_settings` and :func:`unsealed`."""
    path.write_text(json.dumps(sealed(document, files), indent=2) + "\n")


def read_settings(path: Path) -> dict[str, Any]:
    """The JSON object in the file ``path``. Raises FileNotFoundError if there is none, ValueError if it is another."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there: must be a file of settings: export it again")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"must have at most {MAX_BYTES} bytes")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError(f"a {type(document).__name__}, not an object")
    return document


def require_types(document: dict[str, Any], example: object) -> None:
    """Raise ValueError at the first key that is no attribute of ``example``, or whose value has another type."""
    for key, value in document.items():
        if not hasattr(example, key):
            raise ValueError(f"{shortened(key)}: unknown key")
        kind = type(getattr(example, key))
        if type(value) is not kind:
            raise ValueError(f"{key}: {shortened(value)}: must be of type {kind.__name__}")


def shortened(value: object) -> str:
    """``value`` for a message, which it does not fill."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
