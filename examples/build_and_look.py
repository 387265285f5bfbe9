"""Build a store of small variants, look at it, and read its arrays.

    python examples/build_and_look.py IMAGES FOLDER

IMAGES holds train/CLASS/*.jpg and val/CLASS/*.jpg. FOLDER gets the store and a contact sheet.
"""

import sys
from pathlib import Path

import lowres

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
options = lowres.BuildOptions(size=(8, 16, 32), filter=("box", "lanczos"))
lowres.build(source, folder / "store", options)
store = lowres.open_store(folder / "store")
print("contact sheet:", lowres.contact_sheet(store, folder / "sheet.png"))

for split in store.splits:
    labels = store.labels(split)
    for variant in store.variants:
        images = store.images(split, variant)  # (N, size, size, 3) uint8, a memory map
        print(f"{split:6} {variant!s:12} {images.shape} mean {images.mean():.1f}")
    print(f"{split:6} first image: {store.classes[labels[0]]}, {store.keys(split)[0]}")
