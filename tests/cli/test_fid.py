"""The verb fid, and what info says of its file."""

import numpy as np
import pytest
import torch
from torch import nn

from lowres.comparing.fid import fid_statistics


def flat(images):
    return images.reshape(len(images), -1)[:, ::16] / 255


def test_info_names_the_set_that_a_file_belongs_to(store, tmp_path, call):
    path = fid_statistics(store, tmp_path / "x.npz", "8-box", flat, named="flat", split="val")
    status, words, _ = call("info", path)
    assert status == 0
    assert "set: animals, variant 8-box, 12 images of val, by flat" in words
    content = next(line for line in words.splitlines() if line.startswith("content: "))
    assert content.split()[1].strip(";") in call("info", store.path)[1]
    np.savez(tmp_path / "foreign.npz", mu=np.zeros(4), sigma=np.eye(4))
    status, words, _ = call("info", tmp_path / "foreign.npz")
    assert status == 0
    assert "mean and covariance of 4 features\norigin: unknown" in words


class Detector(nn.Module):
    """Called as the Inception of StyleGAN2-ADA is."""

    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert images.dtype == torch.uint8
        assert return_features
        return images.to(torch.float32).mean(dim=[2, 3])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, about TorchScript
def test_a_torchscript_network_from_the_command_line(store, store_path, tmp_path, call):
    torch.jit.script(Detector()).save(str(tmp_path / "detector.pt"))
    out = tmp_path / "x.npz"
    arguments = ("fid", store_path, "--features", tmp_path / "detector.pt", "--out", out)
    status, words, errors = call(*arguments, "--variant", "8-box", "--device", "cpu", "-q")
    assert status == 0, errors
    assert "by detector.pt" in words
    with np.load(out) as found:
        mean, _ = store.statistics("train", "8-box")
        np.testing.assert_allclose(found["mu"], mean, rtol=1e-5)
    assert "choose one, such as --variant 8-box" in call(*arguments)[2]
