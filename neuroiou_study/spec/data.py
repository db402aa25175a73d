"""What is trained on, chosen with and decided with, and how training images are varied."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from neuroiou_study.spec.base import Spec, broken

Size = Annotated[tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]], Field(strict=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
ClassName = Annotated[str, Field(min_length=1)]


class AugmentSpec(Spec):
    """What is done to a training image and its labels together, anew in each epoch. Evaluation does none of it."""

    flip: bool = True
    """Mirror every second image left to right."""
    scale: Annotated[
        tuple[Annotated[float, Field(gt=0, le=8)], Annotated[float, Field(gt=0, le=8)]], Field(strict=False)
    ] = (1.0, 1.0)
    """Lowest and highest factor of a random resize; [1, 1] keeps the size. Needs crop otherwise."""
    crop: Size | None = None
    """Height and width of a random crop, padded with void where the image is smaller. Unset: the whole image."""
    colour: float = Field(0.0, ge=0, le=1)
    """Strength of a random change of brightness, contrast and saturation: each by a factor of 1 ± strength."""

    @model_validator(mode="after")
    def _scaled_images_are_cropped(self) -> "AugmentSpec":
        low, high = self.scale
        if low > high:
            raise broken(list(self.scale), "the low end must not be above the high end: swap them", ("scale",))
        if self.scale != (1.0, 1.0) and self.crop is None:
            raise broken(list(self.scale), "images of many sizes do not fit one batch: set augment.crop", ("scale",))
        return self


class _DataSpec(Spec):
    """What all data sets have in common."""

    category: ClassName | None = None
    """Binary mode: this class against everything else, as in the paper's table by category. Unset: all classes."""
    augment: AugmentSpec = AugmentSpec()


class _FilesSpec(_DataSpec):
    """What data sets of files have in common."""

    root: str = Field(min_length=1)
    """Folder of the data set, or s3://bucket/folder, of which each node makes a copy once."""
    size: Size | None = None
    """Height and width that images are resized to on loading; unset keeps the files' sizes."""
    select_fraction: Fraction = 0.2
    """Share of the training list that is held out for the search, so that val decides once; *assumed*."""


class ShapesSpec(_DataSpec):
    """The embedded procedural data set; needs no files."""

    name: Literal["shapes"]
    num_train: int = Field(96, ge=8)
    """Training images; *assumed*."""
    num_select: int = Field(48, ge=1)
    """Images the search chooses with; *assumed*."""
    num_val: int = Field(96, ge=1)
    """Images that decide, opened once; *assumed*."""
    size: Size = (48, 64)
    """Height and width in pixels; *assumed*."""
    seed: int = Field(0, ge=0)
    """Another seed draws other images."""


class CamvidSpec(_FilesSpec):
    """CamVid in the SegNet layout: train.txt and val.txt, 11 classes."""

    name: Literal["camvid"]


class VocSpec(_FilesSpec):
    """PASCAL VOC segmentation, 20 classes and background, in the layout of VOCdevkit."""

    name: Literal["voc"]
    year: Literal["2011", "2012"] = "2012"
    """Which VOC<year> folder; *cited*: the paper uses 2011."""
    train_list: str = Field("train", min_length=1)
    """A list in ImageSets/Segmentation, without .txt: train, trainval, train_aug (SBD), …"""
    val_list: str = Field("val", min_length=1)
    """The list that decides: val, or seg11valid (the 736 images of val 2011 that SBD does not train on)."""
    labels: str = Field("SegmentationClass", min_length=1)
    """Folder of the label images; SegmentationClassAug for SBD."""
    size: Size | None = (375, 500)
    """Height and width that images are resized to on loading; *cited*. ``null`` keeps the files' sizes."""


class CityscapesSpec(_FilesSpec):
    """Cityscapes with fine labels, 19 classes; labelIds become trainIds on loading."""

    name: Literal["cityscapes"]
    size: Size | None = (512, 1024)
    """Height and width that images are resized to on loading; *cited*. ``null`` keeps the files' sizes."""


class FolderSpec(_FilesSpec):
    """Any data set as images/, masks/, train.txt and val.txt; a line of a list is a name without its extension."""

    name: Literal["folder"]
    class_names: Annotated[tuple[ClassName, ...], Field(strict=False, min_length=2, max_length=255)]
    """Name of class 0, 1, …; the masks hold these numbers."""
    ignore_index: int = Field(255, ge=0, le=255)
    """The value of void pixels in the masks."""
    background: ClassName | None = None
    """The class that "mean IoU without background" leaves out, if there is one."""

    @model_validator(mode="after")
    def _names_fit(self) -> "FolderSpec":
        if len(set(self.class_names)) < len(self.class_names):
            raise broken(list(self.class_names), "each class needs a name of its own: rename one", ("class_names",))
        if self.ignore_index < len(self.class_names):
            raise broken(self.ignore_index, "is the number of a class: void needs another", ("ignore_index",))
        if self.background is not None and self.background not in self.class_names:
            raise broken(self.background, "must be one of class_names: choose one", ("background",))
        return self


DataSpec = Annotated[ShapesSpec | CamvidSpec | VocSpec | CityscapesSpec | FolderSpec, Field(discriminator="name")]
