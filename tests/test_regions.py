"""Parts of pictures and thumbnails."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

import vaecodec
from vaecodec.codec import Codec
from vaecodec.model.symbols import Stream, Symbols

REGIONS = [
    (0, 0, 1100, 1050),
    (0, 0, 1, 1),
    (1099, 1049, 1, 1),
    (1000, 1000, 60, 40),
    (513, 17, 100, 5),
    (1023, 0, 2, 1050),
    (7, 1030, 1090, 20),
]


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Four groups."""
    return np.ascontiguousarray(np.tile(skimage.data.astronaut(), (3, 3, 1))[:1050, :1100])


@pytest.fixture(scope="module")
def data(codec: Codec, picture: np.ndarray) -> bytes:
    return codec.encode(picture, 30)


@pytest.fixture(scope="module")
def whole(codec: Codec, data: bytes) -> np.ndarray:
    return np.asarray(codec.decode(data)).astype(int)


@pytest.mark.parametrize("region", REGIONS)
def test_a_region_is_that_of_the_whole(
    codec: Codec, data: bytes, whole: np.ndarray, region: tuple[int, int, int, int]
) -> None:
    left, top, width, height = region
    box = (left, top, left + width, top + height)
    part = np.asarray(codec.decode(data, box=box)).astype(int)
    expected = whole[top : top + height, left : left + width]
    assert part.shape == expected.shape
    assert np.abs(part - expected).max() <= 1


def test_only_the_groups_needed_are_touched(
    codec: Codec, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = codec.encode(np.concatenate((picture[:40], picture[:40, :60]), axis=1), 30)
    coder = codec.loaded().symbols
    sizes = []

    def decode(stream: Stream) -> Symbols:
        sizes.append((stream.rows, stream.columns))
        return type(coder).decode(coder, stream)

    monkeypatch.setattr(coder, "decode", decode)
    codec.decode(data, box=(10, 10, 610, 30))
    assert sizes == [(3, 64)]
    sizes.clear()
    codec.decode(data, box=(1150, 10, 1155, 15))
    assert sizes == [(3, 9)]


def test_regions_of_lossless_pictures(codec: Codec, picture: np.ndarray) -> None:
    data = codec.encode(picture[:60, :70], lossless=True)
    part = np.asarray(codec.decode(data, box=(50, 20, 70, 60)))
    assert np.array_equal(part, picture[20:60, 50:70])


@pytest.mark.parametrize(
    "box", [(-1, 0, 5, 5), (0, 0, 0, 5), (0, 0, 1101, 5), (1099, 1049, 1100, 1051)]
)
def test_regions_outside(codec: Codec, data: bytes, box: tuple[int, int, int, int]) -> None:
    with pytest.raises(vaecodec.VaeError, match="not within the picture of 1100 x 1050"):
        codec.decode(data, box=box)


@pytest.mark.parametrize("shrink", [2, 4, 8])
def test_thumbnails(codec: Codec, data: bytes, whole: np.ndarray, shrink: int) -> None:
    small = np.asarray(codec.decode(data, reduce=shrink)).astype(float)
    assert small.shape == (-(-1050 // shrink), -(-1100 // shrink), 3)
    block = whole[shrink : 2 * shrink, 2 * shrink : 3 * shrink].reshape(-1, 3).mean(axis=0)
    assert np.abs(small[1, 2] - block).max() <= 1


@pytest.mark.parametrize("shrink", [0, 3, 16, "2"])
def test_other_thumbnails(codec: Codec, data: bytes, shrink: int) -> None:
    with pytest.raises(vaecodec.VaeError, match="reduce must be one of"):
        codec.decode(data, reduce=shrink)
