"""A split as a map-style dataset: in workers, with transforms of torchvision and timm."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

import lowres
from vision import vision


def test_one_image_and_its_label(store):
    dataset = lowres.torch_dataset(store, "8-box", "train")
    assert isinstance(dataset, Dataset)
    assert len(dataset) == 24
    image, label = dataset[7]
    np.testing.assert_array_equal(np.asarray(image), store.images("train", "8-box")[7])
    assert image.mode == "RGB"
    assert (label, type(label)) == (store.labels("train")[7], int)
    assert np.array_equal(dataset[-1][0], dataset[23][0])
    assert np.array_equal(dataset[torch.tensor(3)][0], dataset[np.int64(3)][0])
    with pytest.raises(IndexError):
        dataset[24]
    assert len(list(dataset)) == 24
    assert dataset.classes == ["ant", "bee", "cat", "dog"]
    assert dataset.class_to_idx["cat"] == 2
    assert dataset.targets == store.labels("train").tolist()
    assert repr(dataset).endswith("'8-box', 'train'): 24 images of 4 classes")


def test_tensors_and_transforms(store):
    tensors = lowres.torch_dataset(store, "8-box", "val", image="tensor")
    image, _ = tensors[0]
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 8, 8))
    np.testing.assert_array_equal(image.permute(1, 2, 0), store.images("val", "8-box")[0])
    changed = lowres.torch_dataset(
        store, "8-box", "val", transform=lambda image: image.size, target_transform=lambda y: -y
    )
    assert changed[11] == ((8, 8), -3)


def test_an_image_may_be_changed_in_place(store):
    """Transforms do that, and the store must not notice."""
    image, _ = lowres.torch_dataset(store, "8-box", image="tensor")[0]
    before = image.clone()
    image.zero_()
    assert torch.equal(lowres.torch_dataset(store, "8-box", image="tensor")[0][0], before)


def test_wrong_requests(store):
    with pytest.raises(lowres.LowresError, match="no split 'tset'; it has train, val"):
        lowres.torch_dataset(store, "8-box", "tset")
    with pytest.raises(lowres.LowresError, match="no variant 64-box"):
        lowres.torch_dataset(store, "64-box")
    with pytest.raises(lowres.LowresError, match="image must be pil or tensor, was 'numpy'"):
        lowres.torch_dataset(store, "8-box", image="numpy")


def test_it_is_pickled_as_a_path(store):
    dataset = lowres.torch_dataset(store, "16-box", "val", image="tensor")
    text = pickle.dumps(dataset)
    assert len(text) < 500
    again = pickle.loads(text)  # noqa: S301  our own
    assert torch.equal(again[5][0], dataset[5][0])
    assert (again.split, again.variant, again.targets) == ("val", "16-box", dataset.targets)


@pytest.mark.full
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_load_it(store, context):
    dataset = lowres.torch_dataset(store, "8-box", image="tensor")
    both = ConcatDataset([Subset(dataset, range(12)), Subset(dataset, range(12, 24))])
    loader = DataLoader(both, batch_size=8, num_workers=1, multiprocessing_context=context)
    images = torch.cat([images for images, _ in loader])
    expected = torch.from_numpy(np.array(store.images("train", "8-box"))).permute(0, 3, 1, 2)
    assert torch.equal(images, expected)


def test_transforms_of_torchvision(store):
    v2 = vision("torchvision.transforms.v2")
    scale = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    flipped = v2.Compose([v2.RandomHorizontalFlip(1.0), scale])
    plain = lowres.torch_dataset(store, "8-box", transform=scale)[0][0]
    mirrored = lowres.torch_dataset(store, "8-box", transform=flipped)[0][0]
    of_tensor = lowres.torch_dataset(store, "8-box", transform=flipped, image="tensor")[0][0]
    assert torch.equal(mirrored, plain.flip(-1))
    assert torch.equal(of_tensor, mirrored)


def test_the_loader_of_timm(store):
    data = vision("timm.data")
    dataset = lowres.torch_dataset(store, "16-box")
    loader = data.create_loader(
        dataset, input_size=(3, 16, 16), batch_size=8, is_training=True, num_workers=0,
        use_prefetcher=False, persistent_workers=False, device=torch.device("cpu"),
    )  # fmt: skip
    images, labels = next(iter(loader))
    assert (tuple(images.shape), images.dtype) == ((8, 3, 16, 16), torch.float32)
    assert set(labels.tolist()) <= {0, 1, 2, 3}
