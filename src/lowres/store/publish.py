"""A store to the Hugging Face Hub: its Parquet export with the card, pushed by huggingface_hub."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lowres.errors import StoreError, require
from lowres.progress import Track, silent
from lowres.store.export import export
from lowres.store.store import Store
from lowres.variant import Variant

HUB = "https://huggingface.co/datasets"


@dataclass(frozen=True, slots=True)
class Published:
    """What was pushed, or would be.

    Attributes:
        url: where it is.
        files: bytes of each file, by its path.
    """

    url: str
    files: dict[str, int]


def publish(
    store: Store,
    repository: str,
    variant: Variant | str,
    *,
    splits: Sequence[str] = (),
    public: bool = False,
    dry_run: bool = False,
    scratch: Path | None = None,
    track: Track = silent,
) -> Published:
    """Export a variant as Parquet with its card, and push it to the Hub in one commit.

    You are logged in as `hf auth login` or the variable HF_TOKEN says. A new data set is private;
    one that exists keeps its visibility, and files of the same name are replaced.

    Args:
        store: where the images are.
        repository: `NAME` or `OWNER/NAME` on the Hub.
        variant: which variant.
        splits: which splits. Default: all.
        public: whether a new data set can be seen by everyone.
        dry_run: write the export and measure it, but contact nobody.
        scratch: folder for the export, which is removed at the end. Default: the system's
            temporary folder.
        track: shows progress.

    Raises:
        StoreError: the store lacks the variant or a split, the name is none of the Hub's, you are
            not logged in, or the Hub refuses.
        MissingExtraError: huggingface_hub or pyarrow is not installed.
    """
    hub = require("huggingface_hub", "hub")
    errors = require("huggingface_hub.errors", "hub")
    try:
        require("huggingface_hub.utils", "hub").validate_repo_id(repository)
    except errors.HFValidationError as error:
        raise StoreError(f"{repository!r} cannot be the name of a data set: {error}") from error
    api = hub.HfApi(library_name="lowres")
    if not dry_run:  # before the export, which may take long
        with _sentences(repository):
            api.whoami()
    with tempfile.TemporaryDirectory(dir=scratch) as temporary:
        folder = Path(temporary) / "export"
        export(store, folder, variant, to="parquet", splits=splits, track=track)
        paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
        files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
        if dry_run:
            return Published(f"{HUB}/{repository}", files)
        with _sentences(repository):
            made = api.create_repo(
                repository, repo_type="dataset", private=not public, exist_ok=True
            )
            api.upload_folder(
                repo_id=made.repo_id,
                repo_type="dataset",
                folder_path=folder,
                commit_message=f"{store.manifest.source['name']}, {variant}",
            )
        return Published(str(made), files)


@contextmanager
def _sentences(repository: str) -> Iterator[None]:
    """Turn the errors of the Hub's client into sentences."""
    errors = require("huggingface_hub.errors", "hub")
    try:
        yield
    except errors.LocalTokenNotFoundError as error:
        raise StoreError("you are not logged in to the Hub: run hf auth login") from error
    # A lost connection is an error of the client's HTTP library, which differs by its version.
    except (OSError, *errors.HfHubHTTPError.__bases__) as error:
        reason = str(error).strip() or type(error).__name__
        raise StoreError(
            f"{repository} could not be published: {reason}. Run the same command again"
        ) from error
