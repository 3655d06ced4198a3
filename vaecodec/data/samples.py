"""Samples of pictures as training needs them: uint8 tensors, C x H x W, with the channels asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from bitstream.errors import BadValue

#: Channels of each mode, in order, by Pillow's names.
MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


def check_mode(mode: str | None) -> None:
    """Raises BadValue if `mode` is neither None nor one of MODES."""
    if mode is not None and (not isinstance(mode, str) or mode not in MODES):
        raise BadValue(f"mode must be None or one of {', '.join(MODES)}, not {mode!r}")


def in_mode(picture: Tensor, mode: str | None) -> Tensor:
    """`picture` (uint8, 1 to 4 x H x W, its mode given by its number of channels) converted to `mode`,
    on its device; unchanged if `mode` is None.

    Values are those of Pillow's `convert`: grey is 0.299 R + 0.587 G + 0.114 B, missing transparency is
    255, and transparency that is not asked for is left out.
    """
    if mode is None or len(picture) == MODES[mode]:
        return picture
    grey, transparent = len(picture) < 3, len(picture) % 2 == 0
    colours = picture[:1] if grey else picture[:3]
    if mode in ("L", "LA") and not grey:
        red, green, blue = colours.int()
        colours = ((red * 19595 + green * 38470 + blue * 7471 + 2**15) >> 16).to(torch.uint8)[None]
    elif mode in ("RGB", "RGBA"):
        colours = colours.expand(3, -1, -1)
    if mode in ("L", "RGB"):
        return colours.contiguous()
    alpha = picture[-1:] if transparent else torch.full_like(picture[:1], 255)
    return torch.cat((colours, alpha))
