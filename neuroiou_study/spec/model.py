"""The segmentation network."""

from typing import Annotated, Literal

from pydantic import Field

from neuroiou_study.spec.base import Spec
from neuroiou_study.spec.ranges import Scalar


class _NetworkSpec(Spec):
    """What all networks have in common."""

    @property
    def note(self) -> str | None:
        """What whoever starts a study should know about its network, if anything."""
        return None


class UNetSpec(_NetworkSpec):
    """U-Net with group normalisation."""

    name: Literal["unet"]
    width: int = Field(16, ge=4, multiple_of=4)
    """Channels of the first level; 64 is the original (*cited*), 16 *assumed* for small machines."""
    levels: int = Field(4, ge=1, le=6)
    """How often the resolution is halved; *cited*."""


class _VggSpec(_NetworkSpec):
    """What networks on VGG-16 have in common."""

    name: str
    width: int = Field(64, ge=1)
    """Channels of VGG-16's first block, of which all others are multiples; *cited*: 64. Less for small machines."""
    weights: str | None = Field(None, min_length=1)
    """torchvision's .pth of VGG-16: a path or s3://bucket/key, which every node sees. Unset: random weights."""

    @property
    def note(self) -> str | None:
        if self.weights is not None:
            return None
        remedy = "name torchvision's VGG-16 under model.weights for the paper's start"
        return f"model: {self.name} starts from random weights: {remedy}"


class FcnSpec(_VggSpec):
    """FCN on VGG-16 (Long et al. 2015) with an output stride of 32, 16 or 8."""

    name: Literal["fcn32s", "fcn16s", "fcn8s"]
    """Which output stride: 8 has the finest borders."""


class SegNetSpec(_VggSpec):
    """SegNet (Badrinarayanan et al. 2017) on VGG-16 with batch normalisation."""

    name: Literal["segnet"]


class CustomModelSpec(_NetworkSpec):
    """A network of yours: images (B, 3, H, W) to logits (B, C, H, W)."""

    name: Literal["custom"]
    factory: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """``package.module:factory``; called as ``factory(num_classes=C, **options)`` and importable on every node.
    It runs where the command line says ``--allow-code``."""
    options: dict[str, Scalar] = Field(default_factory=dict)
    """Keyword arguments of the factory."""


ModelSpec = Annotated[UNetSpec | FcnSpec | SegNetSpec | CustomModelSpec, Field(discriminator="name")]
