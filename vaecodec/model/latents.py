"""Latents of groups to symbols and back: rounding, given the scale indices and means of the prior, and
adding the means again. `vaecodec.model.symbols` codes the symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bitstream import entropy
from vaecodec.model.copies import to_device, to_host
from vaecodec.model.indices import IndexNetwork
from vaecodec.model.means import LATENT_MAX, Means
from vaecodec.model.quadtree import STEPS, by_place, of_step
from vaecodec.model.rounding import (
    RATED_MAX,
    bits_by_magnitude,
    bits_saved,
    by_channel,
    rated,
    rounded,
)
from vaecodec.model.symbols import Blocks, Symbols
from vaecodec.model.transforms import repeated

#: Largest magnitude of the symbols that an encoder writes, for the hyper-latent and for the latent.
_HYPER_MAX = 2**15 - 1
_RESIDUAL_MAX = 2**20
#: Largest magnitude of the latents that an encoder writes, in quantisation steps.
_ENCODED_MAX = 2**13


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """A batch of groups ready to be coded.

    `coded`: for every block, in coding order, its symbols (integers in float32) and their scale indices
    (uint8), both N x ...; `latent`: what a decoder will reconstruct from them (float32, N x rows x
    columns x M). All are on the device.
    """

    coded: list[tuple[Tensor, Tensor]]
    latent: Tensor

    def blocks(self) -> list[Blocks]:
        """Return each group's blocks as `SymbolCoder` codes them."""
        on_device = [symbols.to(torch.int32).flatten(1) for symbols, _ in self.coded]
        on_device += [index.flatten(1) for _, index in self.coded]
        on_host, count = to_host(on_device), len(self.coded)
        pairs = list(zip(on_host[:count], on_host[count:], strict=True))
        return [
            [(symbols[item].numpy(), index[item].numpy()) for symbols, index in pairs]
            for item in range(len(self.latent))
        ]


class LatentQuantiser:
    """Rounds and reconstructs batches of equally sized groups, all of the same quality level.

    `scale`: float32, LEVELS x M: the quantisation step, in the units that means and synthesis read.
    `error_bits`: float32, LEVELS x 2, as of `vaecodec.model.rounding.ErrorBits`.
    """

    def __init__(
        self,
        indices: IndexNetwork,
        means: Means,
        scale: Tensor,
        tables: entropy.Tables,
        details: int,
        error_bits: Tensor,
    ) -> None:
        self._indices, self._means, self._scale = indices, means, scale
        self._details = details
        self.error_bits_by_level = error_bits
        self._tables = tables
        self._device = device = scale.device
        self._saved_bits = bits_saved(tables).to(device)
        bits = bits_by_magnitude(tables)
        bits[: tables.skip] = 0
        self._bits = torch.from_numpy(bits).to(device, torch.float32)
        self._hyper_indices = indices.hyper_table.to(device)

    def error_bits(self, level: int, channels: int) -> Tensor:
        """Bits that a squared error of one step counts as, per channel, when no search follows."""
        return by_channel(self.error_bits_by_level[level], channels, self._details)

    def bits(self, quantised: Quantised) -> float:
        """Ideal code length of all groups together, in bits."""
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        beyond = []
        for symbols, index in quantised.coded:
            size = symbols.abs()
            total += rated(self._bits, size, index).sum(dtype=torch.float64)
            larger = size > RATED_MAX
            beyond.append(torch.stack((symbols[larger], index[larger].to(symbols.dtype))))
        symbols, index = torch.cat(beyond, dim=1).to(torch.int64)
        total -= rated(self._bits, symbols.abs(), index).sum(dtype=torch.float64)
        return float(total) + self._tables.bits(symbols.cpu().numpy(), index.cpu().numpy())

    def position_bits(self, quantised: Quantised) -> Tensor:
        """Compute the ideal code length of every position's symbols, the hyper-latent's aside: float32,
        N x rows x columns. Symbols beyond RATED_MAX count like those."""
        total = torch.zeros_like(quantised.latent[..., :1])
        for step, (symbols, index) in enumerate(quantised.coded[1:]):
            bits = rated(self._bits, symbols.abs(), index).sum(dim=2, keepdim=True)
            for place, part in by_place(bits, total, step):
                place.positions(total).add_(part)
        return total[..., 0]

    @torch.no_grad()
    def quantise(
        self, latent: Tensor, hyper: Tensor, level: int, error_bits: float | Tensor | None = None
    ) -> Quantised:
        """Round latents to symbols.

        `latent`: float, N x rows x columns x M, in quantisation steps. `hyper`: float, N x h x w x Z,
        unrounded; h and w are rows and columns in cells, rounded up. `error_bits`: bits that a squared
        error of one step counts as, in any shape that broadcasts to the latent's; infinite for plain
        rounding, None for what is best without search.
        """
        _, rows, columns, m = latent.shape
        index = self._hyper_indices[level].expand_as(hyper)
        z = torch.nan_to_num(hyper).round().clamp(-_HYPER_MAX, _HYPER_MAX)
        z = z * (index >= self._tables.skip)
        coded = [(z, index)]
        y = torch.nan_to_num(latent).clamp(-_ENCODED_MAX, _ENCODED_MAX)
        bits = self.error_bits(level, m) if error_bits is None else error_bits
        bits = torch.as_tensor(bits, dtype=y.dtype, device=y.device).expand(1, rows, columns, m)

        scale = self._scale[level].expand_as(y)
        indices = self._indices.start(z, level, rows, columns)
        means = self._means.start(z, repeated(level, len(z), self._device), rows, columns)
        decoded = torch.empty_like(y)
        for step in range(STEPS):
            index, mean = indices.next(), F.pad(means.next(), (0, self._details // 4))
            unit = of_step(scale, step)
            residual = (of_step(y, step) - mean / unit).clamp_(-_RESIDUAL_MAX, _RESIDUAL_MAX)
            symbols = rounded(residual, index, of_step(bits, step), self._saved_bits, self._tables.skip)
            values = torch.addcmul(mean, symbols, unit)
            predicted = values[..., : (m - self._details) // 4].clamp_(-LATENT_MAX, LATENT_MAX)
            for place, part in by_place(values, decoded, step):
                place.values(decoded).copy_(part)
            if step < STEPS - 1:
                indices.see(symbols)
                means.see(predicted)
            coded.append((symbols, index))
        return Quantised(coded=coded, latent=decoded)

    @torch.no_grad()
    def reconstruct(self, groups: Sequence[Symbols], level: int) -> Tensor:
        """Reconstruct the latents of groups: float32, N x rows x columns x M."""
        # Convert to float on the device: symbols may have fewer bytes.
        z = to_device(_stacked([group.hyper for group in groups]), self._device).float()
        latent = to_device(_stacked([group.latent for group in groups]), self._device).float()
        latent.mul_(self._scale[level])
        n, rows, columns, m = latent.shape
        predicted = (m - self._details) // 4
        means = self._means.start(z, repeated(level, n, self._device), rows, columns)
        for step in range(STEPS):
            values = means.next().add_(of_step(latent, step, predicted))
            values.clamp_(-LATENT_MAX, LATENT_MAX)
            for place, part in by_place(values, latent, step):
                place.values(latent, predicted).copy_(part)
            if step < STEPS - 1:
                means.see(values)
        return latent


def _stacked(parts: list[Tensor]) -> Tensor:
    """Stack items into a batch; a single item is not copied."""
    return parts[0][None] if len(parts) == 1 else torch.stack(parts)
