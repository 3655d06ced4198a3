"""What each tune minimises: the distortion D in R + lambda D."""

from __future__ import annotations

from torch import Tensor

from vaecodec.model.ssimulacra2 import visual_error

#: Tune `visual`: share of the mean squared error; the rest is of SSIMULACRA2's error times
#: STRUCTURE_WEIGHT, which makes their slopes against the rate equal (docs/experiments.md).
MSE_SHARE = 0.12
STRUCTURE_WEIGHT = 7.0
#: Of the squared error of colours in XYB.
COLOUR_WEIGHT = 5e4


def squared_error(wanted: Tensor, found: Tensor) -> Tensor:
    """Mean squared error on the scale 0..255 of each of N pictures (float N x H x W x 3, 0..1)."""
    return (found - wanted).square().mean(dim=(1, 2, 3)) * 255**2


def distortion(tune: str, wanted: Tensor, found: Tensor) -> Tensor:
    """Distortion of each of N pictures (float N x H x W x 3, 0..1): the mean squared error on the scale
    0..255, or what is of its size and follows what people see."""
    mse = squared_error(wanted, found)
    if tune == "psnr":
        return mse
    error = visual_error(wanted, found)
    seen = STRUCTURE_WEIGHT * error.structure
    return MSE_SHARE * mse + (1 - MSE_SHARE) * seen + COLOUR_WEIGHT * error.colour
