"""New content where a mask says so."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image, ImageCms, ImageDraw

import vaecodec
from bitstream.errors import BadImage, BadType, BadValue
from vaecodec.codec import Codec
from vaecodec.figures import psnr
from vaecodec.model import registry
from vaecodec.pictures.inpaint import fill
from vaecodec.pictures.masks import to_mask
from vaecodec.pictures.metadata import without_thumbnail
from vaecodec.quality import TUNES
from vaecodec.uses.repair import QUALITIES

if TYPE_CHECKING:
    from conftest import Run


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """uint8, 192 x 256 x 3."""
    return np.ascontiguousarray(skimage.data.coffee()[100:292, 150:406])


@pytest.fixture(scope="module")
def scratches() -> np.ndarray:
    """bool, 192 x 256: lines of 3 pixels."""
    image = Image.new("L", (256, 192))
    draw = ImageDraw.Draw(image)
    for x in range(0, 256, 40):
        draw.line([(x, 0), (256 - x, 192)], 255, 3)
    return np.asarray(image) > 0


def without(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask[:, :, None], np.uint8(255), picture)


def inside(photo: np.ndarray, found: np.ndarray, mask: np.ndarray) -> float:
    """PSNR where it is marked."""
    return psnr(photo[mask][None], found[mask][None])


@pytest.mark.parametrize("tune", TUNES)
def test_scratches_go(photo: np.ndarray, scratches: np.ndarray, tune: str) -> None:
    """Better than by push-pull, and nothing else is touched."""
    damaged = without(photo, scratches)
    codec = Codec(registry.find(None, tune).name)
    found = np.asarray(vaecodec.repair(damaged, scratches, codec=codec))
    assert np.array_equal(found[~scratches], photo[~scratches])
    filled = fill(damaged, ~scratches)
    gain = {"psnr": 1.5, "visual": 1}[tune]  # dB; repair uses psnr unless told otherwise
    assert inside(photo, found, scratches) > inside(photo, filled, scratches) + gain


def test_what_was_there_does_not_matter(photo: np.ndarray, scratches: np.ndarray) -> None:
    one, other = (vaecodec.repair(x, scratches) for x in (photo, without(photo, scratches)))
    assert np.array_equal(np.asarray(one), np.asarray(other))


def test_hidden_colours_do_not_show(photo: np.ndarray) -> None:
    """What lies under full transparency is not drawn on for what is visible, and stays."""
    alpha = np.full((192, 256, 1), 255, np.uint8)
    alpha[40:80] = 0
    mask = np.zeros((192, 256), bool)
    mask[80:86, 50:200] = True
    results = []
    for colour in ((0, 255, 0), (255, 0, 255)):
        picture = np.concatenate((photo, alpha), axis=2)
        picture[40:80, :, :3] = colour
        found = np.asarray(vaecodec.repair(picture, mask))
        assert np.array_equal(found[~mask], picture[~mask])
        results.append(found[mask])
    assert np.array_equal(*results)


def test_across_groups() -> None:
    """What lies across the edge of a group, and at the edge of a large picture of odd size."""
    picture = np.tile(skimage.data.coffee()[:200, :261], (1, 4, 1))
    mask = np.zeros(picture.shape[:2], bool)
    mask[60:64, 900:1040] = True
    mask[-3:, -20:] = True
    damaged = without(picture, mask)
    found = np.asarray(vaecodec.repair(damaged, mask))
    assert np.array_equal(found[~mask], picture[~mask])
    assert inside(picture, found, mask) > inside(picture, fill(damaged, ~mask), mask) + 0.5


def test_only_what_is_marked_is_looked_at() -> None:
    """Far from a mark, nothing changes the result."""
    picture = skimage.data.coffee()
    mask = np.zeros(picture.shape[:2], bool)
    mask[200:204, 250:300] = True
    other = picture.copy()
    other[:, 450:] = 0
    one, two = (np.asarray(vaecodec.repair(x, mask)) for x in (picture, other))
    assert np.array_equal(one[mask], two[mask])


def test_masks(tmp_path: Path) -> None:
    marked = np.zeros((5, 7), bool)
    marked[2, 3] = True
    bright = marked * np.uint8(255)
    colour = np.zeros((5, 7, 3), np.uint8)
    colour[marked] = 200, 0, 0
    painted = np.full((5, 7, 4), 255, np.uint8)
    painted[..., 3] = bright
    Image.fromarray(bright).save(tmp_path / "mask.png")
    for mask in (
        marked,
        marked[:, :, None],
        torch.from_numpy(marked),
        torch.from_numpy(marked)[None],
        bright,
        colour,
        painted,
        tmp_path / "mask.png",
        Image.fromarray(marked),
    ):
        assert np.array_equal(to_mask(mask), marked)


@pytest.mark.parametrize(
    ("mask", "error", "text"),
    [
        (np.zeros((192, 256), bool), BadValue, "the mask marks nothing"),
        (np.ones((192, 256), bool), BadValue, "the mask marks the whole picture"),
        (np.eye(192, 256, dtype=np.uint8), BadValue, r"the mask marks nothing; .* \(255, or True\)"),
        (np.eye(100, dtype=bool), BadValue, "the mask has 100 x 100 pixels, the picture 256 x 192"),
        (np.zeros((192, 256)), BadImage, "the mask: an array must be uint8"),
        (np.zeros((2, 192, 256), bool), BadType, "a mask of bool must be H x W, not of 3 dimensions"),
        (torch.ones(192, 256, dtype=torch.bool, device="meta"), BadImage, "the mask: a tensor must be"),
        (torch.ones(192, 256, dtype=torch.bool).to_sparse(), BadImage, "the mask: a tensor must be"),
        (torch.ones(256, dtype=torch.bool), BadImage, "the mask: a tensor must be C x H x W"),
        (None, BadType, "the mask: a picture, an array"),
    ],
)
def test_masks_that_are_none(
    photo: np.ndarray, mask: np.ndarray, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        vaecodec.repair(photo, mask)


def test_every_mode_comes_back(photo: np.ndarray, scratches: np.ndarray, codec: Codec) -> None:
    grey, alpha = photo[:, :, :1], np.full((192, 256, 1), 200, np.uint8)
    for picture, mode in (
        (grey[:, :, 0], "L"),
        (np.concatenate((grey, alpha), 2), "LA"),
        (photo, "RGB"),
        (np.concatenate((photo, alpha), 2), "RGBA"),
    ):
        found = vaecodec.repair(picture, scratches, codec=codec)
        assert found.mode == mode
        assert np.array_equal(np.asarray(found)[~scratches], picture[~scratches])
        assert not np.array_equal(np.asarray(found), picture)


def test_metadata_stays(photo: np.ndarray, scratches: np.ndarray) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "a photograph"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = b"<x:xmpmeta/>"
    Image.fromarray(photo).save(file, "WEBP", exif=exif, icc_profile=profile, xmp=xmp)
    found = vaecodec.repair(file.getvalue(), scratches)
    assert found.getexif()[0x010E] == "a photograph"
    assert (found.info["icc_profile"], found.info["xmp"]) == (profile, xmp)


def exif_with(order: str, second: list[tuple[int, str, int]]) -> tuple[bytes, int]:
    """EXIF data of orientation 1 and a second directory of so many tags (each of a type as `struct`
    names it), and where that ends."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    first = struct.pack(order + "HHHIHHI", 1, 0x0112, 3, 1, 1, 0, 26)
    entries = struct.pack(order + "H", len(second))
    for tag, kind, value in second:
        number = {"H": 3, "I": 4}[kind]
        entries += struct.pack(order + "HHI" + kind, tag, number, 1, value).ljust(12, b"\0")
    whole = head + first + entries + bytes(4)
    return whole, len(whole)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tags", [(0x0201, 0x0202), (0x0111, 0x0117)])
