"""tools/guards.py: what it takes for a broken tolerance."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bitstream.errors import VaeError
from vaecodec.bench.results import Results, Row
from vaecodec.train.data import held_out

pytest.importorskip("bjontegaard", reason="the bench extra is not installed")
sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import guards

#: Bits per pixel, PSNR, and each guard's metric, of every curve before it is changed.
RATES = (0.1, 0.25, 0.6, 1.2, 2.0)
VALUES = {
    "psnr": (26.0, 29.0, 32.5, 36.0, 39.0),
    "ssimulacra2": (-10.0, 30.0, 55.0, 75.0, 85.0),
    "cvvdp": (6.5, 8.0, 9.0, 9.5, 9.7),
    "ms-ssim": (0.9, 0.95, 0.98, 0.99, 0.995),
    "psnr-y": (27.0, 30.0, 33.5, 37.0, 40.0),
    "ciede2000": (3.0, 2.2, 1.5, 1.0, 0.7),
    "flip": (0.15, 0.1, 0.07, 0.05, 0.03),
    "features": (3.0, 2.2, 1.5, 1.0, 0.7),
}


def judge(changes: dict[str, float]) -> dict[str, Any]:
    """With all curves equal, but that `visual` has so much more of the metrics named in `changes`."""
    rows = []
    for codec in ("visual", "psnr", "avif"):
        for number, rate in enumerate(RATES):
            values = {
                metric: by_rate[number] + (changes.get(metric, 0) if codec == "visual" else 0)
                for metric, by_rate in VALUES.items()
            }
            size = round(rate * 125_000)
            rows.append(
                Row(
                    image="a",
                    codec=codec,
                    quality=number,
                    bytes=size,
                    sha256="",
                    width=1000,
                    height=1000,
                    encode_seconds=0,
                    decode_seconds=0,
                    metrics=dict(values),
                )
            )
    codecs = dict.fromkeys(("visual", "psnr", "avif"), "")
    return guards.judge(
        Results(machine="", jobs=1, codecs=codecs, metrics=dict.fromkeys(VALUES, ""), rows=rows)
    )


def test_equal_models_break_nothing() -> None:
    found = judge({})
    assert found["broken"] == []
    assert found["bd_rate"]["visual against psnr"] == dict.fromkeys(VALUES, pytest.approx(0))
    for metric in ("psnr", "psnr-y"):
        assert set(found["decibels_above_psnr"][metric].values()) == {0}


@pytest.mark.parametrize(
    ("metric", "within", "beyond", "message"),
    [
        (
            "ssimulacra2",
            -0.5,
            -3,
            r"ssimulacra2: \+\d.* % rate against psnr; at most \+3.0 % is allowed",
        ),
        ("cvvdp", -0.01, -0.2, r"cvvdp: \+.* % rate against psnr"),
        ("ms-ssim", -0.0001, -0.002, r"ms-ssim: \+.* % rate against psnr"),
        ("psnr-y", -1.19, -1.21, r"psnr-y: -1.21 dB at 0.15 bpp; -1.2 dB is allowed"),
        ("flip", 0.0005, 0.01, r"flip: \+.* % rate against psnr"),
        ("features", 0.01, 0.2, r"features: \+.* % rate against psnr"),
        ("ciede2000", -0.2, 0.001, r"ciede2000: \+0.001 against AVIF at 0.15 bpp; \+0.0 is allowed"),
        ("psnr", -1.19, -1.21, r"psnr: -1.21 dB at 0.15 bpp; -1.2 dB is allowed"),
    ],
)
def test_tolerances(metric: str, within: float, beyond: float, message: str) -> None:
    assert judge({metric: within})["broken"] == []
    broken = judge({metric: beyond})["broken"]
    assert broken
    assert re.match(message, broken[0])
    assert all(text.startswith(f"{metric}: ") for text in broken)


def test_a_guard_that_cannot_be_compared_is_broken() -> None:
    assert "cvvdp: the curves overlap too little" in judge({"cvvdp": -9})["broken"][0]


def test_pictures_are_held_out_ones(tmp_path: Path) -> None:
    """All of those large enough, cut to their middle; in the end, what `load` holds out."""
    data, generator = tmp_path / "data", np.random.default_rng(0)
    data.mkdir()
    for number in range(64):
        side = 24 if number % 32 < 31 else (1800 if number == 63 else 200)
        samples = generator.integers(0, 256, (side // 4, side // 4, 3), np.uint8)
        Image.fromarray(samples).resize((side, side)).save(data / f"{number:02}.png")
    kept = held_out(data)
    assert [picture.shape for picture in kept] == [(100, 100, 3), (900, 900, 3)]
    found = guards.pictures(data, tmp_path / "out", 5)
    assert [each.path.name for each in found] == ["000.png"]  # 100 pixels are too few for MS-SSIM
    assert np.array_equal(np.asarray(Image.open(found[0].path)), kept[1][66:834, 66:834])
    with pytest.raises(VaeError, match="no such folder"):
        held_out(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(VaeError, match="has fewer than 32 pictures"):
        held_out(tmp_path / "empty")
