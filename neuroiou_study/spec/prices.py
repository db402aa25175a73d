"""What a price list may say: which machines can be rented, and what an hour of each costs."""

import datetime
import re
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints, field_validator, model_validator

from neuroiou_study.spec.base import Spec, broken

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]{0,60}$")]
"""Letters, digits, and dots, hyphens or underscores between them."""
Price = Annotated[float, Field(ge=0, le=10_000)]
"""Of one machine for an hour."""


class MachineSpec(Spec):
    """Machines of one size, and what an hour of one costs."""

    name: Word
    """The provider's name of the size, such as g6.xlarge or g2-standard-8."""
    provider: Word
    """Who lends it; for people."""
    cpus: int = Field(ge=1)
    """Processor cores (vCPUs) that it lends to workers."""
    gpus: int = Field(ge=0)
    """GPUs that it lends to workers."""
    gpu: str | None = Field(None, min_length=1, max_length=60)
    """Words of the name that NVIDIA's driver gives its GPUs, such as L4 or H100."""
    memory_gb: float | None = Field(None, gt=0)
    """Main memory; for people."""
    spot: Price | None = None
    """On the spot market, where it may be taken away; null where it is not sold so."""
    on_demand: Price
    """For as long as one likes. What a machine of one's own costs in an hour, if that is known; else 0."""

    @model_validator(mode="after")
    def _some_sense(self) -> "MachineSpec":
        if self.spot is not None and self.spot > self.on_demand:
            rule = f"is more than the {self.on_demand:g} of on_demand, which nobody would pay: correct either"
            raise broken(self.spot, rule, ("spot",))
        if self.gpu is not None and self.gpus == 0:
            raise broken(self.gpu, "names GPUs, but gpus is 0: correct either", ("gpu",))
        return self

    def gpu_is(self, device: str) -> bool:
        """Is ``device``, the name of a processor or GPU, one of its GPUs, as far as the list says?"""
        return self.gpu is None or _words(self.gpu) <= _words(device)


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))


class PricesSpec(Spec):
    """A price list: prices change, so that it has a date; they differ by region and contract, so that it is yours."""

    described_by: ClassVar[str] = "cluster/prices.yaml"

    date: datetime.date
    """The day on which the prices were looked up."""
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    """The three letters of ISO 4217, such as USD."""
    note: str | None = Field(None, min_length=1, max_length=300)
    """What a reader of an estimate has to know of these prices."""
    machines: list[MachineSpec] = Field(min_length=1)
    """Those to choose from."""

    @field_validator("date")
    @classmethod
    def _is_past(cls, date: datetime.date) -> datetime.date:
        # A day ahead: it is tomorrow already elsewhere.
        if date > datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1):
            raise broken(str(date), "must be the day on which they were looked up, and lies in the future: correct it")
        return date

    @field_validator("machines")
    @classmethod
    def _names_differ(cls, machines: list[MachineSpec]) -> list[MachineSpec]:
        names = [machine.name for machine in machines]
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            raise broken(double, "stands twice: name each size once", ("name",))
        return machines
