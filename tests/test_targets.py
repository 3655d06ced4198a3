"""Targets in place of a quality: sizes met from below, figures reached, with few encodings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import vaecodec
from vaecodec import encoding, figures
from vaecodec.cli.main import group
from vaecodec.codec import Codec
from vaecodec.pictures.reading import to_picture
from vaecodec.quality import Setting
from vaecodec.targets import CLOSE_ENOUGH, MOST_ENCODINGS, lowest_level, to_size


@given(
    st.floats(0.03, 0.08),
    st.integers(2_000, 2_000_000),
    st.floats(0.005, 0.08),
    st.floats(0.05, 0.95),
    st.integers(0, 5_000_000),
)
def test_sizes_of_a_regular_coder(
    slope: float, middle: int, saved: float, place: float, fixed: int
) -> None:
    """At most the size, at least CLOSE_ENOUGH of what is not fixed, in at most MOST_ENCODINGS
    encodings."""
    calls = []

    def encode(setting: Setting) -> bytes:
        calls.append(setting)
        size = middle * math.exp(slope * (setting.level - 37))
        return bytes(fixed + int(size * (1 - min(saved * (1 / setting.error_weight - 1) ** 0.8, 0.9))))

    low, high = (len(encode(Setting(level=level))) - fixed for level in (0, 63))
    calls.clear()
    limit = int(low * (high / low) ** place)
    size = len(to_size(encode, fixed + limit, fixed)) - fixed
    assert size <= limit
    assert size >= CLOSE_ENOUGH * limit
    assert len(calls) <= MOST_ENCODINGS


def test_sizes_out_of_reach() -> None:
    message = "cannot be as small as 10 bytes; it takes 100 at least"
    with pytest.raises(vaecodec.VaeError, match=message):
        to_size(lambda _: bytes(100), 10)
    with pytest.raises(
        vaecodec.VaeError, match="as small as 10 bytes: transparency and metadata take 90"
    ):
        to_size(lambda _: bytes(100), 10, 90)
    odd = to_size(lambda setting: bytes(1000 if setting.level else 50), 60)
    assert len(odd) == 50  # the lowest level is the last resort
    calls: list[Setting] = []

    def encode(setting: Setting) -> bytes:
        calls.append(setting)
        return bytes(100 + setting.level)

    assert len(to_size(encode, 10**6)) == 163  # of the highest level
    assert len(calls) <= MOST_ENCODINGS


@given(st.floats(0.05, 2), st.floats(0, 40), st.floats(-5, 140))
def test_figures_of_a_regular_coder(slope: float, base: float, goal: float) -> None:
    calls = []

    def measure(level: int) -> float:
        calls.append(level)
        return base + slope * level

    expected = next((level for level in range(64) if base + slope * level >= goal), None)
    assert lowest_level(measure, goal) == expected
    assert len(calls) == len(set(calls)) <= 8


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for every encoding."""
    calls: list[object] = []
    plain: Callable[..., object] = encoding.encode

    def encode(*arguments: object) -> object:
        calls.append(arguments[2])
        return plain(*arguments)

    monkeypatch.setattr(encoding, "encode", encode)
    return calls


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.coffee()[:256, 100:484])


@pytest.mark.parametrize("tune", ["visual", "psnr"])
@pytest.mark.parametrize("size", [1500, 6000, 15_000, 24_000])
def test_files_of_a_size(
    codec: Codec, picture: np.ndarray, counted: list[object], tune: str, size: int
) -> None:
    data = codec.encode(picture, target_size=size, tune=tune)
    assert CLOSE_ENOUGH * size <= len(data) <= size
    assert len(counted) <= MOST_ENCODINGS
    assert codec.decode(data).size == (384, 256)


def test_bits_per_pixel_are_a_size(codec: Codec, picture: np.ndarray) -> None:
    data = codec.encode(picture, target_bpp=0.5)
    assert CLOSE_ENOUGH * 0.5 <= 8 * len(data) / (256 * 384) <= 0.5
    transparent = np.dstack((picture, np.full((256, 384), 7, np.uint8)))
    assert len(codec.encode(transparent, target_size=9000)) <= 9000


@pytest.mark.parametrize(("name", "goal"), [("psnr", 34.0), ("ssimulacra2", 70.0)])
def test_figures_are_reached(
    codec: Codec, picture: np.ndarray, counted: list[object], name: str, goal: float
) -> None:
    data = codec.encode(picture, **{f"target_{name}": goal})  # type: ignore[arg-type]
    assert len(counted) <= 8
    found = figures.of(name, to_picture(picture), np.asarray(codec.decode(data)))
    assert found >= goal
    level = vaecodec.info(data).level
    from vaecodec.quality import level_of

    quality = next(q for q in range(100, 0, -1) if level_of(q) == level - 1)
    below = np.asarray(codec.decode(codec.encode(picture, quality, lossless=False)))
    assert figures.of(name, to_picture(picture), below) < goal


