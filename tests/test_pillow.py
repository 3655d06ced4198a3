"""Pillow opens and saves `.vae` files as it does AVIF: the cases of its own tests of that plugin."""

from __future__ import annotations

import copy
import importlib
import io
import pickle
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

import vaecodec
from bitstream import container
from vaecodec.figures import psnr
from vaecodec.quality import TUNES

#: Mode of an image and that of its file.
MODES = {
    "1": "L", "L": "L", "LA": "LA", "La": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA",
    "RGBX": "RGB", "RGBa": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB", "I;16": "L",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def plugin() -> Iterator[None]:
    """Registered for these tests only: no other depends on it."""
    Image.init()  # all of Pillow's own formats, which it registers once per process
    tables = (Image.OPEN, Image.SAVE, Image.EXTENSION, Image.MIME)
    before, names = [dict(table) for table in tables], list(Image.ID)
    sys.modules.pop("vaecodec.pillow", None)
    importlib.import_module("vaecodec.pillow")
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)
    Image.ID[:] = names


@pytest.fixture(scope="module")
def saved(photo: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "VAE", quality=50)
    return file.getvalue()


@pytest.fixture
def path(tmp_path: Path, saved: bytes) -> Path:
    path = tmp_path / "photo.vae"
    path.write_bytes(saved)
    return path


def test_opening(path: Path, photo: np.ndarray) -> None:
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("VAE", "RGB", (256, 192))
        assert image.get_format_mimetype() == "image/x-vae"
        assert not getattr(image, "is_animated", False)
        assert psnr(photo, np.asarray(image)) > 28
        assert np.array_equal(np.asarray(image), np.asarray(vaecodec.decode(path)))


def test_loading_again_after_a_lack_of_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise MemoryError

    image = Image.open(path)
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(vaecodec, "decode", lacking)
        image.load()
    assert np.array_equal(np.asarray(image), np.asarray(vaecodec.decode(path)))


@pytest.mark.parametrize("tune", TUNES)
def test_options_of_save(photo: np.ndarray, tmp_path: Path, tune: str) -> None:
    image = Image.fromarray(photo)
    image.save(tmp_path / "a.vae", quality=30, effort=1, tune=tune, nonesuch=3)
    assert (tmp_path / "a.vae").read_bytes() == vaecodec.encode(photo, 30, effort=1, tune=tune)
    image.save(tmp_path / "b.vae", lossless=True)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.vae")), photo)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode(photo: np.ndarray, mode: str) -> None:
    source = Image.fromarray(photo[:64, :64])
    if mode == "I;16":
        image = Image.fromarray(photo[:64, :64, 0].astype(np.uint16) * 257)
    elif mode in ("La", "RGBa"):
        image = source.convert("LA" if mode == "La" else "RGBA").convert(mode)
    elif mode == "PA":
        image = source.convert("P").convert("PA")
    else:
        image = source.convert(mode)
    file = io.BytesIO()
    image.save(file, "VAE", lossless=True)
    with Image.open(file) as back:
        assert (back.mode, back.size) == (MODES[mode], (64, 64))
        if mode not in ("I;16", "PA"):
            assert np.array_equal(np.asarray(back), np.asarray(image.convert(back.mode)))


@pytest.mark.parametrize("mode", ["F", "I"])
def test_modes_without_a_range(mode: str) -> None:
    with pytest.raises(OSError, match=f"mode {mode}"):
        Image.new(mode, (4, 4)).save(io.BytesIO(), "VAE")


def test_metadata(photo: np.ndarray) -> None:
    profile = Image.open(io.BytesIO(_png_with_profile(photo))).info["icc_profile"]
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    image, file = Image.fromarray(photo[:32, :32]), io.BytesIO()
    image.info["icc_profile"] = profile
    image.save(file, "VAE", exif=exif, xmp=b"<x:xmpmeta/>")
    with Image.open(file) as back:
        assert back.info["icc_profile"] == profile
        assert back.getexif()[0x0110] == "a camera"
        assert back.info["xmp"] == b"<x:xmpmeta/>"
    image.save(file := io.BytesIO(), "VAE", icc_profile=None)
    with Image.open(file) as back:
        assert "icc_profile" not in back.info


def _png_with_profile(photo: np.ndarray) -> bytes:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "PNG", icc_profile=profile)
    return file.getvalue()


