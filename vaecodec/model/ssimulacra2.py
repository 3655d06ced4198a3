"""The error that SSIMULACRA2 measures, before its polynomial, and a penalty on colour shifts.

SSIMULACRA2 (Sneyers, 2023) compares two pictures in the XYB colour space at six scales by a structural
map derived from SSIM, edges that appeared ("ring") and edges that were lost ("blur"), each as a mean
and as a 4-norm over positions, summed with weights fitted to people's opinions. The sum is
differentiable: models of tune `visual` are trained on it, and their encoder's search minimises it. It
hardly sees the colour of areas; `VisualError.colour` makes up for that.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from vaecodec.model.filters import filtered, gaussian

X, Y, B = range(3)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Published weights of one channel at one scale: (of the mean, of the 4-norm over positions)."""

    channel: int
    ssim: tuple[float, float] = (0.0, 0.0)
    ring: tuple[float, float] = (0.0, 0.0)
    blur: tuple[float, float] = (0.0, 0.0)


#: From full resolution down, halving at every scale. Weights below 0.01 are left out, and with them
#: most of the work: together they change a score by less than 0.01 points.
SCALES = (
    (Weights(channel=Y, ssim=(0, 7.466890328), blur=(0, 17.445833984)),),
    (
        Weights(channel=X, ssim=(0, 1.104172643)),
        Weights(channel=Y, ssim=(0, 6.683678146), blur=(0, 1.027889938)),
    ),
    (
        Weights(channel=X, ssim=(0, 1.842245552), ring=(0, 11.441172604)),
        Weights(channel=Y, ssim=(225.205153008, 19.213238186)),
    ),
    (
        Weights(channel=X, ssim=(0, 1.878759498), ring=(0, 10.949069906)),
        Weights(channel=Y, ssim=(176.393175985, 24.433009999), ring=(0, 0.285208026)),
        Weights(channel=B, ssim=(0, 8.826982765), ring=(0, 23.19243344)),
    ),
    (
        Weights(channel=X, ring=(0.967793708, 0.998176698)),
        Weights(channel=Y, ssim=(0, 34.779063445), ring=(0, 44.835625329)),
        Weights(
            channel=B,
            ssim=(95.108049881, 0),
            ring=(0.986397803, 171.26672559),
            blur=(0.983438279, 0.980785887),
        ),
    ),
)
#: A picture's scales end before a side gets shorter than this.
SMALLEST_SIDE = 8
SIGMA = 1.5
RADIUS = 5
_TAPS = gaussian(SIGMA, RADIUS)
STRUCTURE_CONSTANT = 0.0009
#: Keeps the gradient of a 4-norm finite where nothing differs.
NORM_FLOOR = 1e-20
#: Scales at which colours are compared: half and quarter size.
COLOUR_SCALES = (1, 2)

# Opsin absorbance in libjxl's XYB: from linear sRGB to what the three kinds of cones absorb.
_ABSORBANCE = (
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.5518098665095536),
)
_BIAS = 0.0037930732552754493
#: Below this, sRGB is a linear function of light.
LINEAR_BELOW = 0.04045


@dataclass(frozen=True, kw_only=True)
class VisualError:
    """For each of N pictures: SSIMULACRA2's weighted error, and the mean squared error of colours."""

    structure: Tensor
    colour: Tensor


def score(error: Tensor) -> Tensor:
    """Convert `VisualError.structure` to SSIMULACRA2's score (100: no visible difference)."""
    e = 0.9562382616834844 * error
    e = 2.326765642916932 * e - 0.020884521182843837 * e**2 + 6.248496625763138e-05 * e**3
    return 100 - 10 * e.clamp(min=0) ** 0.6276336467831387


def linear_light(samples: Tensor) -> Tensor:
    """Convert sRGB on the scale 0..1, N x H x W x 3, to linear light, planar: N x 3 x H x W.

    Like the rest of the error, it avoids `clamp`, `where` and `pow`, whose gradients take most of a
    CPU's time: both parts of the curve are computed everywhere, and one of them stays constant.
    """
    x = F.hardtanh(samples.permute(0, 3, 1, 2).contiguous(), 0, 1)
    bright = F.threshold(x, LINEAR_BELOW, LINEAR_BELOW)
    return _power((bright + 0.055) / 1.055, 2.4) + (x - bright) / 12.92


