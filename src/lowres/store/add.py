"""Add variants to a finished store.

The new variants are built as a store of their own in `STORE/adding`, with the smallest variant that
is there already as a proof: if that becomes what it was, image by image, the source is the same.
Then the new arrays move into the store, and the manifest that names them replaces the old one.

The old manifest stays until then, so that the store is whole at every moment, and the same command
resumes after a crash. The store's digest stays too: runs and studies of the store continue.
"""

from __future__ import annotations

import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypedDict

from lowres.errors import StoreError
from lowres.progress import Track, silent
from lowres.store.build import build_prepared
from lowres.store.manifest import FILE_NAME, Manifest, array_path
from lowres.store.options import BuildOptions, Working
from lowres.store.prepare import Prepared, StoreSource, prepare
from lowres.store.staging import BUILDING, PLAN, work_directory
from lowres.store.store import Store
from lowres.variant import Variant
from lowres.work.directory import differences
from lowres.work.files import sync
from lowres.work.records import read_record

ADDING = "adding"
"""Folder in the store for the new variants, until they are whole."""


class _Options(TypedDict):
    variants: list[str]


class _Plan(TypedDict):
    options: _Options


def add(
    source: Path | str,
    store: Path | str,
    options: BuildOptions | None = None,
    *,
    working: Working | None = None,
    track: Track = silent,
) -> Manifest:
    """Build further variants of a finished store from the source that it was built from.

    Args:
        source: the source.
        store: a finished store.
        options: the variants. Those that the store has already are not built again. What is not
            given of the rest, such as classes, is as the store was built.
        working: number of threads; what to do at errors.
        track: shows progress.

    Returns:
        The manifest, with old and new variants.

    Raises:
        SourceError: the source cannot be read, or an image cannot and the store has not skipped it.
        StoreError: there is no finished store; the source or an option differs; or another
            addition was begun.
    """
    path, working = Path(store), working or Working()
    if working.executor != "threads":
        raise StoreError("--add builds in threads on this machine: leave --executor out")
    opened = Store(path)
    adding = path / ADDING
    completed = _completed(options or BuildOptions(), opened.manifest)
    prepared = prepare(Path(source), adding, completed, skip=working.on_error == "skip")
    wanted = [variant for variant in prepared.variants if variant not in opened.variants]
    _check_same(opened, prepared)
    with work_directory(path).lock(BUILDING):
        opened = Store(path)
        if not wanted:
            if adding.exists():  # moved, but not yet removed when the process was killed
                shutil.rmtree(adding)
            return opened.manifest
        proof = _proof(opened, prepared)
        prepared = _of_variants(prepared, sorted([proof, *wanted]))
        _refuse_other(path, prepared)
        built = _built(adding, prepared, working, track)
        before = opened.manifest
        same = built.contents[str(proof)] == before.contents[str(proof)]
        if not same or built.skipped != before.skipped:
            shutil.rmtree(adding)
            reason = "its images have changed"
            if built.versions != before.versions:
                reason += f", or the software ({_versions(before)} then, {_versions(built)} now)"
            raise StoreError(
                f"{proof} of {path} is not what {source} makes today: {reason}. Nothing was added; "
                "build a new store"
            )
        return _published(path, before, built, wanted)


def _completed(options: BuildOptions, manifest: Manifest) -> BuildOptions:
    """Return the options with what the store was built with in place of every default."""
    usual = {field.name: field.default for field in fields(BuildOptions)}
    recorded: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in manifest.options.items()
        if name in usual and getattr(options, name) == usual[name]
    }
    return replace(options, **recorded)


def _check_same(store: Store, prepared: Prepared) -> None:
    """Refuse another source, or the same with other images, before anything is decoded."""
    manifest, work = store.manifest, work_directory(store.path)
    names = ("kind", "layout", "index_sha256")
    source: dict[str, Any] = {**manifest.source}
    then: dict[str, Any] = {"source": {name: source[name] for name in names}}
    now: dict[str, Any] = {"source": {name: prepared.plan["source"][name] for name in names}}
    for plan, options in ((then, manifest.options), (now, prepared.plan["options"])):
        plan["options"] = {name: value for name, value in options.items() if name != "variants"}
    if isinstance(prepared.source, StoreSource):  # its layout names the variants that are copied
        del then["source"]["layout"], now["source"]["layout"]
    changes = differences(then, now, work.ignored)
    if any(change.startswith("source index_sha256") for change in changes):
        changes = [c for c in changes if "index_sha256" not in c] + [_changed(store, prepared)]
    work.refuse(changes, "was built")


