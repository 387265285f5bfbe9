"""What a build changes or loses in an image is refused, or counted and noted; never silent."""

import io
import struct
import zlib

import numpy as np
import PIL
import pytest
from PIL import Image, features

import lowres
from images import draw_image, encoded
from lowres.errors import SourceError, VariantError
from lowres.resampling.decode import quiet_decoder
from lowres.store.build import build
from lowres.store.options import BuildOptions, Working

PILLOW = tuple(map(int, PIL.__version__.split(".")[:2]))
RAMP = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))
SCALED = [14, 46, 78, 111, 143, 176, 208, 240]
COLORS = draw_image(3, 40, 40)
PLAIN = draw_image(8, 40, 40)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_16(values: np.ndarray, color_type: int) -> bytes:
    """Write a PNG of 16 bits a channel: 2 is RGB, 4 grey with alpha, 6 RGB with alpha."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def make_set(folder, images: dict[str, bytes]):
    """Write class/name for each image; b/plain.png is there always."""
    for name, data in {"b/plain.png": encoded(PLAIN, "PNG"), **images}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def built(folder, images, **options):
    source = make_set(folder / "src", images)
    manifest = build(source, folder / "store", BuildOptions(**{"size": 8, **options}))
    store = lowres.open_store(folder / "store")
    rows = dict(zip(store.keys("train"), store.images("train", "8-box"), strict=True))
    return manifest, rows


def at_8_px(image: np.ndarray) -> np.ndarray:
    return lowres.resample(image, [lowres.Variant(8, "box")])[0]


DEEP = {
    "16-bit grey PNG": saved(Image.fromarray(RAMP), "PNG"),
    "16-bit grey TIFF": saved(Image.fromarray(RAMP), "TIFF"),
    "16-bit grey TIFF, big-endian": saved(Image.frombytes("I;16B", (64, 64),
                                          RAMP.astype(">u2").tobytes()), "TIFF"),
    "32-bit TIFF": saved(Image.fromarray(RAMP.astype(np.int32)), "TIFF"),
    "TIFF of floats": saved(Image.fromarray((RAMP / 65535).astype(np.float32)), "TIFF"),
    "PGM": b"P5\n64 64\n65535\n" + RAMP.astype(">u2").tobytes(),
    "PGM of 12 bits": b"P5\n64 64\n4095\n" + (RAMP >> 4).astype(">u2").tobytes(),
    "PFM": b"Pf\n64 64\n-1.0\n" + (RAMP[::-1] / 65535).astype("<f4").tobytes(),
}  # fmt: skip
"""One ramp from black to white."""
if PILLOW < (10, 3):
    del DEEP["PFM"]  # which it does not read


@pytest.mark.parametrize("name", DEEP)
def test_values_beyond_8_bits_stop_the_build_unless_a_depth_is_chosen(tmp_path, name):
    with pytest.raises(SourceError, match=r"deep\.png cannot be read: its values .* --depth scale"):
        built(tmp_path / "stop", {"a/deep.png": DEEP[name]})
    manifest, rows = built(tmp_path / "scale", {"a/deep.png": DEEP[name]}, depth="scale")
    assert np.abs(rows["a/deep.png"][4, :, 0].astype(int) - SCALED).max() <= 1
    assert manifest.findings == {"scaled": 1}
    assert manifest.notes[-1] == "1 image of more than 8 bits scaled to 8 bits"
    manifest, rows = built(tmp_path / "clip", {"a/deep.png": DEEP[name]}, depth="clip")
    with Image.open(io.BytesIO(DEEP[name])) as image:
        expected = at_8_px(np.asarray(image.convert("RGB")))
    np.testing.assert_array_equal(rows["a/deep.png"], expected)
    assert "clipped: their values above 255 became 255" in manifest.notes[-1]


LEVELS = COLORS[..., 0]
EIGHT_BITS = {
    "8-bit grey": saved(Image.fromarray(LEVELS), "PNG"),
    "levels of 8 bits in 16": saved(Image.fromarray(LEVELS.astype(np.uint16)), "PNG"),
    "levels of 8 bits in 32": saved(Image.fromarray(LEVELS.astype(np.int32)), "TIFF"),
    "levels of 8 bits as floats": saved(Image.fromarray(LEVELS.astype(np.float32)), "TIFF"),
    "PGM": b"P5\n40 40\n255\n" + LEVELS.tobytes(),
}


@pytest.mark.parametrize("name", EIGHT_BITS)
def test_levels_of_8_bits_are_neither_refused_nor_noted(tmp_path, name):
    manifest, rows = built(tmp_path, {"a/fine.png": EIGHT_BITS[name]})
    expected = at_8_px(np.repeat(LEVELS[..., None], 3, 2))
    np.testing.assert_array_equal(rows["a/fine.png"], expected)
    assert (manifest.findings, manifest.notes) == ({}, ())


@pytest.mark.parametrize(("most", "found"), [(4095, True), (8191, False), (255, False), (0, False)])
def test_colors_of_12_bits_in_16_are_noted_as_near_black(tmp_path, most, found):
    colors = np.repeat((RAMP.astype(np.int64) * most // 65535).astype(RAMP.dtype)[..., None], 3, 2)
    manifest, rows = built(tmp_path, {"a/deep.png": png_16(colors, 2)})
    assert rows["a/deep.png"].max() <= most // 256
    assert manifest.findings == {"reduced": 1} | ({"dark": 1} if found else {})
    assert any("near-black here: multiply their values by 16" in n for n in manifest.notes) == found


DEEP_COLORS = {
    "RGB": png_16(np.repeat(RAMP[..., None], 3, 2), 2),
    "grey with alpha": png_16(np.stack([RAMP, np.full_like(RAMP, 65535)], 2), 4),
    "PPM": b"P6\n64 64\n65535\n" + np.repeat(RAMP[..., None], 3, 2).astype(">u2").tobytes(),
}


@pytest.mark.parametrize("depth", [None, "clip", "scale"])
@pytest.mark.parametrize("name", DEEP_COLORS)
def test_colors_of_16_bits_are_right_and_counted(tmp_path, name, depth):
    """Pillow reduces them to the upper 8 bits by itself."""
    manifest, rows = built(tmp_path, {"a/deep.png": DEEP_COLORS[name]}, depth=depth)
    assert np.abs(rows["a/deep.png"][4, :, 0].astype(int) - SCALED).max() <= 1
    assert manifest.findings == {"reduced": 1}
    assert "colours of 16 bits reduced to the upper 8 bits" in manifest.notes[-1]


@pytest.mark.parametrize(
    ("values", "depth", "words"),
    [
        (RAMP.astype(np.int32) * 2, "scale", "from 0 to 131070, and --depth scale takes"),
        (RAMP.astype(np.int32) - 5, "scale", "from -5 to"),
        (RAMP.astype(np.float32), "scale", "floats from 0 to 65535"),
        (np.where(RAMP > 9, np.nan, RAMP).astype(np.float32), "scale", "nan"),
        (np.where(RAMP > 9, np.nan, RAMP).astype(np.float32), "clip", "no numbers"),
        ((RAMP > 9).astype(np.float32), None, "floats from 0 to 1, and a store has 8 bits"),
    ],
)
def test_values_of_an_unknown_range_are_refused(tmp_path, values, depth, words):
    with pytest.raises(SourceError, match=words):
        built(tmp_path, {"a/odd.tif": saved(Image.fromarray(values), "TIFF")}, depth=depth)


CLEAR = np.dstack([COLORS, np.zeros((40, 40), np.uint8)])
CLEAR[10:30, 10:30] = (200, 30, 30, 255)
TRANSPARENT = {
    "PNG": saved(Image.fromarray(CLEAR), "PNG"),
    "WebP": saved(Image.fromarray(CLEAR), "WEBP", lossless=True, exact=True),
    "grey with alpha": saved(Image.fromarray(CLEAR).convert("LA"), "PNG"),
    "palette": saved(Image.fromarray(COLORS).quantize(16), "PNG", transparency=b"\x00" * 16),
    "colour key": saved(Image.fromarray(np.full((40, 40, 3), 9, np.uint8)), "PNG",
                        transparency=(9, 9, 9)),
    "GIF": saved(Image.fromarray(COLORS).quantize(16), "GIF", transparency=3),
    "half": saved(Image.fromarray(np.dstack([COLORS, np.full((40, 40), 99, np.uint8)])), "PNG"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSPARENT)
def test_transparent_pixels_are_noted_and_laid_over_a_colour(tmp_path, name):
    manifest, rows = built(tmp_path / "drop", {"a/clear.png": TRANSPARENT[name]})
    with quiet_decoder(), Image.open(io.BytesIO(TRANSPARENT[name])) as image:
        dropped = np.asarray(image.convert("RGB"))
        layers = image.convert("RGBA")
    expected = at_8_px(dropped)
    np.testing.assert_array_equal(rows["a/clear.png"], expected)
    assert manifest.findings == {"transparent": 1}
    assert "1 image with transparent pixels: Pillow drops alpha" in manifest.notes[-1]
    for color, name_of in (("white", "#ffffff"), ("#102030", "#102030")):
        manifest, rows = built(
            tmp_path / name_of, {"a/clear.png": TRANSPARENT[name]}, background=color
        )
        ground = Image.new("RGBA", layers.size, color)
        laid = np.asarray(Image.alpha_composite(ground, layers).convert("RGB"))
        expected = at_8_px(laid)
        np.testing.assert_array_equal(rows["a/clear.png"], expected)
        assert manifest.notes[-1].endswith(f"they were laid over {name_of}")
        assert manifest.options["background"] == name_of


def test_an_opaque_alpha_is_not_noted_and_a_background_changes_nothing(tmp_path):
    opaque = {"a/opaque.png": saved(Image.fromarray(COLORS).convert("RGBA"), "PNG")}
    one, rows = built(tmp_path / "one", opaque)
    other, laid = built(tmp_path / "other", opaque, background="red")
    assert one.notes == other.notes == ()
    np.testing.assert_array_equal(rows["a/opaque.png"], laid["a/opaque.png"])


@pytest.mark.parametrize("color", ["wihte", "#12", "#ffffff80", "rgba(1,2,3,4)"])
def test_no_colour_is_refused(tmp_path, color):
    with pytest.raises(VariantError, match="--background must be an opaque colour"):
        built(tmp_path, {"a/plain.png": encoded(COLORS, "PNG")}, background=color)


def turned(kind: str, orientation: int = 6, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(COLORS[:30]), kind, exif=exif, **options)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="8"/></x:xmpmeta>'
TURNED = {
    "JPEG": turned("JPEG"),
    "JPEG with dots per inch": turned("JPEG", dpi=(72, 72)),
    "JPEG, mirrored": turned("JPEG", 2),
    "JPEG with XMP": saved(Image.fromarray(COLORS[:30]), "JPEG", xmp=XMP),
    "PNG": turned("PNG"),
    "WebP": turned("WEBP", lossless=True),
}
if PILLOW < (11, 0):
    del TURNED["JPEG with XMP"]  # which it does not write


@pytest.mark.parametrize("name", TURNED)
def test_images_with_an_orientation_are_noted_and_turned_when_asked(tmp_path, name):
    manifest, _ = built(tmp_path / "as-is", {"a/turned.png": TURNED[name]})
    assert manifest.findings == {"turned": 1}
    assert "stored unturned; to turn them, build with --exif-rotate" in manifest.notes[-1]
    manifest, _ = built(tmp_path / "turned", {"a/turned.png": TURNED[name]}, exif_rotate=True)
    assert manifest.notes[-1] == "1 image with an EXIF orientation: turned by it"


@pytest.mark.parametrize(
    "data", [turned("JPEG", 1), turned("PNG", 1), turned("JPEG", 9), turned("TIFF")]
)
def test_upright_images_are_not_noted(tmp_path, data):
    """Pillow turns a TIFF by itself."""
    assert built(tmp_path, {"a/upright.png": data})[0].findings == {}


SMALL = {  # sides, the sizes that are built by default, and the note
    "CIFAR as PNG": ([(32, 32)] * 8, (16, 32), "no 64 px by default"),
    "digits": ([(28, 28)] * 8, (16,), "no 32 or 64 px by default"),
    "tiny": ([(9, 12)] * 8, (9,), "no 16 or 32 or 64 px by default"),
    "wide": ([(500, 40)] * 8, (16, 32), "their shorter side is 40 px"),
    "a few small ones": ([(80, 90)] * 6 + [(48, 80)] * 2, (16, 32, 64), "64 px is larger than"),
}


@pytest.mark.parametrize("name", SMALL)
def test_no_default_size_enlarges_most_images(tmp_path, name):
    sides, sizes, words = SMALL[name]
    for number, (width, height) in enumerate(sides):
        path = tmp_path / "src" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(draw_image(number, width, height), "PNG"))
    manifest = build(tmp_path / "src", tmp_path / "store")
    assert manifest.variants == tuple(f"{size}-box" for size in sizes)
    assert words in manifest.notes[-1]
    chosen = build(tmp_path / "src", tmp_path / "chosen", BuildOptions(size=(16, 64)))
    share = sum(min(side) < 64 for side in sides)
    assert chosen.findings["enlarged to 64"] == share
    whole = share == len(sides)
    assert f"64 px is larger than {'100 %' if whole else '25.0 %'} of the images" in "\n".join(
        chosen.notes
    )


def test_large_images_get_all_default_sizes_without_a_note(tmp_path):
    large = encoded(draw_image(1, 70, 64), "PNG")
    make_set(tmp_path / "src", {"a/1.png": large, "a/2.png": large, "b/plain.png": large})
    manifest = build(tmp_path / "src", tmp_path / "store")
    assert manifest.variants == ("16-box", "32-box", "64-box")
    assert not any("px is larger" in note or "by default" in note for note in manifest.notes)


def test_findings_survive_a_kill_and_do_not_depend_on_the_workers(tmp_path, monkeypatch):
    images = {f"a/{n}.png": data for n, data in enumerate(TRANSPARENT.values())}
    source = make_set(tmp_path / "src", images)
    (source / "b" / "broken.png").write_bytes(b"")
    with pytest.raises(SourceError):
        build(source, tmp_path / "one", BuildOptions(size=8), working=Working(workers=1))
    (source / "b" / "broken.png").write_bytes(TURNED["JPEG"])
    for name, workers in (("one", 1), ("many", 4)):
        working = Working(workers=workers)
        build(source, tmp_path / name, BuildOptions(size=8), working=working)
    one, many = (lowres.open_store(tmp_path / name).manifest for name in ("one", "many"))
    assert one == many
    assert one.findings["transparent"] == len(images)
    assert one.findings["turned"] == 1


@pytest.mark.skipif("avif" not in features.get_supported(), reason="no AVIF in this Pillow")
def test_avif_is_read(tmp_path):
    data = saved(Image.fromarray(COLORS), "AVIF", quality=100)
    assert built(tmp_path, {"a/new.png": data})[0].notes == ()


def test_heic_is_read_with_its_plugin_or_named_with_what_to_install(tmp_path, monkeypatch):
    from lowres.resampling import decode

    decode._formats.cache_clear()
    monkeypatch.setattr(decode, "find_spec", lambda _: None)
    box = struct.pack(">I", 24) + b"ftypheic" + b"\0\0\0\0mif1heic"
    with pytest.raises(SourceError, match=r"is HEIC, which needs pillow-heif; run: pip install"):
        built(tmp_path / "without", {"a/phone.png": box})
    monkeypatch.undo()
    decode._formats.cache_clear()
    pillow_heif = pytest.importorskip("pillow_heif")
    with pytest.raises(SourceError, match="is HEIC, and damaged"):
        built(tmp_path / "damaged", {"a/phone.png": box})
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(COLORS)).save(buffer, quality=100)
    assert built(tmp_path / "with", {"a/phone.png": buffer.getvalue()})[0].notes == ()


def test_notes_name_the_classes_that_were_asked_for(tmp_path):
    for split, names in (("train", "ab"), ("val", "abcd")):
        for name in names:
            path = tmp_path / "src" / split / name / f"{split}.png"
            path.parent.mkdir(parents=True)
            path.write_bytes(encoded(draw_image(ord(name) * 9 + len(split), 40, 40), "PNG"))
    every = build(tmp_path / "src", tmp_path / "every", BuildOptions(size=8))
    assert every.notes == ("train has no images of 2 of the 4 classes, c first",)
    some = build(tmp_path / "src", tmp_path / "some", BuildOptions(size=8, classes=("a", "b")))
    assert some.notes == ()
    some = build(tmp_path / "every", tmp_path / "copy", BuildOptions(classes=("a", "b")))
    assert [note for note in some.notes if "has no images" in note] == []
    three = build(tmp_path / "src", tmp_path / "three", BuildOptions(size=8, classes=("a", "c")))
    assert three.notes == ("train has no images of 1 of the 2 classes, c first",)


def equal_set(folder, val: dict[str, int], train: dict[str, int]):
    for split, images in (("train", train), ("val", val)):
        for name, number in images.items():
            path = folder / split / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(draw_image(number, 30, 30), "PNG"))
    return folder


def test_equal_images_across_splits_and_classes_are_noted(tmp_path):
    train = {"cat/1": 1, "cat/2": 2, "dog/1": 3, "dog/2": 4, "dog/3": 1}
    source = equal_set(tmp_path / "src", {"cat/9": 2, "dog/9": 7}, train)
    manifest = build(source, tmp_path / "store", BuildOptions(size=(4, 8)))
    assert manifest.findings == {"val also in train": 1, "in two classes": 2}
    end = " (equal pixels at 8 px); for a list, run: lowres check STORE"
    assert manifest.notes[-2:] == (
        f"duplicates: 1 of the 2 images of val are in train, too{end}",
        f"duplicates: 2 images in more than one class{end}",
    )


def test_equal_images_of_one_class_and_split_are_not_noted(tmp_path):
    train = {"cat/1": 1, "cat/2": 1, "dog/1": 3}
    source = equal_set(tmp_path / "src", {"cat/9": 12, "dog/9": 13}, train)
    assert build(source, tmp_path / "store", BuildOptions(size=8)).notes == ()
