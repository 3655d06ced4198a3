"""What each tune minimises: the distortion D in R + lambda D."""

from __future__ import annotations

from torch import Tensor

from vaecodec.model.contrast import lost_contrast
from vaecodec.model.ssimulacra2 import error_in_light, linear_light

#: Tune `visual`: shares of the mean squared error, of SSIMULACRA2's error and of ColorVideoVDP's, and
#: the weights that make their slopes against the rate about equal (docs/experiments.md).
MSE_SHARE, STRUCTURE_SHARE, CONTRAST_SHARE = 0.12, 0.44, 0.44
STRUCTURE_WEIGHT, CONTRAST_WEIGHT = 7.0, 30.0
#: Weight of the squared error of colours in XYB.
COLOUR_WEIGHT = 5e4


def formula(tune: str) -> str:
    """Return the distortion of a tune as a formula, in the letters of docs/model.md."""
    if tune == "psnr":
        return "MSE"
    structure = f"{STRUCTURE_SHARE:g} * {STRUCTURE_WEIGHT:g} E"
    contrast = f"{CONTRAST_SHARE:g} * {CONTRAST_WEIGHT:g} J"
    return f"{MSE_SHARE:g} MSE + {structure} + {contrast} + {COLOUR_WEIGHT:g} C"


def squared_error(wanted: Tensor, found: Tensor) -> Tensor:
    """Mean squared error on the scale 0..255 of each of N pictures (float N x H x W x 3, 0..1)."""
    return (found - wanted).square().mean(dim=(1, 2, 3)) * 255**2


def distortion(tune: str, wanted: Tensor, found: Tensor) -> Tensor:
    """Distortion of each of N pictures (float N x H x W x 3, 0..1): the mean squared error on the scale
    0..255, or a measure of its size that follows what people see."""
    mse = squared_error(wanted, found)
    if tune == "psnr":
        return mse
    light = linear_light(wanted), linear_light(found)
    error = error_in_light(*light)
    structure = STRUCTURE_WEIGHT * error.structure
    contrast = CONTRAST_WEIGHT * lost_contrast(*light)
    seen = STRUCTURE_SHARE * structure + CONTRAST_SHARE * contrast
    return MSE_SHARE * mse + seen + COLOUR_WEIGHT * error.colour
