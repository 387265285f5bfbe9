"""Metadata of a written set: the dataset card of the Hugging Face Hub, and Croissant.

A card is a README.md that begins with YAML between lines of three dashes (the Hub's documentation,
"Dataset cards"). Croissant is JSON-LD by the MLCommons specification, version 1.1.
"""

from __future__ import annotations

import importlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lowres.errors import SourceError, require
from lowres.formats.sink import Outline
from lowres.imagenet import devkit_ids

HUB_SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""The Hub's names of our splits."""

CROISSANT = "http://mlcommons.org/croissant/"

RUSSAKOVSKY = (
    "Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, International Journal "
    "of Computer Vision 115 (2015)."
)
CHRABASZCZ = (
    "Chrabaszcz, Loshchilov and Hutter, A Downsampled Variant of ImageNet as an Alternative to the "
    "CIFAR datasets, arXiv:1707.08819 (2017)."
)

MOST_CARD_BYTES = 16_000_000
"""A longer README.md is not read for class names; ImageNet's has 60 kB."""

_WORDS = (
    "arrayShape citeAs column containedIn equivalentProperty extract field fileProperty fileObject "
    "fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path recordSet "
    "references regex repeated replace samplingRate separator source subField transform"
)
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": CROISSANT,
    "dct": "http://purl.org/dc/terms/",
    "rai": f"{CROISSANT}RAI/",
    "conformsTo": "dct:conformsTo",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{word: f"cr:{word}" for word in _WORDS.split()},
    **{word: {"@id": f"cr:{word}", "@type": "@json"} for word in ("data", "examples")},
    **{word: {"@container": "@language"} for word in ("description", "name")},
}
"""The @context of the specification."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a written set; its content is images, names, labels and keys."""

    path: str
    split: str
    images: int
    content_bytes: int
    file_bytes: int
    sha256: str


def dataset_card(outline: Outline, parts: Sequence[Part]) -> str:
    """Return README.md: YAML for the Hub and its tools, then a page for people.

    Raises:
        MissingExtraError: PyYAML is not installed.
    """
    total = {s: sum(p.content_bytes for p in parts if p.split == s) for s in outline.splits}
    names = {str(number): name for number, name in enumerate(outline.classes)}
    files = [
        {"split": HUB_SPLITS[split], "path": f"data/{HUB_SPLITS[split]}-*"}
        for split in outline.splits
    ]
    features: list[dict[str, Any]] = [{"name": "image", "dtype": "image"}]
    task = "unconditional-image-generation"
    if outline.labelled:
        task = "image-classification"
        features.append({"name": "label", "dtype": {"class_label": {"names": names}}})
    features.append({"name": "key", "dtype": "string"})
    record = {
        "license": "other",
        "task_categories": [task],
        "dataset_info": {
            "features": features,
            "splits": [
                {"name": HUB_SPLITS[split], "num_bytes": total[split], "num_examples": count}
                for split, count in outline.splits.items()
            ],
            "download_size": sum(part.file_bytes for part in parts),
            "dataset_size": sum(total.values()),
        },
        "configs": [{"config_name": "default", "data_files": files}],
    }
    yaml = require("yaml", "parquet")
    facts = "\n".join(_facts(outline))
    return f"""\
---
{yaml.safe_dump(record, sort_keys=False, allow_unicode=True)}---

# {_one_line(outline.name)}, {outline.variant}

{facts}

```python
from datasets import load_dataset

load_dataset(FOLDER)
```

## Licence

{_license(outline)}
"""


def croissant(outline: Outline, parts: Sequence[Part]) -> dict[str, Any]:
    """Return a description of the files and their columns in Croissant 1.1, as JSON values.

    Its date is that of today, or of the environment's SOURCE_DATE_EPOCH, so that an export can be
    made again byte for byte.
    """
    files = [
        {
            "@type": "cr:FileObject",
            "@id": part.path,
            "name": part.path.rpartition("/")[2],
            "contentUrl": part.path,
            "contentSize": f"{part.file_bytes} B",
            "encodingFormat": "application/x-parquet",
            "sha256": part.sha256,
        }
        for part in parts
    ]
    tables = {
        "@type": "cr:FileSet",
        "@id": "tables",
        "name": "tables",
        "description": "All files above, read in the folder of this file.",
        "encodingFormat": "application/x-parquet",
        "includes": "data/*.parquet",
    }
    name = "splits/name"
    splits = {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": name},
        "field": [{"@type": "cr:Field", "@id": name, "dataType": "sc:Text"}],
        "data": [{name: HUB_SPLITS[split]} for split in outline.splits],
    }
    # mlcroissant applies the pattern again to the name it found, so it must match that too.
    pattern = rf"(?:.*/)?({'|'.join(HUB_SPLITS.values())})(?:-\d+-of-\d+\.parquet)?$"
    split = _field("split", "sc:Text", {"fileProperty": "fullpath"}, {"regex": pattern})
    split["references"] = {"field": {"@id": name}}
    fields = [
        split,
        _field("image", "sc:ImageObject", {"column": "image"}, {"jsonPath": "bytes"}),
    ]
    if outline.labelled:
        fields.append(_field("label", "sc:Integer", {"column": "label"}))
    fields.append(_field("key", "sc:Text", {"column": "key"}))
    images = {"@type": "cr:RecordSet", "@id": "default", "name": "default", "field": fields}
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": f"{CROISSANT}1.1",
        "name": _one_line(outline.name),
        "description": " ".join(_facts(outline)),
        "license": _license(outline),
        "citeAs": _citation(outline),
        "datePublished": _today(),
        "version": f"1.0.0+{outline.content[:12]}",
        "distribution": [*files, tables],
        "recordSet": [splits, images],
    }


