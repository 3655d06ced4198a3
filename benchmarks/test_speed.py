"""Speed on a 768 x 512 picture, after warm-up, everything included; CompressAI in the same run.

    make bench

What counts is ratios between rows of one run; absolute times depend on the machine.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bitstream import container, entropy
from vaecodec.bench.codecs import other
from vaecodec.codec import Codec
from vaecodec.model.symbols import Stream
from vaecodec.quality import level_of

Benchmark = Callable[..., Any]
QUALITIES = (10, 60, 100)
EFFORTS = (0, 4, 8)


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
    benchmark(codec.loaded().analyse, picture[None], level_of(quality))


@pytest.mark.parametrize("quality", QUALITIES)
def test_part_synthesis(benchmark: Benchmark, codec: Codec, picture: np.ndarray, quality: int) -> None:
    model, level = codec.loaded(), level_of(quality)
    latent = model.latents.quantise(*model.analyse(picture[None], level), level).latent
    benchmark(model.synthesise, latent, level)


@pytest.mark.parametrize("quality", QUALITIES)
def test_part_entropy_decoding(
    benchmark: Benchmark, codec: Codec, picture: np.ndarray, quality: int
) -> None:
    """Includes the scale indices that drive it."""
    benchmark(codec.decode_symbols, codec.encode(picture, quality))


@pytest.mark.parametrize("quality", QUALITIES)
def test_part_means(benchmark: Benchmark, codec: Codec, picture: np.ndarray, quality: int) -> None:
    model, level = codec.loaded(), level_of(quality)
    (stream,) = container.parse(codec.encode(picture, quality)).streams
    symbols = model.symbols.decode(Stream(data=stream, level=level, rows=32, columns=48))
    benchmark(model.latents.reconstruct, [symbols], level)


@pytest.mark.parametrize("quality", QUALITIES)
def test_part_entropy_encoding(
    benchmark: Benchmark, codec: Codec, picture: np.ndarray, quality: int
) -> None:
    model, level = codec.loaded(), level_of(quality)
    blocks = model.latents.quantise(*model.analyse(picture[None], level), level).blocks()[0]
    benchmark(entropy.encode, model.symbols.tables, blocks)


def test_part_container(benchmark: Benchmark, codec: Codec, picture: np.ndarray) -> None:
    benchmark(container.parse, codec.encode(picture, 60))


#: Pillow's codecs, each at a quality of about 36 dB on this picture.
OTHERS = (("jpeg", 80), ("webp", 80), ("avif", 68))


@pytest.mark.parametrize(("name", "quality"), OTHERS)
def test_pillow_encode(benchmark: Benchmark, picture: np.ndarray, name: str, quality: int) -> None:
    benchmark(other(name).encode, picture, quality)


@pytest.mark.parametrize(("name", "quality"), OTHERS)
def test_pillow_decode(benchmark: Benchmark, picture: np.ndarray, name: str, quality: int) -> None:
    benchmark(other(name).decode, other(name).encode(picture, quality))


#: CompressAI's models, with random weights, on which speed does not depend; and rounds, few for the
#: second, which codes position by position and takes many seconds.
PEERS = (("mbt2018_mean", 5), ("cheng2020_anchor", 1))


@pytest.fixture(scope="module", params=PEERS, ids=[name for name, _ in PEERS])
def peer(request: pytest.FixtureRequest, picture: np.ndarray) -> tuple[Any, Any, int]:
    """A model, the picture as its input, and the number of rounds."""
    if importlib.util.find_spec("compressai") is None:
        pytest.skip("the train extra is not installed")
    from vaecodec.train import entropy_models  # noqa: F401 - makes compressai importable

    name, rounds = request.param
    zoo = importlib.import_module("compressai.zoo")
    torch.manual_seed(0)
    model = getattr(zoo, name)(quality=4, pretrained=False).eval()
    model.update()
    x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    return model, x, rounds


def test_compressai_encode(benchmark: Benchmark, peer: tuple[Any, Any, int]) -> None:
    model, x, rounds = peer
    with torch.inference_mode():
        assert benchmark.pedantic(model.compress, (x,), rounds=rounds)["strings"]  # type: ignore[attr-defined]


def test_compressai_decode(benchmark: Benchmark, peer: tuple[Any, Any, int]) -> None:
    model, x, rounds = peer
    with torch.inference_mode():
        coded = model.compress(x)
        arguments = (coded["strings"], coded["shape"])
        decoded = benchmark.pedantic(model.decompress, arguments, rounds=rounds)  # type: ignore[attr-defined]
        assert decoded["x_hat"].shape == x.shape