def test_exclusive_files_are_closed_after_load(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        image = Image.open(path)
        file = image.fp
        image.load()
        assert file.closed
        assert image.getpixel((0, 0))
    with path.open("rb") as own:
        image = Image.open(own)
        image.load()
        assert not own.closed


def test_a_second_load_after_a_failure_says_why(path: Path, saved: bytes) -> None:
    path.write_bytes(saved[:-9] + b"?" + saved[-8:])
    image = Image.open(path)
    messages = []
    for _ in range(2):
        with pytest.raises(OSError, match="checksum") as caught:
            image.load()
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_verify(path: Path, saved: bytes) -> None:
    Image.open(path).verify()
    path.write_bytes(saved[:-9] + b"?" + saved[-8:])
    with pytest.raises(OSError, match="checksum"):
        Image.open(path).verify()


def test_what_is_no_file_of_ours(tmp_path: Path, saved: bytes) -> None:
    for name, content, kind in (
        ("other.vae", b"hello", UnidentifiedImageError),
        ("empty.vae", b"", UnidentifiedImageError),
        ("head.vae", saved[:12], OSError),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(kind):
            Image.open(tmp_path / name)
    (tmp_path / "cut.vae").write_bytes(saved[:-9])
    with pytest.raises(OSError, match="chunk"), Image.open(tmp_path / "cut.vae") as image:
        image.load()


def test_what_follows_the_end_is_ignored(saved: bytes) -> None:
    for more in (bytes(512), saved):
        with Image.open(io.BytesIO(saved + more)) as image:
            assert image.getpixel((3, 3))
            assert np.array_equal(np.asarray(image), np.asarray(vaecodec.decode(saved)))


def test_truncated_images_if_asked_for(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = np.tile(photo[:32], (1, 5, 1))[:, :1100]
    data = vaecodec.encode(wide, 30, lossless=False)
    with pytest.raises(OSError, match="chunk"):
        Image.open(io.BytesIO(data[:-9])).load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with Image.open(io.BytesIO(data[:-9])) as image:
        image.load()
        assert image.size == (1100, 32)


def test_pictures_beyond_the_limit(saved: bytes) -> None:
    header = container.parse(saved).header
    large = container.Header(**{**header.__dict__, "width": 2**20, "height": 2**20})
    start = container.pack(large, [b""] * large.group_count)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(start))


def test_errors_of_save_name_the_file(photo: np.ndarray, tmp_path: Path) -> None:
    image = Image.fromarray(photo)
    for options, message in (({"quality": 101}, "quality must be"), ({"tune": "ssim"}, "no tune is")):
        with pytest.raises(OSError, match=f"bad.vae: {message}"):
            image.save(tmp_path / "bad.vae", **options)


def test_copies(path: Path) -> None:
    expected = np.asarray(vaecodec.decode(path))
    for copied in (
        lambda i: pickle.loads(pickle.dumps(i)),
        copy.copy,
        copy.deepcopy,
        lambda i: i.copy(),
    ):
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(copied(image)), expected)
            assert np.array_equal(np.asarray(image), expected)


def test_threads(path: Path) -> None:
    def mean(_: int) -> float:
        with Image.open(path) as image:
            return float(np.asarray(image.crop((3, 4, 50, 60))).mean())

    with ThreadPoolExecutor(4) as pool:
        assert len({round(value, 1) for value in pool.map(mean, range(8))}) == 1


def test_opening_reads_the_head_only(saved: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the picture: no checksum of a group is computed, no group is looked at."""
    header = container.parse(saved).header
    large = container.Header(**{**header.__dict__, "width": 10240, "height": 10240})
    data = container.pack(large, [bytes(150_000)] * large.group_count)
    computed = []
    crc32 = container.zlib.crc32
    monkeypatch.setattr("bitstream.chunks.zlib.crc32", lambda x: computed.append(len(x)) or crc32(x))
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (10240, 10240)
    assert sum(computed) < 160_000 * 2


def test_targets_of_save(tmp_path: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).save(tmp_path / "a.vae", target_size=3000)
    assert 2880 <= (tmp_path / "a.vae").stat().st_size <= 3000


def test_damage_names_the_file(tmp_path: Path, photo: np.ndarray) -> None:
    data = bytearray(vaecodec.encode(photo, 60))
    data[len(data) // 2] ^= 1
    (tmp_path / "a.vae").write_bytes(data)
    with Image.open(tmp_path / "a.vae") as image, pytest.raises(OSError, match=r"a\.vae: "):
        image.load()


@pytest.mark.parametrize("key", ["exif", "icc_profile", "xmp"])
@pytest.mark.parametrize("value", [5, "text"])
def test_metadata_that_is_none(tmp_path: Path, photo: np.ndarray, key: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"{key} must be bytes"):
        Image.fromarray(photo).save(tmp_path / "a.vae", **{key: value})
    assert not (tmp_path / "a.vae").exists()


def test_metadata_replaced_of_files(tmp_path: Path, photo: np.ndarray, srgb_profile: bytes) -> None:
    """What is not replaced is that of the file."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "a camera"
    Image.fromarray(photo[:64, :64]).save(tmp_path / "scan.tif", exif=exif)
    scan = Image.open(tmp_path / "scan.tif")
    scan.save(tmp_path / "scan.vae", icc_profile=srgb_profile)
    with Image.open(tmp_path / "scan.vae") as saved:
        assert saved.getexif()[ExifTags.Base.Make] == "a camera"
        assert saved.info["icc_profile"] == srgb_profile
    Image.fromarray(photo[:64, :64]).save(tmp_path / "a.jpg", quality=30)
    files = []
    for number, replaced in enumerate(({}, {"xmp": b""})):
        path = tmp_path / f"{number}.vae"
        Image.open(tmp_path / "a.jpg").save(path, deblock="auto", **replaced)
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_exif_that_cannot_be_written(tmp_path: Path, photo: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x8769] = {0x9000: object()}
    with pytest.raises(ValueError, match="EXIF data cannot be written"):
        Image.fromarray(photo).save(tmp_path / "a.vae", exif=exif)
