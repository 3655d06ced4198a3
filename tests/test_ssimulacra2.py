"""The error that models of tune `visual` are trained for is SSIMULACRA2's."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from vaecodec.model.objective import distortion
from vaecodec.model.ssimulacra2 import SCALES, score, visual_error

pytest.importorskip("ssimulacra2", reason="the bench extra is not installed")
from ssimulacra2 import compute_ssimulacra2


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.copy())[None].float() / 255


def coded(picture: np.ndarray, form: str, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form, quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


@pytest.mark.parametrize("shape", [(256, 320), (301, 277)])
@pytest.mark.parametrize(
    ("form", "quality"), [("JPEG", 10), ("JPEG", 90), ("WEBP", 40), ("AVIF", 30), ("AVIF", 95)]
)
def test_scores_are_those_of_the_package(
    tmp_path: Path, shape: tuple[int, int], form: str, quality: int
) -> None:
    """Of pictures that have all six scales: with fewer, the package weighs them as others."""
    photo = np.ascontiguousarray(skimage.data.coffee()[90 : 90 + shape[0], 200 : 200 + shape[1]])
    found = coded(photo, form, quality)
    for name, picture in (("wanted", photo), ("found", found)):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    expected = compute_ssimulacra2(str(tmp_path / "wanted.png"), str(tmp_path / "found.png"))
    ours = score(visual_error(as_tensor(photo), as_tensor(found)).structure)
    assert float(ours) == pytest.approx(expected, abs=0.5)


def test_every_published_weight_that_counts_is_here() -> None:
    from ssimulacra2.ssimulacra2 import weights

    published = weights.reshape(3, 6, 2, 3)  # channel, scale, norm, map
    ours = np.zeros_like(published)
    for scale, channels in enumerate(SCALES):
        for w in channels:
            ours[w.channel, scale] = np.array((w.ssim, w.ring, w.blur)).T
    assert np.allclose(ours, published, rtol=0, atol=0.01)


def test_the_same_picture_has_no_error(photo: np.ndarray) -> None:
    error = visual_error(as_tensor(photo), as_tensor(photo))
    assert float(score(error.structure)) > 99
    assert float(error.colour) == 0


def test_colours_that_fade_are_seen(photo: np.ndarray) -> None:
    """A shift of colour at equal luma, over all of the picture."""
    faded = as_tensor(photo)
    luma = faded @ torch.tensor([0.299, 0.587, 0.114])
    faded = luma[..., None] + 0.5 * (faded - luma[..., None])
    whole, none = (visual_error(as_tensor(photo), p).colour for p in (faded, as_tensor(photo)))
    assert float(whole) > 100e-6 > float(none)


def test_slopes_are_finite_and_point_downhill(photo: np.ndarray) -> None:
    """Also where pictures are equal, black or white: a step along the slope lowers the distortion."""
    wanted = as_tensor(photo[:128, :128])
    wanted[:, :32], wanted[:, 32:64] = 0, 1
    for tune in ("visual", "psnr"):
        found = wanted.clone()
        found[:, 48:] += 0.1 * torch.randn(1, 80, 128, 3, generator=torch.Generator().manual_seed(0))
        found.requires_grad_()
        before = distortion(tune, wanted, found)
        (slope,) = torch.autograd.grad(before.sum(), found)
        assert bool(slope.isfinite().all())
        after = distortion(tune, wanted, found - 0.02 * slope / slope.abs().max())
        assert float(after) < float(before)


def test_pictures_of_a_batch_are_apart(photo: np.ndarray) -> None:
    wanted = torch.cat((as_tensor(photo), as_tensor(photo[::-1])))
    found = torch.cat((as_tensor(coded(photo, "JPEG", 20)), as_tensor(photo[::-1])))
    together = distortion("visual", wanted, found)
    alone = torch.cat([distortion("visual", wanted[i : i + 1], found[i : i + 1]) for i in (0, 1)])
    assert together.tolist() == pytest.approx(alone.tolist(), rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (7, 100), (9, 9), (17, 8)])
def test_tiny_pictures(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    wanted, found = (as_tensor(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) for _ in range(2))
    assert float(distortion("visual", wanted, found)) > 0
