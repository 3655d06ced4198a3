"""The difference in lightness that models of tune `visual` are trained for is ColorVideoVDP's."""

from __future__ import annotations

import importlib.util
import io

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from vaecodec.bench.colorvideovdp import network
from vaecodec.model.contrast import lost_contrast
from vaecodec.model.ssimulacra2 import linear_light

needs_cvvdp = pytest.mark.skipif(
    importlib.util.find_spec("pycvvdp") is None or importlib.util.find_spec("tqdm") is None,
    reason="cvvdp is not installed (pip install --no-deps cvvdp tqdm)",
)


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.copy())[None].float() / 255


def lost(wanted: np.ndarray, found: np.ndarray) -> float:
    return float(lost_contrast(linear_light(as_tensor(wanted)), linear_light(as_tensor(found))))


def coded(picture: np.ndarray, form: str, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form, quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


@needs_cvvdp
@pytest.mark.parametrize("shape", [(256, 320), (301, 277)])
@pytest.mark.parametrize(
    ("form", "quality"), [("JPEG", 10), ("JPEG", 90), ("WEBP", 40), ("AVIF", 30), ("AVIF", 95)]
)
def test_in_grey_it_is_that_of_the_package(shape: tuple[int, int], form: str, quality: int) -> None:
    photo = skimage.data.coffee()[90 : 90 + shape[0], 200 : 200 + shape[1]]
    grey = np.asarray(Image.fromarray(photo).convert("L").convert("RGB"))
    found = coded(grey, form, quality)
    expected = 10 - float(network().predict(found, grey, dim_order="HWC")[0])
    assert lost(grey, found) == pytest.approx(expected, rel=0.03, abs=0.003)


@needs_cvvdp
def test_colours_of_photographs_change_little() -> None:
    """They mask lightness a little in the package, and count themselves."""
    photo = np.ascontiguousarray(skimage.data.coffee()[90:346, 200:520])
    for quality in (20, 60, 90):
        found = coded(photo, "WEBP", quality)
        expected = 10 - float(network().predict(found, photo, dim_order="HWC")[0])
        assert lost(photo, found) == pytest.approx(expected, rel=0.2)


def test_what_is_masked_counts_less() -> None:
    """Noise of one strength, on a flat grey and on a checker."""
    noise = np.random.default_rng(0).integers(-6, 7, (128, 128, 1))
    flat = np.full((128, 128, 3), 128)
    checker = flat + 60 * (np.indices((128, 128)).sum(axis=0) // 2 % 2 * 2 - 1)[:, :, None]
    on_flat, on_checker = (
        lost(wanted.astype(np.uint8), (wanted + noise).astype(np.uint8)) for wanted in (flat, checker)
    )
    assert on_checker < 0.5 * on_flat


def test_the_same_picture_loses_nothing(photo: np.ndarray) -> None:
    assert lost(photo, photo) < 1e-4