def _power(x: Tensor, exponent: float) -> Tensor:
    """x ** exponent for positive x."""
    return torch.exp(exponent * torch.log(x))


def xyb(linear: Tensor, channels: Collection[int]) -> dict[int, Tensor]:
    """Convert linear light, N x 3 x H x W, to `channels` of XYB in SSIMULACRA2's scaling, about 0..1:
    N x H x W each."""
    cones = _absorbance(linear.device)[: 3 if B in channels else 2]
    mixed = (cones @ linear.flatten(2)).unflatten(2, linear.shape[2:]) + _BIAS
    a, b, *c = (_power(mixed, 1 / 3) - _BIAS ** (1 / 3)).unbind(1)
    y = (a + b) / 2
    found = {Y: y + 0.01}
    if X in channels:
        found[X] = 7 * (a - b) + 0.42
    if c:
        found[B] = c[0] - y + 0.55
    return found


@lru_cache(maxsize=4)
def _absorbance(device: torch.device) -> Tensor:
    return torch.tensor(_ABSORBANCE, dtype=torch.float32, device=device)


def _blur(planes: Tensor) -> Tensor:
    """Blur planes, ... x H x W. Edges are as in the package `ssimulacra2`: black left and right,
    mirrored above and below."""
    return filtered(filtered(planes, _TAPS, -1, mirror=False), _TAPS, -2)


def _pooled(values: Tensor, weights: tuple[float, float]) -> Tensor | float:
    """Weighted sum of mean and 4-norm over positions: N x H x W, not negative -> N."""
    mean, norm = weights
    total: Tensor | float = 0.0
    if mean:
        total = total + mean * values.mean(dim=(1, 2))
    if norm:
        square = values * values
        fourth = (square * square).mean(dim=(1, 2))
        total = total + norm * (fourth + NORM_FLOOR) ** 0.25
    return total


def _channel_error(wanted: Tensor, found: Tensor, weights: Weights) -> Tensor | float:
    """Error of one channel at one scale: N x H x W each -> N."""
    mean, mean_found = _blur(wanted), _blur(found)
    total: Tensor | float = 0.0
    if any(weights.ssim):
        squares = torch.stack((wanted * wanted + found * found, wanted * found))
        both, product = _blur(squares)
        both = both - mean * mean - mean_found * mean_found + STRUCTURE_CONSTANT
        product = 2 * (product - mean * mean_found) + STRUCTURE_CONSTANT
        shift = mean - mean_found
        ssim = 1 - (1 - shift * shift) * product / both
        total = total + _pooled(F.relu(ssim), weights.ssim)
    if any(weights.ring) or any(weights.blur):
        edges = (1 + (found - mean_found).abs()) / (1 + (wanted - mean).abs()) - 1
        total = total + _pooled(F.relu(edges), weights.ring)
        total = total + _pooled(F.relu(-edges), weights.blur)
    return total


def visual_error(wanted: Tensor, found: Tensor) -> VisualError:
    """Compare pictures, float N x H x W x 3, sRGB on the scale 0..1 (and limited to it)."""
    return error_in_light(linear_light(wanted), linear_light(found))


def error_in_light(light: Tensor, light_found: Tensor) -> VisualError:
    """Compare pictures in linear light, N x 3 x H x W."""
    structure = light.new_zeros(len(light))
    colour = light.new_zeros(len(light))
    for scale, weights in enumerate(SCALES):
        if scale:
            light, light_found = _halved(light), _halved(light_found)
        if min(light.shape[2:]) < SMALLEST_SIDE:
            break
        colours = (X, B) if scale in COLOUR_SCALES else ()
        needed = {*colours, *(channel.channel for channel in weights)}
        reference, other = xyb(light, needed), xyb(light_found, needed)
        for channel in weights:
            c = channel.channel
            structure = structure + _channel_error(reference[c], other[c], channel)
        for c in colours:
            shift = reference[c] - other[c]
            colour = colour + (shift * shift).mean(dim=(1, 2)) / len(COLOUR_SCALES)
    return VisualError(structure=structure, colour=colour)


def _halved(planes: Tensor) -> Tensor:
    """Average 2 x 2 samples; at an odd edge, those there are."""
    return F.avg_pool2d(planes, 2, ceil_mode=True, count_include_pad=False)
