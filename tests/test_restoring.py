"""Encoding pictures as they were before noise and JPEG."""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

import vaecodec
from bitstream.errors import BadType, BadValue, VaeError
from vaecodec.codec import Codec
from vaecodec.figures import psnr
from vaecodec.model import registry
from vaecodec.model.restoring import STRENGTH_KNOTS, described, path_of
from vaecodec.pictures.degradation import noise_of, quality_of, to_undo
from vaecodec.pictures.reading import to_picture
from vaecodec.quality import AUTO, MAX_NOISE, NEVER_JPEG, TUNES, Degradation, Restoration

if TYPE_CHECKING:
    from conftest import Run


def noisy(picture: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, picture.shape)
    return (picture + noise).round().clip(0, 255).astype(np.uint8)


def jpeg(picture: np.ndarray, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return file.getvalue()


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    """A photograph with hardly any noise: shrunk, uint8 192 x 256 x 3."""
    large = Image.fromarray(skimage.data.coffee()[16:400, 40:552])
    return np.asarray(large.resize((256, 192), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("sigma", [3, 8, 15, 30])
def test_noise_is_measured(clean: np.ndarray, sigma: float) -> None:
    flat = np.full((100, 90, 3), 120, np.uint8)
    assert noise_of(noisy(flat, sigma)) == pytest.approx(sigma, rel=0.05)
    assert noise_of(noisy(clean, sigma)) == pytest.approx(sigma, rel=0.2)


def test_noise_of_what_cannot_tell() -> None:
    assert noise_of(np.zeros((17, 300, 3), np.uint8)) == 0
    assert noise_of(np.zeros((64, 64, 3), np.uint8)) == 0
    assert noise_of(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)) == MAX_NOISE


@pytest.mark.parametrize("quality", [10, 15, 25, 50, 75, 90, 95])
def test_the_quality_of_a_jpeg_file(clean: np.ndarray, quality: int) -> None:
    image = Image.open(io.BytesIO(jpeg(clean, quality)))
    assert quality_of(image.quantization) == pytest.approx(quality, abs=0.1)  # type: ignore[attr-defined]
    assert to_picture(jpeg(clean, quality)).jpeg == pytest.approx(quality, abs=1)
    assert to_picture(jpeg(clean, 5)).jpeg == 10, "the lowest that analysis was trained for"


def test_a_file_without_tables_has_no_quality(clean: np.ndarray) -> None:
    assert quality_of({}) is None
    assert to_picture(Image.fromarray(clean)).jpeg is None


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Restoration(denoise=7), Degradation(noise=7)),
        (Restoration(deblock=30), Degradation(jpeg=30)),
        (Restoration(denoise=AUTO, deblock=AUTO), None),
        (Restoration(), None),
    ],
)
def test_what_is_to_be_undone(
    clean: np.ndarray, wanted: Restoration, expected: Degradation | None
) -> None:
    assert to_undo(to_picture(clean), wanted) == expected


def test_nothing_is_to_be_undone_of_a_jpeg_file_of_the_highest_quality(clean: np.ndarray) -> None:
    picture = to_picture(jpeg(clean, 100))
    assert picture.jpeg == NEVER_JPEG
    assert to_undo(picture, Restoration(deblock=AUTO)) is None


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("denoise", 0, "denoise must be above 0 and at most 50, not 0"),
        ("denoise", float("nan"), "denoise must be above 0 and at most 50, not nan"),
        ("denoise", 51, "denoise must be above 0 and at most 50, not 51"),
        ("denoise", "much", "denoise must be a number or 'auto', not 'much'"),
        ("denoise", True, "denoise must be a number or 'auto', not True"),
        ("deblock", 9, "deblock must be from 10 to 99, not 9"),
        ("deblock", 100, "deblock must be from 10 to 99, not 100"),
        ("deblock", [], r"deblock must be a number or 'auto', not \[\]"),
    ],
)
def test_strengths_that_are_none(clean: np.ndarray, name: str, value: object, error: str) -> None:
    with pytest.raises((BadValue, BadType), match=error):
        vaecodec.encode(clean, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [{"effort": 1}, {"lossless": True}, {"target_psnr": 30.0}])
def test_what_asks_for_the_picture_as_it_is(clean: np.ndarray, other: dict[str, object]) -> None:
    with pytest.raises(BadValue, match=f"{next(iter(other))} asks for the picture as it is"):
        vaecodec.encode(clean, denoise=10, **other)  # type: ignore[arg-type]


def test_strengths_as_the_network_reads_them() -> None:
    none = described(torch.zeros(1), torch.full((1,), 100.0))
    most = described(torch.full((1,), MAX_NOISE), torch.full((1,), 10.0))
    assert not none.any()
    assert none.shape == (1, 2 * STRENGTH_KNOTS)
    assert most[0].nonzero().flatten().tolist() == [STRENGTH_KNOTS - 1, 2 * STRENGTH_KNOTS - 1]
    between = described(torch.tensor([20.0]), torch.tensor([45.0]))
    assert between.reshape(2, STRENGTH_KNOTS).sum(dim=1).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("tune", TUNES)