@pytest.mark.parametrize("kind", ["H", "I"])
def test_the_thumbnail_does_not_stay(order: str, tags: tuple[int, int], kind: str) -> None:
    """It shows the picture as it was. What comes after it stays."""
    start = exif_with(order, [(tags[0], "I", 0), (tags[1], kind, 0)])[1]
    described, _ = exif_with(order, [(tags[0], "I", start), (tags[1], kind, 5)])
    exif = described + b"small" + b"after"
    cleaned = without_thumbnail(exif)
    assert cleaned == described[:22] + bytes(4) + described[26:] + bytes(5) + b"after"
    assert without_thumbnail(cleaned) == cleaned
    for length in range(len(exif)):
        assert len(without_thumbnail(exif[:length])) == length


@pytest.mark.parametrize("tags", [[(0x0202, "I", 50)], [(0x0201, "I", 8), (0x0202, "I", 50)]])
def test_a_thumbnail_that_is_none_takes_nothing_along(tags: list[tuple[int, str, int]]) -> None:
    exif = exif_with("<", tags)[0] + b"else"
    assert without_thumbnail(exif) == exif[:22] + bytes(4) + exif[26:]


def test_a_repaired_picture_has_none(photo: np.ndarray, scratches: np.ndarray) -> None:
    start = exif_with("<", [(0x0201, "I", 0), (0x0202, "I", 0)])[1]
    exif = exif_with("<", [(0x0201, "I", start), (0x0202, "I", 5)])[0] + b"small"
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "PNG", exif=exif)
    found = vaecodec.repair(file.getvalue(), scratches)
    assert found.info["exif"] == b"Exif\0\0" + without_thumbnail(exif)


