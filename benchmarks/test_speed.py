"""Speed on a 768 x 512 picture, after warm-up, everything included; CompressAI in the same run.

    make bench

Ratios between rows of one run are what counts; absolute times are of the machine at hand.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bitstream import container, entropy
from vaecodec.bench.codecs.pillow import JPEG
from vaecodec.codec import Codec
from vaecodec.quality import level_of

Benchmark = Callable[..., Any]
QUALITIES = (10, 60, 100)
EFFORTS = (0, 4, 8)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec("small")


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("quality", QUALITIES)
def test_vae_encode(
    benchmark: Benchmark, codec: Codec, picture: np.ndarray, quality: int, effort: int
) -> None:
    assert benchmark(codec.encode, picture, quality, effort=effort)


@pytest.mark.parametrize("quality", QUALITIES)
def test_vae_decode(benchmark: Benchmark, codec: Codec, picture: np.ndarray, quality: int) -> None:
    assert benchmark(codec.decode, codec.encode(picture, quality)).size == (768, 512)


@pytest.mark.parametrize("quality", QUALITIES)
def test_part_analysis(benchmark: Benchmark, codec: Codec, picture: np.ndarray, quality: int) -> None:
    benchmark(codec._model().analyse, picture[None], level_of(quality))


@pytest.mark.parametrize("quality", QUALITIES)
def test_part_prior_and_entropy_decoding(
    benchmark: Benchmark, codec: Codec, picture: np.ndarray, quality: int
) -> None:
    benchmark(codec.decode_latent, codec.encode(picture, quality))


@pytest.mark.parametrize("quality", QUALITIES)
def test_part_entropy_encoding(
    benchmark: Benchmark, codec: Codec, picture: np.ndarray, quality: int
) -> None:
    model, level = codec._model(), level_of(quality)
    blocks = model.latents.quantise(*model.analyse(picture[None], level), level, 32, 48).blocks[0]
    benchmark(entropy.encode, model.tables, blocks)


def test_part_container(benchmark: Benchmark, codec: Codec, picture: np.ndarray) -> None:
    benchmark(container.parse, codec.encode(picture, 60))


def test_jpeg_encode(benchmark: Benchmark, picture: np.ndarray) -> None:
    benchmark(JPEG.encode, picture, 80)


def test_jpeg_decode(benchmark: Benchmark, picture: np.ndarray) -> None:
    benchmark(JPEG.decode, JPEG.encode(picture, 80))


@pytest.fixture(scope="module")
def peer(picture: np.ndarray) -> Any:
    """CompressAI's mbt2018-mean with random weights (its speed does not hang on them)."""
    if importlib.util.find_spec("compressai") is None:
        pytest.skip("the train extra is not installed")
    import torch

    from vaecodec.train import entropy_models  # noqa: F401 - makes compressai importable

    zoo = importlib.import_module("compressai.zoo")
    torch.manual_seed(0)
    model = zoo.mbt2018_mean(quality=4, pretrained=False).eval()
    model.update()
    return model


def test_compressai_encode(benchmark: Benchmark, peer: Any, picture: np.ndarray) -> None:
    import torch

    with torch.inference_mode():
        x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
        assert benchmark(peer.compress, x)["strings"]


def test_compressai_decode(benchmark: Benchmark, peer: Any, picture: np.ndarray) -> None:
    import torch

    with torch.inference_mode():
        x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
        coded = peer.compress(x)
        decoded = benchmark(peer.decompress, coded["strings"], coded["shape"])
        assert decoded["x_hat"].shape == x.shape