def _changed(store: Store, prepared: Prepared) -> str:
    """Return which images of the source are new or gone."""
    then = {(split, key) for split in store.splits for key in store.keys(split)}
    then |= {(skipped.split, skipped.key) for skipped in store.manifest.skipped}
    now = {(s, entry.key) for s, entries in prepared.index.splits.items() for entry in entries}
    new, gone = sorted(now - then), sorted(then - now)
    if not (new or gone):
        return "classes of its images differ"
    named = [
        f"{len(found):,} {what} ({'/'.join(found[0])} first)"
        for found, what in ((new, "new"), (gone, "gone"))
        if found
    ]
    return f"its images differ: {', '.join(named)}"


def _proof(store: Store, prepared: Prepared) -> Variant:
    """Return the smallest variant of the store that the source can make."""
    source = prepared.source
    able = [
        v
        for v in store.variants
        if not isinstance(source, StoreSource) or v in source.store.variants
    ]
    if not able:
        raise StoreError(
            f"{source.path} and {store.path} have no variant in common, so lowres cannot check "
            "that their images are the same: add from the source of the store"
        )
    return min(able)


def _of_variants(prepared: Prepared, variants: list[Variant]) -> Prepared:
    """Return the same plan for a list of variants."""
    source = prepared.source
    if isinstance(source, StoreSource):
        source = StoreSource(source.path, variants)
    options = {**prepared.plan["options"], "variants": list(map(str, variants))}
    plan = {**prepared.plan, "options": options}
    return replace(prepared, source=source, variants=tuple(variants), plan=plan)


def _refuse_other(path: Path, prepared: Prepared) -> None:
    """Refuse if other variants are half added."""
    begun = path / ADDING / PLAN
    if not begun.exists():
        return
    then = read_record(begun, _Plan, StoreError)["options"]["variants"]
    now = prepared.plan["options"]["variants"]
    if then != now:
        raise StoreError(
            f"{path} has an unfinished --add of {', '.join(then)}: run that command again, or "
            f"remove {path / ADDING}"
        )


def _built(adding: Path, prepared: Prepared, working: Working, track: Track) -> Manifest:
    """Build the new variants and the proof, unless they were built and partly moved."""
    if (adding / FILE_NAME).exists():
        built = Manifest.read(adding)
        if list(built.variants) == prepared.plan["options"]["variants"]:
            return built
    return build_prepared(adding, prepared, working, track)


def _published(path: Path, before: Manifest, built: Manifest, wanted: list[Variant]) -> Manifest:
    """Move the arrays into the store, and then write the manifest that names them."""
    arrays = [array_path(split, variant) for split in built.splits for variant in wanted]
    for name in arrays:
        if (path / ADDING / name).exists():  # else it was moved before a crash
            (path / ADDING / name).replace(path / name)
    for split in built.splits:
        sync(path / split)
    names = list(map(str, wanted))
    variants = sorted([*map(Variant.parse, before.variants), *wanted])
    manifest = replace(
        before,
        variants=tuple(map(str, variants)),
        options={**before.options, "variants": list(map(str, variants))},
        statistics={
            split: {
                str(v): (before if v not in wanted else built).statistics[split][str(v)]
                for v in variants
            }
            for split in before.splits
        },
        contents={
            str(v): (before if v not in wanted else built).contents[str(v)] for v in variants
        },
        files=dict(
            sorted({**before.files, **{name: built.files[name] for name in arrays}}.items())
        ),
        added=tuple(sorted({*before.added, *names})),
    )
    manifest.write(path)
    shutil.rmtree(path / ADDING)
    return manifest


def _versions(manifest: Manifest) -> str:
    return ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
