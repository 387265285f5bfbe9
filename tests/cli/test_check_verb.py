"""The verb check, as it is typed."""

import csv

import numpy as np
from PIL import Image

from near_images import CHANGES, make_store, plain_set


def test_the_command_writes_a_list_and_a_sheet(call, tmp_path):
    images = plain_set()
    images["val/cat/leak"] = images["train/cat/1"]
    images["val/dog/near"] = CHANGES["compressed"](images["train/dog/0"])
    images["val/dog/blank"] = np.zeros((64, 64, 3), np.uint8)
    store = make_store(tmp_path, images)
    status, text, _ = call("check", store.path)
    assert status == 1
    assert f"run: lowres check {store.path} --out pairs.csv" in text
    table, sheet = tmp_path / "out" / "pairs.csv", tmp_path / "out" / "pairs.png"
    status, text, _ = call("check", store.path, "--out", table, "--sheet", sheet, "--quiet")
    assert f"{table}: 3 lines" in text
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["split"], row["key"], row["other_key"]) for row in rows] == [
        ("equal", "train", "cat/1.png", "cat/leak.png"),
        ("near", "train", "dog/0.png", "dog/near.png"),
        ("blank", "val", "dog/blank.png", ""),
    ]
    assert rows[0]["other_split"] == "val"
    assert store.keys("val")[int(rows[0]["other_row"])] == "cat/leak.png"
    with Image.open(sheet) as image:
        assert image.width > 4 * 2 * 96
    status, text, _ = call("check", make_store(tmp_path / "clean", plain_set()).path)
    assert status == 0
    assert "--out" not in text
