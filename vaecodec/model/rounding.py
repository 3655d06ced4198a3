"""Rounding of residuals to symbols, with an eye on the rate: in the encoder, and in training, so that
the transforms learn to expect it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bitstream.entropy import Tables
from vaecodec.model.config import LEVELS
from vaecodec.model.transforms import with_details

#: Larger symbols are rated like one of this magnitude.
RATED_MAX = 32


@dataclass(frozen=True, kw_only=True)
class ErrorBits:
    """Bits that rounding may spend to avoid a squared error of one step, in details and in all other
    channels (docs/experiments.md).

    High-rate theory gives 6 / ln 2 for the optimal step and squared error, and is nearly right for the
    details, which are linear in the picture. The others call for more caution, and so does a distortion
    that is sensitive to lost texture.
    """

    others: float
    details: float

    def by_level(self) -> Tensor:
        """The same at every level, as weights files hold it: float32, LEVELS x 2."""
        return torch.tensor([self.others, self.details]).repeat(LEVELS, 1)


#: What models are trained with, per tune.
TRAINED_WITH = {
    "psnr": ErrorBits(others=20.0, details=10.0),
    "visual": ErrorBits(others=40.0, details=20.0),
}


def by_channel(bits: Tensor, channels: int, details: int) -> Tensor:
    """Distribute `bits` (of other channels and of details) over all `channels`: float32, M."""
    others = bits[:1].expand(channels - details)
    return with_details(others, bits[1:].expand(details))


def bits_by_magnitude(tables: Tables) -> np.ndarray:
    """Ideal code length of symbols by scale index and magnitude: float64, S x (RATED_MAX + 1)."""
    magnitudes = np.arange(RATED_MAX + 1)
    return np.stack([tables.symbol_bits(s, magnitudes) for s in range(len(tables.supports))])


def bits_saved(tables: Tables) -> Tensor:
    """What a symbol costs more than the next one towards zero, by scale index and magnitude: float32,
    S x (RATED_MAX + 1)."""
    bits = bits_by_magnitude(tables)
    return torch.from_numpy(np.diff(bits, axis=1, prepend=bits[:, :1])).float()


def rated(table: Tensor, size: Tensor, index: Tensor) -> Tensor:
    """Look up `table`, S x (RATED_MAX + 1), at scale indices `index` and symbol magnitudes `size`."""
    entry = size.clamp(max=RATED_MAX).to(torch.int32).add_(index, alpha=RATED_MAX + 1)
    return table.view(-1).index_select(0, entry.view(-1)).view(size.shape)


def rounded(
    residual: Tensor, index: Tensor, error_bits: float | Tensor, saved: Tensor, skip: int
) -> Tensor:
    """Round residuals (in steps) to the nearest integer, or to the next one towards zero where that
    saves more rate than it adds distortion (rate-distortion optimised quantisation).

    `index`: scale indices, integers of any type, as many; below `skip` only zero can be coded.
    `error_bits`: bits that a squared error of one step counts as. `saved`: from `bits_saved`.
    """
    symbol = torch.round(residual)
    size = symbol.abs()
    # Increase of the squared error (in steps), in bits.
    added = residual.abs().sub_(size).mul_(2).add_(1).mul_(error_bits)
    symbol -= symbol.sign().mul_(rated(saved, size, index) > added)
    return symbol.mul_(index >= skip)
