"""Latents of groups to streams and back: the integer prior driving the entropy coder.

A group is a rectangle of at most 64 x 64 latent positions, coded without looking beyond its edge.
Order within a group's stream: the hyper-latent (rows, columns, channels), then for each of the
prior's four steps the values of phases 0..3, each in order of rows, columns, channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bitstream import entropy
from vaecodec.model import fixed_point as fp
from vaecodec.model.config import LEVELS
from vaecodec.model.integer import IntegerArithmetic
from vaecodec.model.prior import (
    STEPS,
    Prior,
    merge_quarters,
    split_phases,
    split_quarters,
    step_quarters,
)
from vaecodec.model.transforms import with_details

#: Hyper-latent symbols an encoder writes are at most this large.
_HYPER_MAX = 2**15 - 1
#: Latents an encoder writes are at most this many quantisation steps from zero.
_LATENT_MAX = 2**13
#: Symbols beyond this size are rated like one of this size.
_RATED_MAX = 32


@dataclass(frozen=True, kw_only=True)
class ErrorBits:
    """Bits that rounding may spend to avoid a squared error of one step, measured best on held-out
    pictures (docs/experiments.md): `bits` up to level `high_rates`, half of it every `halving` levels
    above.

    High-rate theory gives 6 / ln 2 for the optimal step and squared error; learned transforms ask for
    more caution, and so does a distortion that minds texture going. `details` are linear in the
    picture: nothing learned stands between theory and them.
    """

    bits: float
    details: float
    high_rates: int = LEVELS - 1
    halving: float = 30.0

    def at(self, level: int) -> float:
        """Of all but details."""
        return self.bits / 2 ** (max(0, level - self.high_rates) / self.halving)


#: By tune.
ERROR_BITS = {
    "psnr": ErrorBits(bits=60.0, details=10.0, high_rates=21),
    "visual": ErrorBits(bits=120.0, details=20.0),
}

#: The symbols of one group in order of coding, each block with its scale indices.
Blocks = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """Groups as they are to be coded: symbols per item, and the latent that a decoder will have of them
    (float32, N x h x w x M, steps)."""

    blocks: list[Blocks]
    latent: Tensor


class SymbolSource(Protocol):
    """What gives symbols block by block, as `bitstream.entropy.Decoder` does."""

    def decode(self, indices: np.ndarray) -> np.ndarray:
        """Symbols (int32) of the next block, given its scale indices (1-D)."""


class LatentCoder:
    """Codes batches of equally sized groups; every item of a batch has the same quality level.

    Latents are padded to multiples of 4 positions, `rows` x `columns` of which exist and are coded.
    """

    def __init__(
        self,
        arithmetic: IntegerArithmetic,
        tables: entropy.Tables,
        device: torch.device,
        details: int = 0,
        tune: str = "psnr",
    ) -> None:
        self._arithmetic = arithmetic
        self._details = details
        self._rounding = ERROR_BITS[tune]
        self._tables = tables
        self._device = device
        levels = np.arange(_RATED_MAX + 1)
        bits = np.stack([tables.symbol_bits(s, levels) for s in range(len(tables.supports))])
        saved = np.diff(bits, axis=1, prepend=bits[:, :1])
        self._saved_bits = torch.from_numpy(saved).to(device)
        self._least_bits = tables.least_bits()

    def _round(self, residual: Tensor, index: Tensor, error_bits: float | Tensor) -> Tensor:
        """Residuals in steps to symbols: the nearest integer, or the next one toward zero where that
        saves more rate than it adds distortion (rate-distortion optimised quantisation)."""
        symbol = torch.floor(residual + 0.5)
        size = symbol.abs()
        added = 2 * (residual.abs() - size) + 1  # squared error, in steps
        saved = self._saved_bits[index.long(), size.clamp(max=_RATED_MAX).long()]
        symbol -= symbol.sign() * (saved > error_bits * added)
        return symbol * (index >= self._tables.skip)

    def error_bits(self, level: int, channels: int) -> Tensor:
        """Bits for a squared error of one step, per channel, where no search follows."""
        none = torch.zeros(channels, dtype=torch.float64, device=self._device)
        latent = none[self._details :] + self._rounding.at(level)
        return with_details(latent, none[: self._details] + self._rounding.details)

    def _start(self, z: Tensor, level: int, rows: int, columns: int) -> tuple[Prior, _Extent]:
        extent = _Extent(4 * z.shape[1], 4 * z.shape[2], rows, columns, self._device)
        prior = Prior(self._arithmetic, z, self._level(level), extent.mask)
        return prior, extent

    def _level(self, level: int) -> Tensor:
        return torch.tensor([level], device=self._device)

    def _hyper_indices(self, level: int, z: Tensor) -> np.ndarray:
        row = self._arithmetic.table("hyper.index", self._level(level))[0]
        return np.tile(row.to(torch.uint8).cpu().numpy(), z.shape[1] * z.shape[2])

    def encode(self, blocks: Blocks) -> bytes:
        """The stream of one item's symbols."""
        return entropy.encode(self._tables, blocks)

    def least_bytes(self, level: int, rows: int, columns: int) -> int:
        """What the stream of a group of `rows` x `columns` positions has at least: half of what the
        most probable hyper-latent takes."""
        one = self._hyper_indices(level, torch.zeros(1, 1, 1, 1))
        positions = -(-rows // 4) * -(-columns // 4)
        return int(positions * self._least_bits[one].sum() / 16)

    def bits(self, blocks: Blocks) -> float:
        """Ideal code length of one item's symbols."""
        return sum(self._tables.bits(*block) for block in blocks)

    @torch.no_grad()
    def quantise(
        self,
        latent: Tensor,
        hyper: Tensor,
        level: int,
        rows: int,
        columns: int,
        error_bits: float | Tensor | None = None,
    ) -> Quantised:
        """Latents to symbols.

        `latent`: float, N x h x w x M, quantisation steps, h and w multiples of 4. `hyper`: float,
        N x h/4 x w/4 x Z, unrounded. `error_bits`: bits for a squared error of one step,
        for all or per channel (M); infinite for plain rounding, None for what is best without search.
        """
        z = torch.nan_to_num(hyper.double()).round().clamp(-_HYPER_MAX, _HYPER_MAX)
        y = torch.nan_to_num(latent.double()).clamp(-_LATENT_MAX, _LATENT_MAX) * 2**fp.STEP_BITS
        z_indices = self._hyper_indices(level, z)
        z = z * torch.from_numpy(z_indices >= self._tables.skip).to(z).reshape(z.shape[1:])
        z_symbols = z.to(torch.int32).cpu().numpy().reshape(len(z), -1)
        coded = [[(symbols, z_indices)] for symbols in z_symbols]

        prior, extent = self._start(z, level, rows, columns)
        parts = split_quarters(y)
        bits = self.error_bits(level, y.shape[-1]) if error_bits is None else error_bits
        bits = torch.as_tensor(bits, dtype=y.dtype, device=y.device).expand(y.shape[-1])
        bits = bits.reshape(4, 1, 1, 1, -1)  # by quarter
        decoded = torch.zeros_like(parts)
        for step in range(STEPS):
            mean, index = prior.parameters(step)
            quarters = step_quarters(step)
            value = torch.stack([parts[p, q] for p, q in enumerate(quarters)])
            symbol = self._round((value - mean) * 2.0**-fp.STEP_BITS, index, bits[quarters])
            steps = _reconstruct(symbol, mean)
            if step < STEPS - 1:
                prior.update(step, steps)
            for p, q in enumerate(quarters):
                decoded[p, q] = steps[p]
            for item, blocks in enumerate(coded):
                blocks.append(
                    (
                        extent.select(symbol[:, item].to(torch.int32)),
                        extent.select(index[:, item].to(torch.uint8)),
                    )
                )
        return Quantised(blocks=coded, latent=self._finish(decoded, extent))

    def decode(self, streams: list[bytes], level: int, rows: int, columns: int) -> Tensor:
        """Latents of the groups in `streams`: as `read`, each of its own stream.

        Raises CorruptFile if a stream is not one, or holds more than its group.
        """
        decoders = [entropy.Decoder(self._tables, stream) for stream in streams]
        latent = self.read(decoders, level, rows, columns)
        for decoder in decoders:
            decoder.finish()
        return latent

    @torch.no_grad()
    def read(self, sources: Sequence[SymbolSource], level: int, rows: int, columns: int) -> Tensor:
        """Latents of one group from each source, in steps: float32, N x h x w x M, h and w being rows
        and columns rounded up to multiples of 4, zero where nothing was coded."""
        height, width = -(-rows // 4), -(-columns // 4)
        z = torch.zeros(len(sources), height, width, 1, dtype=torch.float64)
        z_indices = self._hyper_indices(level, z)
        symbols = [source.decode(z_indices) for source in sources]
        z = torch.from_numpy(np.stack(symbols)).to(self._device, torch.float64)

        prior, extent = self._start(z.reshape(len(z), height, width, -1), level, rows, columns)
        decoded: Tensor | None = None
        for step in range(STEPS):
            mean, index = prior.parameters(step)
            if decoded is None:
                decoded = mean.new_zeros(4, 4, *mean.shape[1:])
            indices = index.to(torch.uint8)
            symbol = torch.stack(
                [
                    extent.place(source.decode(extent.select(indices[:, item])), mean)
                    for item, source in enumerate(sources)
                ],
                dim=1,
            )
            steps = _reconstruct(symbol, mean)
            if step < STEPS - 1:
                prior.update(step, steps)
            for p, q in enumerate(step_quarters(step)):
                decoded[p, q] = steps[p]
        assert decoded is not None
        return self._finish(decoded, extent)

    def _finish(self, decoded: Tensor, extent: _Extent) -> Tensor:
        latent = merge_quarters(decoded) * 2.0**-fp.STEP_BITS
        if extent.mask is not None:
            latent = latent * extent.mask
        return latent.float()


def _reconstruct(symbol: Tensor, mean: Tensor) -> Tensor:
    return (symbol * 2**fp.STEP_BITS + mean).clamp_(-fp.STEP_MAX, fp.STEP_MAX)


class _Extent:
    """Which positions of a padded group exist; packs their values into rows and back."""

    def __init__(self, height: int, width: int, rows: int, columns: int, device: torch.device) -> None:
        self.mask: Tensor | None = None
        self._where: np.ndarray | None = None
        if (height, width) != (rows, columns):
            self.mask = torch.zeros(1, height, width, 1, dtype=torch.float64, device=device)
            self.mask[:, :rows, :columns] = 1
            self._where = split_phases(self.mask)[:, 0, :, :, 0].cpu().numpy() != 0

    def select(self, values: Tensor) -> np.ndarray:
        """4 x h x w x C -> 1-D array of what is coded, in order."""
        array = values.cpu().numpy()
        return array.reshape(-1) if self._where is None else array[self._where].reshape(-1)

    def place(self, symbols: np.ndarray, like: Tensor) -> Tensor:
        """Inverse of `select`, zero elsewhere: 4 x h x w x C, float64, on the device of `like`."""
        shape = (4, *like.shape[2:])
        if self._where is not None:
            full = np.zeros(shape, dtype=np.int32)
            full[self._where] = symbols.reshape(-1, shape[-1])
            symbols = full
        return torch.from_numpy(symbols.reshape(shape)).to(like.device, torch.float64)
