"""Metrics of the benchmark."""

from __future__ import annotations

import numpy as np
import pytest

from bitstream.errors import VaeError
from vaecodec.bench.codecs import JPEG, OTHERS
from vaecodec.bench.metrics import bd_rate, ms_ssim, psnr
from vaecodec.bench.run import jpeg_bytes_at

CURVE = [(0.1, 26.0), (0.25, 29.0), (0.6, 32.5), (1.2, 36.0), (2.0, 39.0)]


@pytest.fixture(autouse=True)
def needs_the_extra(request: pytest.FixtureRequest) -> None:
    if "bd_rate" in request.node.name:
        pytest.importorskip("bjontegaard", reason="the bench extra is not installed")


def test_bd_rate_of_a_curve_against_itself() -> None:
    assert abs(bd_rate(CURVE, CURVE)) < 1e-9


def test_bd_rate_of_half_the_rate() -> None:
    assert bd_rate(CURVE, [(r / 2, d) for r, d in CURVE]) == pytest.approx(-50, abs=1e-6)


def test_bd_rate_of_curves_apart() -> None:
    with pytest.raises(VaeError, match="overlap too little"):
        bd_rate(CURVE, [(r, d + 12) for r, d in CURVE])


def test_psnr() -> None:
    a = np.zeros((4, 4, 3), np.uint8)
    assert psnr(a, a) == float("inf")
    assert psnr(a, a + 1) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(a, a + 255) == pytest.approx(0)


def test_jpeg_size_at_a_psnr_lies_between_its_neighbours(photo: np.ndarray) -> None:
    data = {q: JPEG.encode(photo, q) for q in (60, 61)}
    values = {q: psnr(photo, JPEG.decode(d)) for q, d in data.items()}
    middle = jpeg_bytes_at(photo, (values[60] + values[61]) / 2)
    assert len(data[60]) <= middle <= len(data[61])
    assert jpeg_bytes_at(photo, values[60]) == pytest.approx(len(data[60]))
    assert np.isnan(jpeg_bytes_at(photo, 99.0))


def test_ms_ssim(photo: np.ndarray) -> None:
    pytest.importorskip("pytorch_msssim", reason="the bench extra is not installed")
    assert ms_ssim(photo, photo) == pytest.approx(1, abs=1e-6)
    values = [ms_ssim(photo, JPEG.decode(JPEG.encode(photo, q))) for q in (10, 50, 90)]
    assert values == sorted(values)
    assert ms_ssim(photo[:160], photo[:160]) is None


@pytest.mark.parametrize("name", OTHERS)
def test_other_codecs_get_better_with_quality(name: str, photo: np.ndarray) -> None:
    codec = OTHERS[name]
    files = [codec.encode(photo, q) for q in codec.qualities[::4]]
    assert [len(f) for f in files] == sorted(len(f) for f in files)
    values = [psnr(photo, codec.decode(f)) for f in files]
    assert values == sorted(values)
