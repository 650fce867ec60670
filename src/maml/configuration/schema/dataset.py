"""A data set: its files, classes and images."""

from typing import Literal

from pydantic import Field

from maml.configuration.schema.strict import Strict


class Classes(Strict):
    """How many classes each split has."""

    train: int = Field(ge=1, description="Classes for meta-training.")
    val: int = Field(ge=0, description="Classes for validation, which selects the best checkpoint.")
    test: int = Field(ge=1, description="Classes for meta-testing.")


class Dataset(Strict):
    """A data set: where its images come from and how they are prepared."""

    format: Literal["omniglot", "miniimagenet"] = Field(
        description="Which reader understands the files."
    )
    source: Literal["official", "bundled", "synthetic"] = Field(
        description="official: the public archives, or the mirror. bundled: the copy of Omniglot "
        "that ships with the project. synthetic: made by the project itself, for tests."
    )
    classes: Classes = Field(description="Classes in each split; checked against the files.")
    images_per_class: int = Field(ge=2, description="Images of each class; checked.")
    image_size: int = Field(ge=8, description="Height and width of a prepared image, in pixels.")
    resize: Literal["nearest", "lanczos"] = Field(
        description="How images of another size are resized. The authors ask for LANCZOS; on "
        "Omniglot's 1-bit files Pillow then uses NEAREST, which is what they trained on."
    )
    split_seed: int = Field(
        ge=0, description="Which Omniglot characters go to which split (mini-ImageNet's is fixed)."
    )

    @property
    def channels(self) -> int:
        """Channels of an image: 1 for Omniglot, 3 for mini-ImageNet."""
        return 1 if self.format == "omniglot" else 3

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of a prepared image."""
        return self.channels, self.image_size, self.image_size

    @property
    def may_be_passed_on(self) -> bool:
        """Whether the licence allows to copy the images to others: ImageNet's terms do not."""
        return self.format != "miniimagenet" or self.source == "synthetic"