def test_what_is_made_is_known_to_the_groups_that_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is not made again, with less around it."""
    calls: list[int] = []

    def made(
        codec: Codec, samples: np.ndarray, unknown: np.ndarray, grey: bool
    ) -> Iterator[np.ndarray]:
        calls.append(int(unknown.sum()))
        yield np.where(unknown[:, :, None], np.uint8(len(calls)), samples)

    monkeypatch.setattr("vaecodec.uses.repair._made", made)
    mask = np.zeros((20, 1200), bool)
    mask[8, 1000:1048] = True
    found = np.asarray(vaecodec.repair(np.full((20, 1200), 99, np.uint8), mask))
    assert set(found[8, 1000:1024]) == {1}
    assert set(found[8, 1024:1048]) == {2}
    assert calls == [48, 24]


def test_progress_rises_to_one(photo: np.ndarray) -> None:
    wide = np.concatenate((np.zeros((192, 900, 3), np.uint8), photo), axis=1)
    mask = np.zeros(wide.shape[:2], bool)
    mask[10:12, 1000:1040] = True
    shares: list[float] = []
    vaecodec.repair(wide, mask, progress=shares.append)
    assert shares == sorted(set(shares))
    assert len(shares) == 2 * len(QUALITIES)
    assert shares[-1] == 1


def test_from_the_command_line(
    tmp_path: Path, photo: np.ndarray, scratches: np.ndarray, run: Run
) -> None:
    source, mask = tmp_path / "scan.png", tmp_path / "mask.png"
    Image.fromarray(photo).save(source)
    Image.fromarray(scratches).save(mask)
    assert run("repair", source, "--mask", mask) == (0, "", "")
    expected = np.asarray(vaecodec.repair(photo, scratches))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "scan-repaired.png")), expected)
    assert run("repair", source, "--mask", mask, "-o", tmp_path / "out.vae", "-q", "40")[0] == 0
    assert (tmp_path / "out.vae").read_bytes() == vaecodec.encode(expected, 40)
    (tmp_path / "other name").write_bytes((tmp_path / "out.vae").read_bytes())
    out = tmp_path / "folder"
    out.mkdir()
    assert run("repair", tmp_path / "other name", "--mask", mask, "-o", out)[0] == 0
    again = vaecodec.repair(vaecodec.decode(tmp_path / "out.vae"), scratches)
    found = np.asarray(Image.open(out / "other name-repaired.png"))
    assert np.array_equal(found, np.asarray(again))
    visual = registry.find(None).name
    assert run("repair", source, "--mask", mask, "-o", tmp_path / "v.png", "--model", visual)[0] == 0
    by_visual = vaecodec.repair(photo, scratches, codec=Codec(visual))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "v.png")), np.asarray(by_visual))
    for name in ("out.jpg", "again.vae"):
        assert run("repair", source, "--mask", mask, "-o", tmp_path / name)[2].endswith("(see -q)\n")
    negative = tmp_path / "negative.png"
    Image.fromarray(~scratches).save(negative)
    error = run("repair", source, "--mask", negative, "--force")[2]
    share = np.mean(~scratches)
    assert error == f"vaecodec: {negative}: marks {share:.0%} of the picture; is it the mask?\n"


def test_what_is_not_kept_is_said(tmp_path: Path, photo: np.ndarray, run: Run) -> None:
    source, mask = tmp_path / "scan.png", tmp_path / "mask.png"
    Image.fromarray(photo[:, :, 0].astype(np.uint16) * 257).save(source, dpi=(300, 300))
    Image.fromarray(np.eye(192, 256, dtype=bool)).save(mask)
    error = run("repair", source, "--mask", mask)[2]
    assert error == f"vaecodec: {source}: not kept: 16 bits per sample (reduced to 8), pixel density\n"
    assert run("repair", source, "--mask", mask, "--force", "--quiet") == (0, "", "")


def test_a_side_that_a_format_has_no_room_for(tmp_path: Path, run: Run) -> None:
    source, mask = tmp_path / "long.png", tmp_path / "mask.png"
    Image.new("L", (70000, 1), 90).save(source)
    marked = np.zeros((1, 70000), bool)
    marked[0, 5] = True
    Image.fromarray(marked).save(mask)
    for extension in ("gif", "tga", "sgi"):
        target = tmp_path / f"out.{extension}"
        code, _, error = run("repair", source, "--mask", mask, "-o", target)
        assert (code, error.count("\n")) == (1, 1), error
        assert error.startswith(f"vaecodec: {target}: cannot be written in this format")


def test_errors_on_the_command_line(tmp_path: Path, photo: np.ndarray, run: Run) -> None:
    source, mask, black = tmp_path / "scan.png", tmp_path / "mask.png", tmp_path / "black.png"
    Image.fromarray(photo).save(source)
    Image.fromarray(np.eye(9, dtype=bool)).save(mask)
    Image.new("L", (256, 192)).save(black)
    for arguments, code, text in (
        ((source, "--mask", mask), 1, f"{source}: the mask has 9 x 9 pixels, the picture 256 x 192"),
        ((source, "--mask", black), 1, f"{black}: the mask marks nothing"),
        ((source, "--mask", tmp_path / "none.png"), 1, "none.png: "),
        ((tmp_path / "none.png", "--mask", mask), 1, "none.png: "),
        ((source,), 2, "--mask"),
        ((source, "--mask", mask, "-o", tmp_path / "out.xyz"), 1, "out.xyz: Pillow writes no"),
        ((source, "--mask", mask, "-o", source), 1, "would be replaced by its own output"),
        ((source, "--mask", mask, "-o", black), 1, "exists already"),
        (("-", "--mask", "-", "-o", tmp_path / "out.png"), 2, "only one of PICTURE and MASK"),
        (("-", "--mask", mask), 2, "needs the name of a file"),
        ((tmp_path, "--mask", mask), 1, f"{tmp_path}: is a folder"),
        ((source, "--mask", mask, "--model", "none"), 2, "no model is called 'none'"),
        ((source, "--mask", mask, "-o", mask, "--force"), 1, f"{mask}: would be replaced by its own"),
        (("", "--mask", mask), 2, "a name of a file is empty"),
    ):
        found, _, error = run("repair", *arguments)
        assert (found, text in error) == (code, True), (arguments, error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["black.png", "mask.png", "scan.png"]
