"""Where a study runs and what it talks to."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Where:
    """The machines and servers of one run of a study; none of it changes the result."""

    backend: str = "ray"
    address: str | None = None
    tracking_uri: str = ""
    optuna_url: str | None = field(default=None, repr=False)  # it may have a password
