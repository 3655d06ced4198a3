"""Encoding effort: fewer bits at the same distortion, for the same decoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vaecodec
from bitstream import container
from vaecodec.codec import Codec
from vaecodec.figures import psnr
from vaecodec.model.config import level_lambda
from vaecodec.model.objective import distortion
from vaecodec.quality import level_of


def cost(codec: Codec, picture: np.ndarray, quality: int, effort: int) -> float:
    """R + lambda D of a real file and its decoded picture."""
    data = codec.encode(picture, quality, effort=effort, lossless=False)
    error = 255**2 / 10 ** (psnr(picture, np.asarray(codec.decode(data))) / 10)
    rate = 8 * len(data) / (picture.shape[0] * picture.shape[1])
    return rate + level_lambda(level_of(quality)) * error


def test_effort_minimises_the_distortion_of_the_tune(codec: Codec, photo: np.ndarray) -> None:
    """Of some pictures at some qualities there is nothing to gain: then nothing is lost."""

    def seen(quality: int, effort: int) -> float:
        data = codec.encode(photo, quality, effort=effort, tune="visual", lossless=False)
        pictures = (photo, np.asarray(codec.decode(data)))
        error = distortion("visual", *(torch.from_numpy(p.copy())[None] / 255 for p in pictures))
        return 8 * len(data) / photo[..., 0].size + level_lambda(level_of(quality)) * float(error)

    change = [seen(quality, 4) / seen(quality, 0) - 1 for quality in (20, 60, 80)]
    assert max(change) < 0.001
    assert min(change) < -0.001


@pytest.mark.parametrize("quality", [10, 50, 95])
def test_effort_lowers_the_cost(psnr_codec: Codec, photo: np.ndarray, quality: int) -> None:
    none, little, more = (cost(psnr_codec, photo, quality, effort) for effort in (0, 2, 8))
    assert more < little < none
    assert more < 0.995 * none


def test_the_same_effort_gives_the_same_bytes(codec: Codec, photo: np.ndarray) -> None:
    first, second = (codec.encode(photo[:64, :96], 70, effort=3) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("shape", [(1, 1), (33, 50), (192, 70), (20, 1100), (1100, 90)])
def test_any_size(psnr_codec: Codec, photo: np.ndarray, shape: tuple[int, int]) -> None:
    """Up to two groups, each of which is searched in what surrounds it. The search does not see samples
    rounded, which for a single pixel makes a difference, nor streams filled up to words of 32 bits."""
    picture = np.tile(photo, (6, 5, 1))[: shape[0], : shape[1]]
    word = 32 / (shape[0] * shape[1])
    assert cost(psnr_codec, picture, 80, 3) <= 1.001 * cost(psnr_codec, picture, 80, 0) + word


def test_grey(psnr_codec: Codec, photo: np.ndarray) -> None:
    grey = np.ascontiguousarray(photo[:, :, 1])
    assert cost(psnr_codec, grey, 80, 3) < cost(psnr_codec, grey, 80, 0)
    assert container.parse(psnr_codec.encode(grey, 80, effort=3)).header.colour == container.GREY


@pytest.mark.parametrize("effort", [-1, 33, 1.5, True, "2"])
def test_efforts_that_are_none(codec: Codec, photo: np.ndarray, effort: object) -> None:
    with pytest.raises(vaecodec.VaeError, match="effort must be a whole number from 0 to 32, not"):
        codec.encode(photo, effort=effort)  # type: ignore[arg-type]


def test_effort_meets_every_size_that_is_met_without(psnr_codec: Codec, photo: np.ndarray) -> None:
    """Down to the smallest, where squared error hardly weighs in rounding."""
    with pytest.raises(vaecodec.VaeError) as refused:
        psnr_codec.encode(photo, target_size=100, effort=0, lossless=False)
    smallest = int(str(refused.value).split("it takes ")[1].split()[0])
    for effort in (0, 1, 4):
        data = psnr_codec.encode(photo, target_size=smallest, effort=effort, lossless=False)
        assert len(data) <= smallest