def test_what_loss_cannot_reach_is_exact(codec: Codec, picture: np.ndarray) -> None:
    assert vaecodec.info(codec.encode(picture, target_psnr=70)).lossless
    with pytest.raises(vaecodec.VaeError, match="target_psnr 70 cannot be reached with loss"):
        codec.encode(picture, target_psnr=70, lossless=False)
    with pytest.raises(vaecodec.VaeError, match="without loss the file does not fit into 900 bytes"):
        codec.encode(picture, target_size=900, lossless=True)
    flat = np.full((64, 64, 3), 9, np.uint8)
    assert vaecodec.info(codec.encode(flat, target_size=500)).lossless


def test_what_loss_would_destroy_is_exact(
    codec: Codec, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encoding.encode

    def destroying(*arguments: Any) -> list[encoding.Encoded]:
        return [replace(each, sound=False) for each in whole(*arguments)]

    monkeypatch.setattr(encoding, "encode", destroying)
    assert vaecodec.info(codec.encode(picture, target_psnr=30)).lossless
    assert not vaecodec.info(codec.encode(picture, target_psnr=30, lossless=False)).lossless
    assert not vaecodec.info(codec.encode(picture, target_size=6000)).lossless  # has no room


def test_targets_of_odd_pictures(
    codec: Codec, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        vaecodec.BadValue, match="target_ssimulacra2 needs a picture of 8 pixels a side"
    ):
        codec.encode(picture[:7], target_ssimulacra2=90)
    monkeypatch.setattr(figures, "MEASURED_PIXELS", picture.shape[0] * picture.shape[1] - 1)
    with pytest.raises(vaecodec.BadValue, match="target_ssimulacra2 takes pictures of at most 98303"):
        codec.encode(picture, target_ssimulacra2=50)
    narrow = np.zeros((1, 2**14, 3), np.uint8)  # longer than pictures without loss may be
    with pytest.raises(vaecodec.VaeError, match="limits are 16383 pixels a side"):
        codec.encode(narrow, target_size=10**6, lossless=True)
    flat = np.full((64, 64, 3), 9, np.uint8)
    kept = codec.encode(flat, target_size=5000, lossless=np.False_)  # type: ignore[arg-type]
    assert not vaecodec.info(kept).lossless


def test_transparency_and_metadata_do_not_distract(codec: Codec, picture: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 384, 1), np.uint8)
    transparent = np.dstack((picture, noise))
    fixed = len(codec.encode(transparent, 30)) - len(codec.encode(picture, 30))
    assert fixed > 90_000
    for size in (2000, 20_000):
        data = codec.encode(transparent, target_size=fixed + size)
        assert CLOSE_ENOUGH * size - 100 <= len(data) - fixed <= size
    with pytest.raises(vaecodec.VaeError, match="transparency and metadata take"):
        codec.encode(transparent, target_size=5000)


@pytest.mark.parametrize(
    ("targets", "kind"),
    [
        ({"target_size": 0}, ValueError),
        ({"target_bpp": math.nan}, ValueError),
        ({"target_psnr": "high"}, TypeError),
        ({"target_size": 900, "target_psnr": 30}, ValueError),
        ({"target_size": 900, "quality": 500}, ValueError),
        ({"target_size": 900, "effort": 33}, ValueError),
        ({"target_size": 900, "lossless": 1}, TypeError),
        ({"target_psnr": 30, "denoise": 9}, ValueError),
        ({"target_size": 10}, vaecodec.VaeError),
    ],
)
def test_targets_that_are_none(
    codec: Codec, picture: np.ndarray, targets: dict[str, object], kind: type[Exception]
) -> None:
    with pytest.raises(vaecodec.VaeError) as caught:
        codec.encode(picture, **targets)  # type: ignore[arg-type]
    assert isinstance(caught.value, kind)


@pytest.mark.parametrize(
    ("text", "size"), [("6000", 6000), ("6k", 6000), ("8Ki", 8192), (".01M", 10_000)]
)
def test_on_the_command_line(photo_file: Path, text: str, size: int) -> None:
    done = CliRunner().invoke(group, ["compress", str(photo_file), "--target-size", text])
    assert done.exit_code == 0, done.output
    found = photo_file.with_suffix(".vae").stat().st_size
    assert CLOSE_ENOUGH * size <= found <= size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target-size", "6 apples"], "is no size"),
        (["--target-size", "6k", "-q", "50"], "give one of"),
        (["--target-size", "0"], "above 0"),
        (["--target-bpp", "nan"], "above 0"),
        (["--target-psnr", "-3"], "above 0"),
        (["--target-ssimulacra2", "inf"], "finite"),
        (["--target-ssimulacra2", "100.5"], "at most 100"),
        (["--target-size", "6k", "--target-psnr", "40"], "give one of"),
    ],
)
def test_wrong_usage(photo_file: Path, arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(group, ["compress", str(photo_file), *arguments])
    assert (done.exit_code, message in done.output) == (2, True)
    assert not photo_file.with_suffix(".vae").exists()


@pytest.mark.parametrize("target", [{"target_size": 0.5}, {"target_bpp": 1e-6}])
def test_less_than_a_byte(target: dict[str, float]) -> None:
    with pytest.raises(vaecodec.BadValue, match="less than one byte"):
        vaecodec.encode(np.zeros((64, 64, 3), np.uint8), **target)  # type: ignore[arg-type]
