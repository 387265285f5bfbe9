"""publish: what would be pushed, and what the Hub's client is asked to do."""

from typing import ClassVar

import pytest

import lowres
from lowres.store.publish import publish

pytest.importorskip("pyarrow")
hub = pytest.importorskip("huggingface_hub")


class Client:
    """Records what is asked of the Hub."""

    asked: ClassVar[list] = []
    error: Exception | None = None

    def __init__(self, **options):
        pass

    def whoami(self):
        if self.error:
            raise self.error

    def create_repo(self, name, **options):
        self.asked.append(("create", name, options))
        return hub.RepoUrl(f"https://huggingface.co/datasets/me/{name}")

    def upload_folder(self, **options):
        folder = options.pop("folder_path")
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.*"))
        self.asked.append(("upload", files, options))


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setattr(hub, "HfApi", Client)
    monkeypatch.setattr(Client, "asked", [])
    return Client


FILES = [
    "README.md",
    "croissant.json",
    "data/train-00000-of-00001.parquet",
    "data/validation-00000-of-00001.parquet",
]


def test_a_dry_run_contacts_nobody(store, client, tmp_path):
    client.error = AssertionError("it must not ask")
    try:
        found = publish(store, "me/animals", "8-box", dry_run=True, scratch=tmp_path)
    finally:
        client.error = None
    assert found.url == "https://huggingface.co/datasets/me/animals"
    assert sorted(found.files) == FILES
    assert min(found.files.values()) > 500
    assert not client.asked
    assert not list(tmp_path.iterdir()), "the export is removed"


@pytest.mark.parametrize("public", [False, True])
def test_what_is_asked_of_the_hub(store, client, public):
    found = publish(store, "animals", "8-box", public=public)
    assert found.url == "https://huggingface.co/datasets/me/animals"
    create, upload = client.asked
    assert create == (
        "create",
        "animals",
        {"repo_type": "dataset", "private": not public, "exist_ok": True},
    )
    assert upload == (
        "upload",
        FILES,
        {"repo_id": "me/animals", "repo_type": "dataset", "commit_message": "animals, 8-box"},
    )


def test_refusals(store, client, monkeypatch, tmp_path):
    with pytest.raises(lowres.LowresError, match="'a--b' cannot be the name of a data set"):
        publish(store, "a--b", "8-box", dry_run=True)
    with pytest.raises(lowres.LowresError, match="no variant 64-box"):
        publish(store, "a", "64-box", dry_run=True, scratch=tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(client, "error", hub.errors.LocalTokenNotFoundError("?"))
    with pytest.raises(lowres.LowresError, match="not logged in to the Hub: run hf auth login"):
        publish(store, "a", "8-box")
    monkeypatch.setattr(client, "error", hub.errors.OfflineModeIsEnabled("offline mode"))
    with pytest.raises(lowres.LowresError, match="could not be published: offline mode"):
        publish(store, "a", "8-box")


def test_the_clients_methods_take_what_they_are_given():
    """Of the real client: a parameter that is renamed shows here."""
    import inspect

    created = inspect.signature(hub.HfApi.create_repo).parameters
    pushed = inspect.signature(hub.HfApi.upload_folder).parameters
    assert {"repo_type", "private", "exist_ok"} <= set(created)
    assert {"repo_id", "repo_type", "folder_path", "commit_message"} <= set(pushed)
    assert hub.HfApi.whoami
