"""Distortion and similarity of a decoded picture, each through the library kept for it."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np

from bitstream.errors import VaeError

#: Luma of R, G, B (ITU-R BT.601, as in JPEG).
LUMA = np.array((0.299, 0.587, 0.114))
#: What `lpips` needs besides its own weights, in torch.hub's folder of checkpoints.
ALEXNET = "alexnet-owt-7be5be79.pth"


def _decibels(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a - b) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over all samples of two uint8 arrays of one shape; infinite
    for equal ones."""
    return _decibels(a.astype(np.float64), b.astype(np.float64))


def psnr_y(a: np.ndarray, b: np.ndarray) -> float:
    """The same of luma alone (BT.601, not rounded), for uint8 H x W x 3."""
    return _decibels(a @ LUMA, b @ LUMA)


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float | None:
    """Multi-scale structural similarity of two uint8 H x W x 3 arrays, at most 1 (Wang et al., 2003);
    None for pictures with a side of 160 or less, which have no fifth scale."""
    import torch
    from pytorch_msssim import ms_ssim as library

    if min(a.shape[:2]) <= 160:
        return None
    pair = [torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() for x in (a, b)]
    return float(library(*pair, data_range=255))


def ssimulacra2(a: np.ndarray, b: np.ndarray) -> float | None:
    """SSIMULACRA2 of two uint8 H x W x 3 arrays (Sneyers, 2023): 100 is the same, 90 hardly to be told
    apart, 30 low quality; None for pictures with a side below 8."""
    from PIL import Image
    from ssimulacra2 import compute_ssimulacra2

    if min(a.shape[:2]) < 8:
        return None
    files = (io.BytesIO(), io.BytesIO())  # the library opens what it compares
    for picture, file in zip((a, b), files, strict=True):
        Image.fromarray(picture).save(file, "BMP")
    return float(compute_ssimulacra2(*files))


@cache
def _lpips_network() -> Any:
    import lpips as library

    return library.LPIPS(net="alex", verbose=False).eval()


def lpips(a: np.ndarray, b: np.ndarray) -> float | None:
    """Learned perceptual distance of two uint8 H x W x 3 arrays (Zhang et al., 2018; AlexNet), 0 for
    equal ones; None for pictures with a side below 64."""
    import torch

    if min(a.shape[:2]) < 64:
        return None
    pair = [torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1 for x in (a, b)]
    with torch.inference_mode():
        return float(_lpips_network()(*pair))


def _same(value: float) -> float:
    return value


@dataclass(frozen=True)
class Metric:
    """A metric by name. `label`: for axes. `measure(original, decoded)`. `scale`: to the scale on which
    curves are compared, where more is better and steps are about even. `needs`: a package, or none."""

    name: str
    label: str
    measure: Callable[[np.ndarray, np.ndarray], float | None]
    scale: Callable[[float], float] = _same
    needs: str | None = None

    @property
    def version(self) -> str:
        return f"{self.needs} {metadata.version(self.needs)}" if self.needs else "vaecodec"


def _similarity_decibels(value: float) -> float:
    """MS-SSIM in dB, as it is usually plotted."""
    return -10 * math.log10(max(1 - value, 1e-9))


METRICS = {
    metric.name: metric
    for metric in (
        Metric("psnr", "PSNR (dB)", psnr),
        Metric("psnr-y", "PSNR of luma (dB)", psnr_y),
        Metric("ms-ssim", "MS-SSIM (dB)", ms_ssim, _similarity_decibels, "pytorch-msssim"),
        Metric("ssimulacra2", "SSIMULACRA2", ssimulacra2, needs="ssimulacra2"),
        Metric("lpips", "LPIPS (negative)", lpips, lambda value: -value, "lpips"),
    )
}


def usable(name: str) -> Metric:
    """The metric of this name. Raises VaeError if there is none or what it needs is missing."""
    if name not in METRICS:
        raise VaeError(f"no metric is called {name!r}; there are {', '.join(METRICS)}")
    needs = METRICS[name].needs
    if needs and util.find_spec(needs.replace("-", "_")) is None:
        package = "'vaecodec[bench]'" if needs != "lpips" else needs
        raise VaeError(f"{name} is measured by {needs}, which is missing: pip install {package}")
    if name == "lpips":
        import torch

        path = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
        if not path.is_file():
            raise VaeError(f"lpips needs the weights {path}, which are not on this machine")
    return METRICS[name]
