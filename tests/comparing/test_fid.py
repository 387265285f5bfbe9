"""FID statistics: the numbers of NumPy, the arrays that EDM and ADM read, and the set's name."""

import json
import zipfile

import numpy as np
import pytest
import torch

import lowres
from lowres.comparing import fid
from lowres.comparing.fid import describe_fid, fid_statistics, is_fid_file
from lowres.errors import RunError
from lowres.networks.features import feature_network

CPU = torch.device("cpu")


def flat(images):
    return images.reshape(len(images), -1)[:, ::16] / 255


def test_mean_and_covariance_are_those_of_numpy(store, tmp_path, monkeypatch):
    monkeypatch.setattr(fid, "BATCH", 7)
    path = fid_statistics(store, tmp_path / "x.npz", "8-box", flat, named="flat")
    with np.load(path) as found:
        assert set(found.files) == {"mu", "sigma", "lowres"}
        rows = flat(np.array(store.images("train", "8-box")))
        np.testing.assert_allclose(found["mu"], rows.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(found["sigma"], np.cov(rows, rowvar=False), atol=1e-12)
        assert (found["mu"].dtype, found["sigma"].dtype) == (np.float64, np.float64)
        about = json.loads(str(found["lowres"]))
    assert about["content"] == store.manifest.contents["8-box"]
    again = fid_statistics(store, tmp_path / "y.npz", "8-box", flat, named="flat")
    assert path.read_bytes() == again.read_bytes()


def test_the_arrays_of_adm(store, tmp_path):
    """Its evaluator reads mu, sigma, mu_s and sigma_s, and the images in arr_0."""
    path = fid_statistics(
        store, tmp_path / "x.npz", "8-box", lambda images: (flat(images), flat(images)[:, :5]),
        named="two", split="val", images=10,
    )  # fmt: skip
    with np.load(path) as found:
        assert found["mu_s"].shape == (5,)
        assert found["sigma_s"].shape == (5, 5)
        assert (found["arr_0"].shape, found["arr_0"].dtype) == ((10, 8, 8, 3), np.uint8)
        whole = {image.tobytes() for image in store.images("val", "8-box")}
        assert {image.tobytes() for image in found["arr_0"]} <= whole
    assert "features and of spatial ones" in next(describe_fid(path))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 cut off", b"\x93NUMPY"])
def test_damaged_files_are_no_statistics(tmp_path, data):
    (tmp_path / "x.npz").write_bytes(data)
    assert not is_fid_file(tmp_path / "x.npz")
    assert not is_fid_file(tmp_path)


def test_a_damaged_member_is_one_sentence(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("mu.npy", b"no array")
        archive.writestr("sigma.npy", b"")
    with pytest.raises(lowres.LowresError, match=r"x\.npz is damaged"):
        list(describe_fid(tmp_path / "x.npz"))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda images: images, r"must return features of \(24, D\), .* returned \(24, 8, 8, 3\)"),
        (lambda images: flat(images)[1:], r"returned \(23, 12\)"),
        (lambda images: (flat(images),) * 3, "or a pair of these"),
        (lambda images: flat(images) * np.nan, "not finite"),
    ],
)
def test_networks_that_return_something_else(store, tmp_path, network, words):
    with pytest.raises(lowres.LowresError, match=words):
        fid_statistics(store, tmp_path / "x.npz", "8-box", network, named="x")
    assert not (tmp_path / "x.npz").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, about TorchScript
def test_wrong_requests(store, tmp_path):
    with pytest.raises(lowres.LowresError, match=r"must end in \.npz"):
        fid_statistics(store, tmp_path / "x.pkl", "8-box", flat, named="x")
    with pytest.raises(lowres.LowresError, match="at most all of them, not 25"):
        fid_statistics(store, tmp_path / "x.npz", "8-box", flat, named="x", images=25)
    with pytest.raises(RunError, match=r"must be a \.pt file or package\.module:function, was x"):
        feature_network("x", CPU)
    with pytest.raises(RunError, match=r"x\.pt does not exist: download inception-2015-12-05\.pt"):
        feature_network(str(tmp_path / "x.pt"), CPU)
    (tmp_path / "x.pt").write_bytes(b"no network")
    with pytest.raises(RunError, match=r"x\.pt must be a TorchScript file"):
        feature_network(str(tmp_path / "x.pt"), CPU)