def class_names_in(card: Path, column: str) -> tuple[tuple[str, ...] | None, list[str]]:
    """Return the names of a column's numbers in a dataset card, and notes on what is unreadable.

    Raises:
        SourceError: the card's configurations name the numbers in different ways.
    """
    try:
        text = card.read_text("utf-8", "replace") if card.stat().st_size <= MOST_CARD_BYTES else ""
    except OSError:
        text = ""
    front = re.match(r"---[ \t]*\n(.*?)\n---[ \t]*(\n|\Z)", text, re.DOTALL)
    if not front or "class_label" not in front[1]:
        return None, []
    try:
        yaml = importlib.import_module("yaml")
    except ModuleNotFoundError:
        return None, [f"{card.name} has class names; without PyYAML, lowres cannot read them"]
    try:
        record = yaml.safe_load(front[1])
        found = {names for names in _named(record, column) if names}
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None, [f"{card.name} has no readable class names: its first part is damaged"]
    if len(found) > 1:
        raise SourceError(
            f"{card} has several sets of class names for {column}: build from a folder with the "
            "files of one configuration and without this card"
        )
    return next(iter(found), None), []


def _named(record: dict[str, Any], column: str) -> Iterator[tuple[str, ...]]:
    """Yield the class names of a column in each configuration of a card."""
    described = record["dataset_info"]
    for info in described if isinstance(described, list) else [described]:
        for feature in info.get("features", ()):
            kind = feature.get("dtype")
            if feature.get("name") != column or not isinstance(kind, dict):
                continue
            names = kind["class_label"]["names"]
            if isinstance(names, dict):  # of the numbers in quotes
                by_number = {int(number): name for number, name in names.items()}
                names = [by_number[number] for number in range(len(names))]
            yield tuple(map(str, names))


def _facts(outline: Outline) -> list[str]:
    size, classes = outline.variant.size, outline.classes
    counts = ", ".join(f"{count} in {HUB_SPLITS[s]}" for s, count in outline.splits.items())
    order = "sorted by name" if list(classes) == sorted(classes) else "in the order of the source"
    kinds = f"in {len(classes)} classes" if outline.labelled else "without labels"
    numbered = [f"Labels number the classes from 0, {order}."] if outline.labelled else []
    return [
        f"Images of {size} x {size} pixels {kinds} ({counts}), made by lowres",
        f"from the set {_one_line(outline.name)} as the variant {outline.variant}, and stored",
        "without loss as PNG, in a fixed random order.",
        *numbered,
        "A key is the name of an image in its source.",
        f"The content hash, which depends on pixels, classes and splits, is {outline.content}.",
    ]


def _today() -> str:
    """Return the date in UTC; SOURCE_DATE_EPOCH is the convention of reproducible-builds.org."""
    seconds = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _citation(outline: Outline) -> str:
    made = (
        f"the variant {outline.variant} of the set {_one_line(outline.name)}, made by lowres "
        f"{version('lowres')}, content hash {outline.content}"
    )
    if devkit_ids(outline.classes) is None:
        return f"Cite the authors of the original set, and {made}."
    return f"{RUSSAKOVSKY} {CHRABASZCZ} This copy is {made}."


def _license(outline: Outline) -> str:
    if devkit_ids(outline.classes) is not None:
        return (
            "These are reduced copies of ImageNet's images, so ImageNet's terms of access hold for "
            "them too: do not redistribute them without permission."
        )
    return "The terms of the set that these images were made from hold for them too."


def _field(
    name: str, kind: str, extract: dict[str, str], transform: dict[str, str] | None = None
) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": "tables"}, "extract": extract}
    if transform:
        source["transform"] = transform
    return {"@type": "cr:Field", "@id": f"default/{name}", "dataType": kind, "source": source}


def _one_line(text: str) -> str:
    return " ".join(text.split())