@pytest.mark.parametrize("size", [4000, 8000])
def test_noise_goes(clean: np.ndarray, tune: str, size: int) -> None:
    """At equal size a picture is nearer to the one before: also where nobody said how much noise there
    is. At equal quality the file is smaller."""
    picture = noisy(clean, 25)

    def found(**options: float | str) -> float:
        data = vaecodec.encode(picture, tune=tune, target_size=size, **options)  # type: ignore[arg-type]
        return psnr(clean, np.asarray(vaecodec.decode(data)))

    assert found(denoise=25) > found() + 1
    assert found(denoise=AUTO) > found() + 1
    small, plain = (vaecodec.encode(picture, tune=tune, **o) for o in ({"denoise": 25.0}, {}))
    assert len(small) < 0.7 * len(plain)


@pytest.mark.parametrize("tune", TUNES)
def test_what_jpeg_did_goes(clean: np.ndarray, tune: str) -> None:
    file = jpeg(clean, 20)
    plain = vaecodec.encode(file, 70, tune=tune)
    data = vaecodec.encode(file, 70, tune=tune, deblock=AUTO)
    before, after = (psnr(clean, np.asarray(vaecodec.decode(each))) for each in (plain, data))
    assert after > before + 0.3
    assert vaecodec.encode(file, 70, tune=tune, deblock=to_picture(file).jpeg) == data


def test_where_nothing_shows_nothing_is_done(clean: np.ndarray) -> None:
    plain = vaecodec.encode(clean)
    assert vaecodec.encode(clean, denoise=AUTO, deblock=AUTO) == plain


def test_a_batch_is_its_pictures(clean: np.ndarray, codec: Codec) -> None:
    batch = [noisy(clean, 12), clean, noisy(clean, 30), clean[:100], noisy(clean[:100], 20)]
    files = codec.encode_batch(batch, denoise=AUTO)
    assert files == [codec.encode(picture, denoise=AUTO) for picture in batch]
    assert files[1] == codec.encode(clean)


def test_a_size_can_be_aimed_at(clean: np.ndarray) -> None:
    picture = noisy(clean, 25)
    data = vaecodec.encode(picture, denoise=25, target_size=3000)
    assert 0.96 * 3000 <= len(data) <= 3000


def test_grey_and_transparent_pictures(clean: np.ndarray) -> None:
    grey = noisy(clean[:, :, :1], 20)[:, :, 0]
    assert vaecodec.decode(vaecodec.encode(grey, denoise=AUTO)).mode == "L"
    alpha = np.full((*clean.shape[:2], 1), 255, np.uint8)
    alpha[:50] = 0
    data = vaecodec.encode(np.concatenate((noisy(clean, 20), alpha), axis=2), denoise=20)
    image = vaecodec.decode(data)
    assert np.array_equal(np.asarray(image)[:, :, 3], alpha[:, :, 0])


def test_a_model_that_cannot(tmp_path: Path, clean: np.ndarray) -> None:
    entry = registry.find(None)
    own = tmp_path / "own.safetensors"
    shutil.copy(entry.path, own)
    with pytest.raises(VaeError, match="the model own cannot restore pictures"):
        vaecodec.encode(clean, denoise=10, model=str(own))
    entry = replace(entry, path=own, name="own")
    path_of(entry).parent.mkdir()
    path_of(entry).write_bytes(b"nothing")
    with pytest.raises(VaeError, match=r"own\.safetensors: no restoring analysis transform"):
        vaecodec.encode(clean, denoise=10, model=str(own))


def test_from_the_command_line(tmp_path: Path, clean: np.ndarray, run: Run) -> None:
    Image.fromarray(noisy(clean, 25)).save(tmp_path / "noisy.png")
    (tmp_path / "old.jpg").write_bytes(jpeg(clean, 15))
    out = tmp_path / "out"
    command = ("compress", tmp_path / "noisy.png", tmp_path / "old.jpg", "-o", out)
    code, _, said = run(*command, "--denoise", "auto", "--deblock", "auto")
    assert code == 0
    found = [line.removeprefix(f"vaecodec: {tmp_path}/") for line in sorted(said.splitlines())]
    expected_words = (
        r"noisy\.png: no JPEG file below the best quality; of what once was one, give the quality",
        r"noisy\.png: noise of about 2\d found",
        r"old\.jpg: JPEG of quality about 1\d found",
        r"old\.jpg: hardly any noise found",
    )
    assert all(map(re.fullmatch, expected_words, found)), found
    assert len(found) == len(expected_words)
    for name, expected in (
        ("noisy", vaecodec.encode(tmp_path / "noisy.png", denoise=AUTO)),
        ("old", vaecodec.encode(tmp_path / "old.jpg", denoise=AUTO, deblock=AUTO)),
    ):
        assert (out / f"{name}.vae").read_bytes() == expected
    code, _, error = run(*command, "--denoise", "10", "--target-psnr", "30", "--force")
    assert code == 2
    assert "--target-psnr asks for the picture as it is" in error
    for option, value in (("--denoise", "x"), ("--denoise", "60"), ("--deblock", "5")):
        code, _, error = run(*command, option, value)
        assert code == 2
        assert option in error
