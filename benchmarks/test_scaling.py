"""How the cost of encoding and decoding grows with the picture, the threads and the batch.

make bench                                       # the short form
python -m pytest benchmarks --benchmark-enable --full
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from vaecodec.codec import Codec

#: Megapixels -> width and height.
SIZES = {
    "0.1": (384, 256),
    "0.4": (768, 512),
    "1.6": (1536, 1024),
    "6.3": (3072, 2048),
    "24": (6000, 4000),
}
BATCHES = (1, 4, 8)
QUALITY = 60


def _picture(picture: np.ndarray, megapixels: str) -> np.ndarray:
    """Mirrored copies of `picture` side by side."""
    width, height = SIZES[megapixels]
    rows, columns = (
        -(-side // have) for side, have in zip((height, width), picture.shape, strict=False)
    )
    row = np.concatenate([picture[:, :: -1 if x % 2 else 1] for x in range(columns)], axis=1)
    whole = np.concatenate([row[:: -1 if y % 2 else 1] for y in range(rows)])
    return np.ascontiguousarray(whole[:height, :width])


def _sizes() -> list[Any]:
    return [
        pytest.param(name, marks=[pytest.mark.full] if w * h > 2e6 else [])
        for name, (w, h) in SIZES.items()
    ]


@pytest.mark.parametrize("megapixels", _sizes())
def test_size_encode(benchmark: Any, codec: Codec, picture: np.ndarray, megapixels: str) -> None:
    image = _picture(picture, megapixels)
    benchmark.extra_info["pixels"] = image[..., 0].size
    benchmark.pedantic(codec.encode, (image, QUALITY), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("megapixels", _sizes())
def test_size_decode(benchmark: Any, codec: Codec, picture: np.ndarray, megapixels: str) -> None:
    image = _picture(picture, megapixels)
    benchmark.extra_info["pixels"] = image[..., 0].size
    benchmark.pedantic(codec.decode, (codec.encode(image, QUALITY),), rounds=3, warmup_rounds=1)


@pytest.fixture(params=sorted({1, torch.get_num_threads()}))
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_threads_encode(benchmark: Any, codec: Codec, picture: np.ndarray, threads: int) -> None:
    benchmark.extra_info["pixels"] = picture[..., 0].size
    assert benchmark(codec.encode, picture, QUALITY)


def test_threads_decode(benchmark: Any, codec: Codec, picture: np.ndarray, threads: int) -> None:
    benchmark.extra_info["pixels"] = picture[..., 0].size
    assert benchmark(codec.decode, codec.encode(picture, QUALITY)).size == (768, 512)


@pytest.mark.parametrize("count", BATCHES)
def test_batch_encode(benchmark: Any, codec: Codec, picture: np.ndarray, count: int) -> None:
    benchmark.extra_info["pixels"] = count * picture[..., 0].size
    files = benchmark.pedantic(
        codec.encode_batch, ([picture] * count, QUALITY), rounds=3, warmup_rounds=1
    )
    assert len(files) == count


@pytest.mark.parametrize("count", BATCHES)
def test_batch_decode(benchmark: Any, codec: Codec, picture: np.ndarray, count: int) -> None:
    benchmark.extra_info["pixels"] = count * picture[..., 0].size
    files = codec.encode_batch([picture] * count, QUALITY)
    assert len(benchmark.pedantic(codec.decode_batch, (files,), rounds=3, warmup_rounds=1)) == count
