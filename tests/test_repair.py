"""New content where a mask says so."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageDraw

import vaecodec
from bitstream.errors import BadImage, BadType, BadValue
from vaecodec.bench.metrics import psnr
from vaecodec.codec import Codec
from vaecodec.pictures.inpaint import fill
from vaecodec.pictures.masks import to_mask
from vaecodec.quality import TUNES

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


@pytest.mark.parametrize("tune", TUNES)
def test_scratches_go(photo: np.ndarray, scratches: np.ndarray, tune: str) -> None:
    """Better than by push-pull, and nothing else is touched."""
    damaged = without(photo, scratches)
    found = np.asarray(vaecodec.repair(damaged, scratches, tune=tune))
    assert np.array_equal(found[~scratches], photo[~scratches])
    filled = fill(damaged, ~scratches)
    before, after = (psnr(photo[scratches][None], x[scratches][None]) for x in (filled, found))
    assert after > before + 0.5


def test_what_was_there_does_not_matter(photo: np.ndarray, scratches: np.ndarray) -> None:
    one, other = (vaecodec.encode(x, mask=scratches) for x in (photo, without(photo, scratches)))
    assert one == other
    assert one != vaecodec.encode(photo)


def test_encoding_fills_in(photo: np.ndarray, scratches: np.ndarray) -> None:
    """The file holds the picture without the scratches, and is smaller than that of one with them."""
    damaged = without(photo, scratches)
    data, plain = vaecodec.encode(damaged, 80, mask=scratches), vaecodec.encode(damaged, 80)
    assert len(data) < 0.9 * len(plain)
    assert psnr(photo, np.asarray(vaecodec.decode(data))) > 30
    small = vaecodec.encode(damaged, mask=scratches, target_size=3000)
    assert 0.96 * 3000 <= len(small) <= 3000


@pytest.mark.parametrize("other", [{"effort": 1}, {"lossless": True}, {"target_psnr": 30.0}])
def test_what_asks_for_the_picture_as_it_is(
    photo: np.ndarray, scratches: np.ndarray, other: dict[str, object]
) -> None:
    with pytest.raises(BadValue, match=f"{next(iter(other))} asks for the picture as it is, mask for"):
        vaecodec.encode(photo, mask=scratches, **other)  # type: ignore[arg-type]


def test_noise_and_scratches_at_once(photo: np.ndarray, scratches: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 20, photo.shape)
    noisy = (photo + noise).clip(0, 255).astype(np.uint8)

    def found(**options: object) -> float:
        data = vaecodec.encode(without(noisy, scratches), 70, mask=scratches, **options)  # type: ignore[arg-type]
        return psnr(photo, np.asarray(vaecodec.decode(data)))

    assert found(denoise=20) > found() + 1


def test_across_groups() -> None:
    """Each group has its part of the mask; large and odd pictures too."""
    picture = np.tile(skimage.data.coffee()[:200, :261], (1, 4, 1))
    mask = np.zeros(picture.shape[:2], bool)
    mask[60:64, 900:1040] = True
    mask[-3:, -20:] = True
    found = np.asarray(vaecodec.repair(without(picture, mask), mask))
    assert np.array_equal(found[~mask], picture[~mask])
    assert psnr(picture[mask][None], found[mask][None]) > 20


def test_masks(tmp_path: Path) -> None:
    marked = np.zeros((5, 7), bool)
    marked[2, 3] = True
    bright = marked * np.uint8(255)
    colour = np.zeros((5, 7, 3), np.uint8)
    colour[marked] = 200, 0, 0
    painted = np.full((5, 7, 4), 255, np.uint8)
    painted[..., 3] = bright
    Image.fromarray(bright).save(tmp_path / "mask.png")
    for mask in (marked, bright, colour, painted, tmp_path / "mask.png", Image.fromarray(marked)):
        assert np.array_equal(to_mask(mask), marked)


@pytest.mark.parametrize(
    ("mask", "error", "text"),
    [
        (np.zeros((192, 256), bool), BadValue, "the mask marks nothing"),
        (np.ones((192, 256), bool), BadValue, "the mask marks the whole picture"),
        (np.eye(100, dtype=bool), BadValue, "the mask has 100 x 100 pixels, the picture 256 x 192"),
        (np.zeros((192, 256)), BadImage, "an array must be uint8"),
        (7, BadType, "not int"),
    ],
)
def test_masks_that_are_none(
    photo: np.ndarray, mask: np.ndarray, error: type[Exception], text: str
) -> None:
    for call in (vaecodec.repair, lambda picture, mask: vaecodec.encode(picture, mask=mask)):
        with pytest.raises(error, match=text):
            call(photo, mask)


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
    Image.fromarray(photo).save(file, "PNG", exif=exif)
    assert vaecodec.repair(file.getvalue(), scratches).getexif()[0x010E] == "a photograph"


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
    coded = vaecodec.encode(photo, 40, mask=scratches)
    assert (tmp_path / "out.vae").read_bytes() == coded
    assert run("repair", tmp_path / "out.vae", "--mask", mask, "-o", tmp_path / "again.png")[0] == 0
    assert Image.open(tmp_path / "again.png").size == (256, 192)
    assert run("repair", source, "--mask", mask, "-o", tmp_path / "out.jpg")[2].endswith("(see -q)\n")


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
        ((source, "--mask", mask, "-o", source), 1, "exists already"),
        (("-", "--mask", "-", "-o", tmp_path / "out.png"), 2, "only one of PICTURE and MASK"),
        (("-", "--mask", mask), 2, "needs a name"),
    ):
        found, _, error = run("repair", *arguments)
        assert (found, text in error) == (code, True), (arguments, error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["black.png", "mask.png", "scan.png"]
