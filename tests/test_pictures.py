"""What a picture carries: modes, transparency, depth, orientation, metadata."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin, TiffImagePlugin, TiffTags

import vaecodec
from bitstream import container
from bitstream.errors import LimitExceeded
from vaecodec.codec import Codec
from vaecodec.figures import psnr
from vaecodec.pictures import metadata, reading
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
    part = np.asarray(codec.decode(data, box=(1000, 990, 1037, 1028)))
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


def test_cmyk_goes_through_its_profile(tmp_path: Path, srgb_profile: bytes) -> None:
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[:, 4:, :3] = 200  # colours, which this printer does not show
    inks[4:, :, 3] = 255
    image = Image.fromarray(inks, "CMYK")
    image.save(tmp_path / "print.tiff", icc_profile=cmyk_profile())
    picture = read_picture(tmp_path / "print.tiff")
    assert picture.samples[:4].min() >= 253
    assert picture.samples[4:].max() <= 2
    assert "icc" not in picture.metadata  # it is no profile of what is stored
    assert picture.notices == ("CMYK (converted to sRGB)",)
    assert to_picture(image).notices == ("CMYK (converted to RGB)",)
    assert to_picture(image).samples[0, 5].max() < 60  # without the profile colours count
    plain = to_picture(image).samples
    for useless in (b"no profile at all", srgb_profile):
        image.info["icc_profile"] = useless
        picture = to_picture(image)
        assert np.array_equal(picture.samples, plain)
        assert picture.notices == ("CMYK (converted to RGB)", "a colour profile that cannot be used")
        assert "icc" not in picture.metadata


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


def tiff(photometric: int, bits: int, order: str, samples: np.ndarray) -> bytes:
    """A grey TIFF file of one strip. `samples`: H x W, at most `bits` bits each."""
    height, width = samples.shape
    if bits == 12:
        pairs = samples.astype(int).reshape(height, -1, 2)
        a, b = pairs[:, :, 0], pairs[:, :, 1]
        data = np.stack((a >> 4, (a & 15) << 4 | b >> 8, b & 255), axis=2).astype(np.uint8).tobytes()
    else:
        data = samples.astype(order + "u2").tobytes()
    tags = [
        (256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
        (273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, len(data)),
    ]  # fmt: skip
    start = b"II*\0" if order == "<" else b"MM\0*"
    entries = b"".join(
        struct.pack(order + ("HHIHH" if kind == 3 else "HHII"), tag, kind, 1, value, *[0] * (kind == 3))
        for tag, kind, value in tags
    )
    head = start + struct.pack(order + "I", 8 + len(data))
    return head + data + struct.pack(order + "H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    ("photometric", "bits", "order"), [(1, 12, "<"), (1, 16, "<"), (1, 16, ">"), (0, 16, "<")]
)
def test_deep_grey_tiff(photometric: int, bits: int, order: str) -> None:
    """Every depth and meaning that Pillow opens comes out at full scale, white where it is white."""
    ramp = np.linspace(0, 2**bits - 1, 64).round().astype(int)
    picture = to_picture(tiff(photometric, bits, order, np.tile(ramp, (16, 1))))
    expected = np.linspace(0, 255, 64)[:: 1 if photometric else -1]
    assert np.abs(picture.samples[3, :, 0] - expected).max() <= 1
    assert picture.grey
    assert picture.notices == (f"{bits} bits per sample (reduced to 8)",)


@pytest.mark.parametrize("maximum", [1023, 4095, 65535])
@pytest.mark.parametrize("colours", [1, 3])
def test_deep_netpbm(maximum: int, colours: int) -> None:
    ramp = np.linspace(0, maximum, 64).round().astype(">u2")
    samples = np.repeat(np.tile(ramp, (16, 1))[:, :, None], colours, axis=2)
    head = f"P{5 if colours == 1 else 6} 64 16 {maximum}\n".encode()
    picture = to_picture(head + samples.tobytes())
    assert np.abs(picture.samples[3, :, 0] - np.linspace(0, 255, 64)).max() <= 1
    assert picture.grey == (colours == 1)
    assert picture.notices == ("16 bits per sample (reduced to 8)",)


RAMP = np.tile(np.linspace(0, 4095, 64).round().astype(int), (16, 1))
DEEP = {
    "12-bit TIFF": tiff(1, 12, "<", RAMP),
    "TIFF where 0 is white": tiff(0, 16, "<", RAMP),
    "PGM": b"P5 64 16 4095\n" + RAMP.astype(">u2").tobytes(),
}


@pytest.mark.parametrize("name", DEEP)
def test_a_loaded_image_is_the_same_picture(name: str) -> None:
    first = to_picture(DEEP[name])
    image = Image.open(io.BytesIO(DEEP[name]))
    loaded = Image.open(io.BytesIO(DEEP[name]))
    loaded.load()
    for again in (image, image, loaded):
        picture = to_picture(again)
        assert np.array_equal(picture.samples, first.samples)
        assert (picture.grey, picture.notices) == (first.grey, first.notices)


@pytest.mark.parametrize("kind", [">i2", "<f4"])
def test_samples_without_a_range_are_refused(kind: str) -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.int32 if kind == ">i2" else np.float32)).save(file, "TIFF")
    with pytest.raises(vaecodec.BadImage, match="has no range of samples"):
        to_picture(file.getvalue())


def png(width: int, bits: int, colour: int, row: bytes, clear: bytes = b"") -> bytes:
    """A PNG of two equal rows, with `clear` as its transparent value; Pillow writes few kinds."""

    def chunk(kind: bytes, payload: bytes) -> bytes:
        body = kind + payload
        return struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))

    chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, 2, bits, colour, 0, 0, 0))]
    chunks += [chunk(b"tRNS", clear)] if clear else []
    chunks += [chunk(b"IDAT", zlib.compress((b"\0" + row) * 2)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_16_bit_colour_file_says_so() -> None:
    """Pillow reads 16 bits of colour as 8 without a word."""
    picture = to_picture(png(2, 16, 2, struct.pack(">6H", 0, 30000, 65535, 1, 2, 3)))
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


def test_transparent_values_of_other_depths() -> None:
    deep = struct.pack(">9H", *[0x1234] * 3, *[0x3434] * 3, *[0x5612] * 3)
    picture = to_picture(png(3, 16, 2, deep, struct.pack(">3H", *[0x1234] * 3)))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[0, 255, 255]] * 2
    image = Image.open(io.BytesIO(png(3, 16, 2, deep, struct.pack(">3H", *[0x1234] * 3))))
    for _ in range(2):  # also once it is loaded
        again = to_picture(image).alpha
        assert again is not None and np.array_equal(again, picture.alpha)
    assert image.info["transparency"] == (0x1234,) * 3
    for bits, row in ((2, b"\x6c"), (4, b"\x12\x30")):  # 1, 2, 3
        image = Image.open(io.BytesIO(png(3, bits, 0, row, b"\0\2")))
        for _ in range(2):
            picture = to_picture(image)
            assert picture.alpha is not None
            assert picture.alpha.tolist() == [[255, 0, 255]] * 2


def test_grey_of_16_bits_with_alpha_is_grey() -> None:
    deep = png(2, 16, 4, struct.pack(">4H", 0x1234, 0xFFFF, 0x8000, 0x7F00))
    image = Image.open(io.BytesIO(deep))
    for _ in range(2):
        picture = to_picture(image)
        assert picture.grey and picture.alpha is not None
        samples, alpha = picture.samples[0, :, 0].tolist(), picture.alpha[0].tolist()
        assert (samples, alpha) == ([0x12, 0x80], [255, 127])


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


def with_metadata(photo: np.ndarray, orientation: int, srgb_profile: bytes) -> Image.Image:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x0110] = "a camera"
    image = Image.fromarray(photo[:40, :60])
    image.info["exif"] = exif.tobytes()
    image.info["icc_profile"] = srgb_profile
    image.info["xmp"] = b'<rdf tiff:Orientation="%d"/>' % orientation
    return image


@pytest.mark.parametrize("lossless", [True, False])
def test_metadata_is_kept(codec: Codec, photo: np.ndarray, lossless: bool, srgb_profile: bytes) -> None:
    image = with_metadata(photo, 1, srgb_profile)
    data = codec.encode(image, 50, lossless=lossless)
    decoded = codec.decode(data)
    assert decoded.info == {k: image.info[k] for k in ("icc_profile", "exif", "xmp")}
    stripped = codec.encode(image, 50, lossless=lossless, strip=True)
    assert codec.decode(stripped).info == {}
    assert len(stripped) < len(data)


@pytest.mark.parametrize("text", ["='6'", ' = "6"', "> 6 <"])
def test_orientation_that_only_xmp_names(photo: np.ndarray, text: str) -> None:
    image = Image.fromarray(photo[:40, :60])
    image.info["xmp"] = f"<rdf tiff:Orientation{text}/>".encode()
    picture = to_picture(image)
    assert np.array_equal(picture.samples, np.rot90(photo[:40, :60], -1))
    assert picture.metadata["xmp"] == image.info["xmp"].replace(b"6", b"1")
    exif = Image.Exif()
    exif[0x0112] = 3
    image = image.copy()
    image.info["exif"] = exif.tobytes()  # and comes first
    assert np.array_equal(to_picture(image).samples, photo[:40, :60][::-1, ::-1])


def test_orientation_among_tags_of_wrong_types(photo: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x0128] = 2
    data = exif.tobytes()
    short = struct.pack(">HHIHH", 0x0128, 3, 1, 2, 0)
    assert data.count(short) == 1
    file = io.BytesIO()
    wrong = data.replace(short, struct.pack(">HHIHH", 0x0128, 2, 1, 2, 0))  # text, not a number
    Image.fromarray(photo[:40, :60]).save(file, "PNG", exif=wrong)
    assert np.array_equal(to_picture(file.getvalue()).samples, np.rot90(photo[:40, :60], -1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(
    codec: Codec, photo: np.ndarray, orientation: int, srgb_profile: bytes
) -> None:
    image = with_metadata(photo, orientation, srgb_profile)
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


@pytest.mark.parametrize("kind", [1, 3, 4, 6, 8, 9])
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_of_every_integer_type_and_twice(kind: int, order: str) -> None:
    value = struct.pack(order + {1: "B3x", 3: "H2x", 4: "I", 6: "b3x", 8: "h2x", 9: "i"}[kind], 6)
    entry = struct.pack(order + "HHI", 0x112, kind, 1) + value
    start = b"II*\0" if order == "<" else b"MM\0*"
    exif = start + struct.pack(order + "IH", 8, 2) + entry + entry + bytes(4)
    for prefix in (b"Exif\0\0", b"Exif\0\0Exif\0\0"):
        file = io.BytesIO()
        Image.new("RGB", (96, 64)).save(file, "JPEG", exif=prefix + exif)
        decoded = vaecodec.decode(vaecodec.encode(file.getvalue()))
        shown = ImageOps.exif_transpose(Image.open(file)).size
        assert decoded.size == ImageOps.exif_transpose(decoded).size == shown
        assert decoded.info["exif"].count(b"Exif") == 1


def test_exif_of_tiff_and_of_text_in_png(tmp_path: Path, photo: np.ndarray) -> None:
    image, exif = Image.fromarray(photo[:40, :60]), Image.Exif()
    exif[0x010F], exif[0x0132], exif[0x0112] = "Camera", "2020:01:01 00:00:00", 6
    exif.get_ifd(0x8769)[0x9286] = b"a remark"
    exif[0x8769] = exif.get_ifd(0x8769)
    image.save(tmp_path / "a.tif", exif=exif)
    raw, text = exif.tobytes(), PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(raw):8}\n{raw.hex()}\n", zip=True)
    image.save(tmp_path / "b.png", pnginfo=text)
    for name in ("a.tif", "b.png"):
        decoded = vaecodec.decode(vaecodec.encode(tmp_path / name))
        found = decoded.getexif()
        assert (found[0x010F], found[0x0132]) == ("Camera", "2020:01:01 00:00:00")
        assert found.get(0x0112, 1) == 1
        assert bytes(found.get_ifd(0x8769)[0x9286]) == b"a remark"
        assert decoded.size == (40, 60)


def test_profiles_of_another_colour_space(photo: np.ndarray, srgb_profile: bytes) -> None:
    grey_profile = srgb_profile[:16] + b"GRAY" + srgb_profile[20:]
    for samples, fits, other in (
        (photo[:9, :9], srgb_profile, grey_profile),
        (photo[:9, :9, 0], grey_profile, srgb_profile),
    ):
        image = Image.fromarray(samples)
        image.info["icc_profile"] = fits
        assert to_picture(image).metadata == {"icc": fits}
        for useless in (other, b"profile", srgb_profile[:36]):
            image.info["icc_profile"] = useless
            picture = to_picture(image)
            assert picture.metadata == {}
            assert picture.notices == ("a colour profile that cannot be used",)


def test_what_else_a_picture_carries_is_said(tmp_path: Path, photo: np.ndarray) -> None:
    image, path = Image.fromarray(photo[:9, :9]), tmp_path / "a.jpg"
    image.save(path, dpi=(300, 300), comment=b"a remark")
    assert read_picture(path).notices == ("pixel density", "a comment")
    image.save(path, dpi=(72, 72))
    assert read_picture(path).notices == ()
    png = io.BytesIO()
    image.save(png, "PNG")
    chunk = b"cICP\x09\x10\x00\x01"
    whole = png.getvalue()
    data = whole[:33] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[33:]
    assert read_picture(data).notices == ("cICP (how its colours are coded)",)


def test_damaged_exif_is_kept_and_says_nothing(codec: Codec, photo: np.ndarray) -> None:
    image = Image.fromarray(photo[:20, :30])
    image.info["exif"] = b"Exif\0\0II*\0\xff\xff\xff\x7f"
    decoded = codec.decode(codec.encode(image))
    assert decoded.info["exif"] == image.info["exif"]
    assert decoded.size == (30, 20)


def test_density_that_is_no_number(photo: np.ndarray) -> None:
    image = Image.fromarray(photo[:9, :9])
    for value in (float("nan"), float("inf"), 10**400):
        image.info["dpi"] = (value, value)
        assert to_picture(image).notices == ()


@pytest.mark.parametrize("error", [KeyError(262), struct.error("'L' format requires a number")])
def test_tiff_whose_exif_is_damaged(
    photo: np.ndarray, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture is read all the same, whatever Pillow raises: these two came of changed bytes."""

    def fail(*_: object) -> None:
        raise error

    file, exif = io.BytesIO(), Image.Exif()
    exif[0x010F] = "Camera"
    Image.fromarray(photo[:16, :16]).save(file, "TIFF", exif=exif)
    monkeypatch.setattr(Image.Exif, "tobytes", fail)
    picture = to_picture(file.getvalue())
    assert np.array_equal(picture.samples, photo[:16, :16])
    assert "exif" not in picture.metadata


