"""A split of a store as a map-style dataset: for torch's `DataLoader`, torchvision and timm.

`torch_loader` is faster. This is for code that wants one image at a time, with transforms of its
own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from lowres.errors import StoreError, require
from lowres.store.store import Store, open_store
from lowres.variant import Variant

if TYPE_CHECKING:
    from torch import from_numpy
    from torch.utils.data import Dataset
else:
    from_numpy = require("torch", "train").from_numpy
    Dataset = require("torch.utils.data", "train").Dataset

ImageKind = Literal["pil", "tensor"]


class TorchDataset(Dataset[tuple[Any, Any]]):
    """One image and its label for each row of a split, as `torch_dataset` opens them.

    It is pickled as the path of its store, so a worker opens the memory map itself.

    Attributes:
        store: the store.
        split, variant: what is read.
        classes: class names; a label is a position in them.
        class_to_idx: the label of each class name, as torchvision's `ImageFolder` has it.
        targets: the label of each row.
        transform, target_transform: called on each image, and on each label.
    """

    def __init__(
        self,
        store: Store,
        variant: Variant | str,
        split: str = "train",
        *,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        image: ImageKind = "pil",
    ) -> None:
        if image not in get_args(ImageKind):
            raise StoreError(f"image must be pil or tensor, was {image!r}")
        self.store, self.split, self.variant = store, split, str(variant)
        self.transform, self.target_transform, self.image = transform, target_transform, image
        self.classes = list(store.classes)
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        self.targets: list[int] = store.labels(split).tolist()
        self._images = store.images(split, variant)

    def __len__(self) -> int:
        """Count the images."""
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        """Return the image of a row and its label.

        The image is a PIL image, or a (3, H, W) uint8 tensor; `transform` may return another type.

        Raises:
            IndexError: the row does not exist.
        """
        row = operator.index(row)
        label = self.targets[row]
        found: Any = np.array(self._images[row])
        if self.image == "tensor":
            found = from_numpy(found).permute(2, 0, 1)
        else:
            from PIL.Image import fromarray

            found = fromarray(found)
        if self.transform is not None:
            found = self.transform(found)
        return found, label if self.target_transform is None else self.target_transform(label)

    def __getstate__(self) -> dict[str, Any]:
        hidden = ("_images", "store", "targets", "classes", "class_to_idx")
        kept = {name: value for name, value in vars(self).items() if name not in hidden}
        return {**kept, "path": str(self.store.path.resolve())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        path = state.pop("path")
        TorchDataset.__init__(self, open_store(path), **state)

    def __repr__(self) -> str:
        """Describe the dataset in one line."""
        return (
            f"TorchDataset({str(self.store.path)!r}, {self.variant!r}, {self.split!r}): "
            f"{len(self):,} images of {len(self.classes):,} classes"
        )


def torch_dataset(
    store: Store,
    variant: Variant | str,
    split: str = "train",
    *,
    transform: Callable[[Any], Any] | None = None,
    target_transform: Callable[[int], Any] | None = None,
    image: ImageKind = "pil",
) -> TorchDataset:
    """Open a split as a map-style dataset for `torch.utils.data.DataLoader`.

    Args:
        store: the store.
        variant: such as `32-box`.
        split: such as `train`.
        transform: called on each image, such as a transform of torchvision or timm.
        target_transform: called on each label, an int from 0.
        image: what `transform` gets: a PIL image, or a (3, H, W) uint8 tensor.

    Raises:
        StoreError: the store has no such split or variant.
        MissingExtraError: torch is not installed.
    """
    return TorchDataset(
        store,
        variant,
        split,
        transform=transform,
        target_transform=target_transform,
        image=image,
    )
