"""What a picture carries: modes, transparency, depth, orientation, metadata."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vaecodec
from bitstream import container
from vaecodec.bench.metrics import psnr
from vaecodec.codec import Codec
from vaecodec.pictures.metadata import upright_exif
from vaecodec.pictures.reading import read_picture, to_picture


@pytest.mark.parametrize(
    ("mode", "result"),
    [
        *(("1", "L"), ("L", "L"), ("LA", "LA"), ("La", "LA"), ("P", "RGB"), ("PA", "RGBA")),
        *(("RGB", "RGB"), ("RGBA", "RGBA"), ("RGBa", "RGBA"), ("RGBX", "RGB")),
        *(("CMYK", "RGB"), ("YCbCr", "RGB"), ("HSV", "RGB"), ("I;16", "L")),
    ],
)
def test_modes(codec: Codec, photo: np.ndarray, mode: str, result: str) -> None:
    image = Image.fromarray(photo[:32, :40])
    if mode in ("LA", "La"):
        image = image.convert("LA").convert(mode)
    elif mode in ("PA", "RGBa"):
        image = image.convert({"PA": "P", "RGBa": "RGBA"}[mode]).convert(mode)
    elif mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    assert image.mode == mode
    decoded = codec.decode(codec.encode(image, 90, lossless=False))
    assert decoded.mode == result
    expected = to_picture(image).samples
    # Dithering is noise to the codec.
    assert psnr(expected, np.asarray(decoded.convert("RGB"))) > (30 if mode[0] not in "1P" else 4)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_is_exact(codec: Codec, photo: np.ndarray, channels: int, lossless: bool) -> None:
    y, x = np.mgrid[0:100, 0:120]
    alpha = np.clip(255 - 4 * np.hypot(y - 50, x - 60), 0, 255).astype(np.uint8)
    picture = np.dstack((photo[:100, :120, : channels - 1], alpha))
    decoded = np.asarray(codec.decode(codec.encode(picture, 40, lossless=lossless)))
    assert np.array_equal(decoded[:, :, -1], alpha)
    assert not lossless or np.array_equal(decoded, picture)
    assert psnr(picture[alpha > 0], decoded[alpha > 0]) > 26


def test_transparency_of_several_groups(codec: Codec) -> None:
    alpha = (np.add.outer(np.arange(1030), np.arange(1040)) % 251).astype(np.uint8)
    picture = np.dstack((np.full((1030, 1040, 3), 99, np.uint8), alpha))
    data = codec.encode(picture, 1, lossless=False)
    assert len(container.parse(data).alphas) == 4
    assert np.array_equal(np.asarray(codec.decode(data))[:, :, 3], alpha)
    part = np.asarray(codec.decode(data, region=(1000, 990, 37, 38)))
    assert np.array_equal(part[:, :, 3], alpha[990:1028, 1000:1037])


def test_what_cannot_be_seen_costs_little(codec: Codec, photo: np.ndarray) -> None:
    """Noise under full transparency."""
    alpha = np.zeros(photo.shape[:2], np.uint8)
    alpha[:, :128] = 255
    noise = np.random.default_rng(0).integers(0, 256, photo.shape).astype(np.uint8)
    hidden = np.dstack((np.where(alpha[:, :, None] > 0, photo, noise), alpha))
    left = len(codec.encode(np.ascontiguousarray(photo[:, :128]), 60))
    assert len(codec.encode(hidden, 60)) < 1.25 * left


def cmyk_profile() -> bytes:
    """A small ICC profile (version 2) of a printer of which only the black ink counts."""
    header = bytearray(128)
    header[8:12] = bytes.fromhex("02100000")
    header[12:24] = b"prtrCMYKLab "
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">3i", 63190, 65536, 54061)  # D50
    ramp = bytes(range(256))
    corners = b"".join(bytes((0 if ink % 2 else 255, 128, 128)) for ink in range(16))  # C, M, Y, K
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + matrix + ramp * 4 + corners + ramp * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    text = b"text\0\0\0\0none\0\0\0\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(83)
    tags = {b"A2B0": table, b"wtpt": white, b"cprt": text, b"desc": name}
    index, body, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        index += tag + struct.pack(">II", offset + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header[:4] = struct.pack(">I", offset + len(body))
    return bytes(header) + index + body


def test_cmyk_goes_through_its_profile(codec: Codec, tmp_path: Path) -> None:
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[:, 4:, :3] = 200  # colours, which this printer does not show
    inks[4:, :, 3] = 255
    image = Image.fromarray(inks, "CMYK")
    image.save(tmp_path / "print.tiff", icc_profile=cmyk_profile())
    picture = read_picture(tmp_path / "print.tiff")
    assert picture.samples[:4].min() >= 253
    assert picture.samples[4:].max() <= 2
    assert "icc" not in picture.metadata  # it is no profile of what is stored
    assert to_picture(image).samples[0, 5].max() < 60  # without the profile colours count
    image.info["icc_profile"] = b"no profile at all"
    with pytest.raises(vaecodec.BadImage, match="colour profile of the CMYK picture cannot be used"):
        to_picture(image)


def test_16_bits_become_8(tmp_path: Path) -> None:
    samples = np.linspace(0, 65535, 512).astype(np.uint16).reshape(16, 32)
    Image.fromarray(samples).save(tmp_path / "deep.png")
    picture = read_picture(tmp_path / "deep.png")
    assert picture.notices == ("16 bits per sample (reduced to 8)",)
    assert np.array_equal(picture.samples[:, :, 0], np.rint(samples / 257).astype(np.uint8))
    assert picture.grey
    colour = tmp_path / "colour.ppm"
    colour.write_bytes(b"P6 2 1 65535\n" + struct.pack(">6H", 0, 257, 514, 65535, 30000, 1))
    deep = read_picture(colour)
    assert (deep.samples[0, 0].tolist(), deep.grey) == ([0, 1, 2], False)


def test_a_16_bit_colour_file_says_so(tmp_path: Path) -> None:
    """Pillow reads 16 bits of colour as 8 without a word, and writes none."""

    def chunk(kind: bytes, payload: bytes) -> bytes:
        body = kind + payload
        return struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))

    rows = (b"\0" + struct.pack(">6H", 0, 30000, 65535, 1, 2, 3)) * 2
    size = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    picture = read_picture(tmp_path / "deep.png")
    assert picture.notices == ("16 bits per sample (reduced to 8)",)
    assert picture.samples.shape == (2, 2, 3)


def test_transparency_by_colour(tmp_path: Path) -> None:
    """PNG files may name one colour that is transparent."""
    deep = np.arange(0, 64 * 1000, 1000).astype(np.uint16).reshape(8, 8)
    Image.fromarray(deep).save(tmp_path / "deep.png", transparency=5000)
    Image.fromarray(deep.astype(np.uint8)).save(
        tmp_path / "grey.png", transparency=int(deep[2, 3] % 256)
    )
    picture = read_picture(tmp_path / "deep.png")
    assert picture.alpha is not None
    assert np.argwhere(picture.alpha == 0).tolist() == [[0, 5]]
    picture = read_picture(tmp_path / "grey.png")
    assert picture.alpha is not None
    assert picture.alpha[2, 3] == 0


def test_too_large_a_picture_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30000 x 9000 pixels, announced by a file of 100 bytes."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    (tmp_path / "huge.ppm").write_bytes(b"P6 30000 9000 255\n" + bytes(80))
    with pytest.raises(vaecodec.LimitExceeded, match=r"huge\.ppm: the picture has 30000 x 9000 pixels"):
        read_picture(tmp_path / "huge.ppm")
    wide = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (9000, 30000, 3))
    with pytest.raises(vaecodec.LimitExceeded, match="30000 x 9000 pixels"):
        to_picture(wide)


def test_a_picture_that_breaks_off(tmp_path: Path, photo_file: Path) -> None:
    (tmp_path / "cut.png").write_bytes(photo_file.read_bytes()[:3000])
    image = Image.open(tmp_path / "cut.png")
    with pytest.raises(vaecodec.BadImage, match="cannot be read completely"):
        to_picture(image)


def test_the_first_frame_of_an_animation(tmp_path: Path, photo: np.ndarray) -> None:
    frames = [Image.fromarray(photo[i : i + 16, :16]) for i in (0, 50)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    picture = read_picture(tmp_path / "moving.webp")
    assert picture.notices == ("frames but the first",)
    assert np.array_equal(picture.samples, photo[:16, :16])


def with_metadata(photo: np.ndarray, orientation: int) -> Image.Image:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x0110] = "a camera"
    image = Image.fromarray(photo[:40, :60])
    image.info["exif"] = exif.tobytes()
    image.info["icc_profile"] = b"profile" * 100
    image.info["xmp"] = b'<rdf tiff:Orientation="%d"/>' % orientation
    return image


@pytest.mark.parametrize("lossless", [True, False])
def test_metadata_is_kept(codec: Codec, photo: np.ndarray, lossless: bool) -> None:
    image = with_metadata(photo, 1)
    data = codec.encode(image, 50, lossless=lossless)
    decoded = codec.decode(data)
    assert decoded.info == {k: image.info[k] for k in ("icc_profile", "exif", "xmp")}
    stripped = codec.encode(image, 50, lossless=lossless, strip=True)
    assert codec.decode(stripped).info == {}
    assert len(stripped) < len(data)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(codec: Codec, photo: np.ndarray, orientation: int) -> None:
    image = with_metadata(photo, orientation)
    decoded = codec.decode(codec.encode(image, lossless=True))
    file = io.BytesIO()
    image.save(file, "PNG", exif=image.info["exif"])
    turned = np.asarray(decoded)
    assert turned.shape == ((60, 40, 3) if orientation > 4 else (40, 60, 3))
    corner = {
        1: (0, 0),
        2: (0, -1),
        3: (-1, -1),
        4: (-1, 0),
        5: (0, 0),
        6: (-1, 0),
        7: (-1, -1),
        8: (0, -1),
    }
    assert np.array_equal(turned[0, 0], photo[:40, :60][corner[orientation]])
    exif = decoded.getexif()
    assert (exif[0x0112], exif[0x0110]) == (1, "a camera")
    assert decoded.info["xmp"] == b'<rdf tiff:Orientation="1"/>'
    # Nothing but the orientation has changed.
    before, after = image.info["exif"], decoded.info["exif"]
    assert len(before) == len(after)
    assert sum(a != b for a, b in zip(before, after, strict=True)) <= 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_upright_exif_on_literal_bytes(order: str) -> None:
    start = b"II*\0" if order == "<" else b"MM\0*"
    data = start + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    expected = start + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, 1, 0, 0)
    assert upright_exif(data) == expected
    for length in range(len(data)):
        assert len(upright_exif(data[:length])) == length
    assert upright_exif(b"anything else") == b"anything else"


def test_damaged_exif_is_kept_and_says_nothing(codec: Codec, photo: np.ndarray) -> None:
    image = Image.fromarray(photo[:20, :30])
    image.info["exif"] = b"Exif\0\0II*\0\xff\xff\xff\x7f"
    decoded = codec.decode(codec.encode(image))
    assert decoded.info["exif"] == image.info["exif"]
    assert decoded.size == (30, 20)