@pytest.mark.parametrize("dpi", [("a", "b"), (None, None), ((1, 2), (1, 2))])
def test_density_that_is_none(dpi: object) -> None:
    image = Image.new("RGB", (16, 16))
    image.info["dpi"] = dpi
    assert to_picture(image).notices == ()


def test_density_that_is_text_in_a_tiff(tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in (282, 283):
        tags.tagtype[tag] = TiffTags.ASCII
        tags[tag] = "abc"
    Image.new("RGB", (16, 16)).save(tmp_path / "a.tif", tiffinfo=tags)
    assert vaecodec.encode(tmp_path / "a.tif")


@pytest.mark.parametrize(("tag", "word"), [(33723, "IPTC"), (34377, "Photoshop")])
def test_what_a_tiff_carries_besides_is_said(tmp_path: Path, tag: int, word: str) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[tag] = TiffTags.UNDEFINED
    tags[tag] = b"something"
    Image.new("RGB", (16, 16)).save(tmp_path / "a.tif", tiffinfo=tags)
    (notice,) = read_picture(tmp_path / "a.tif").notices
    assert word in notice


def test_further_frames_are_not_counted(
    tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting thousands of tiny pages of a TIFF takes minutes."""

    def counted(_: object) -> int:
        raise AssertionError("frames are counted")

    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "n_frames", property(counted))
    frames = [Image.fromarray(photo[n : n + 9, :9]) for n in range(3)]
    for name in ("a.tif", "a.gif", "a.webp", "a.png", "a.mpo"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert "frames but the first" in read_picture(tmp_path / name).notices
        frames[0].save(tmp_path / name)
        assert "frames but the first" not in read_picture(tmp_path / name).notices


def test_limits_hold_while_files_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """An icon's directory says 16 x 16, the picture in it is larger, and Pillow decodes it to open."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    with warnings.catch_warnings():
        reading.set_limit_of_pillow(10**6)
        inner = io.BytesIO()
        Image.new("L", (4000, 4000)).save(inner, "PNG")
        data = inner.getvalue()
        head = struct.pack("<HHH", 0, 1, 1) + struct.pack(
            "<BBBBHHII", 16, 16, 0, 0, 1, 8, len(data), 22
        )
        with pytest.raises(LimitExceeded, match="has 16000000 pixels, the limit is 1000000 pixels"):
            read_picture(head + data)


def test_no_other_program_reads_pictures() -> None:
    with pytest.raises(vaecodec.BadImage, match="not an image in a format that can be read"):
        read_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")


def test_formats_that_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin may be imported after pictures have been read."""
    with pytest.raises(vaecodec.BadImage):
        read_picture(b"a format of its own")
    for name in ("ID", "OPEN"):
        monkeypatch.setattr(Image, name, getattr(Image, name).copy())
    Image.register_open(
        "OWN", lambda *_: Image.new("RGB", (9, 5)), lambda prefix: prefix.startswith(b"a format of")
    )
    assert read_picture(b"a format of its own").samples.shape == (5, 9, 3)


@pytest.mark.parametrize(
    ("mode", "file_format", "kept"),
    [("L", "PNG", True), ("L", "WEBP", False), ("LA", "AVIF", False), ("LA", "TIFF", True)],
)
def test_profiles_of_grey_pictures_in_formats_without_grey(
    srgb_profile: bytes, mode: str, file_format: str, kept: bool
) -> None:
    image = Image.new(mode, (8, 8))
    image.info["icc_profile"] = srgb_profile[:16] + b"GRAY" + srgb_profile[20:]
    options, lost = metadata.save_options(image, file_format)
    assert lost == ([] if kept else ["colour profile that does not fit the picture"])
    file = io.BytesIO()
    image.save(file, file_format, **options)  # type: ignore[arg-type]
    assert ("icc_profile" in Image.open(file).info) == kept
