"""Scale indices, from integers alone: the only network that decoders must agree on to the last bit.

A linear map takes each position of the hyper-latent, at 1/64, to indices for the latents of its 4 x 4
positions; from the second step on, a small network adds a correction that it computes from the
magnitudes of the symbols decoded so far.

Integers are held in float32. Every partial sum is a multiple of some power of two and below 2^24 times
it, hence exact in any order of summation, with any number of threads, on any device. Factors have at
most 8 bits, so products stay exact even where a library rounds factors to TF32 or bfloat16. The only
exception, the gains of the hyper-latent, have 31 bits and are applied in float64. Convolutions are not
left to a library, since those by Winograd or FFT round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vaecodec.geometry import HYPER_CELL
from vaecodec.model.config import LEVELS, SCALES, ModelConfig
from vaecodec.model.quadtree import QUARTERS, STEPS, Place, by_place, places
from vaecodec.model.transforms import depth_to_space

#: Activations saturate at ACTIVATION_MAX. Weights have 8 bits, and sums are shifted right by 1 to
#: SHIFT_MAX bits.
ACTIVATION_MAX = 255
WEIGHT_MAX = 127
BIAS_MAX = 2**22
SHIFT_MAX = 11
#: Activations are in units of 2^-ACTIVATION_BITS, those that the heads read, which are smaller, of
#: 2^-HEAD_BITS. Gains of the hyper-latent are in units of 2^-GAIN_BITS of the former.
ACTIVATION_BITS = 3
HEAD_BITS = 4
GAIN_BITS = 16
GAIN_MAX = 2**30
#: Scale indices are in units of 2^-INDEX_BITS until they are rounded. Offsets are at most OFFSET_MAX;
#: indices saturate at BASE_MAX before context is added.
INDEX_BITS = 4
OFFSET_MAX = 2**12
BASE_MAX = 2**11
#: Magnitudes are in units of 2^-MAGNITUDE_BITS; larger symbols count as SYMBOL_MAX.
MAGNITUDE_BITS = 3
SYMBOL_MAX = 255


def magnitude(symbols: Tensor) -> Tensor:
    """Return log2(1 + |symbol|), linear between powers of two: float32, a whole number of units.

    It is read off the bits of a float32: the exponent and the first MAGNITUDE_BITS of the mantissa.
    """
    size = symbols.abs().clamp(max=SYMBOL_MAX).float().add_(1)
    return ((size.view(torch.int32) >> 23 - MAGNITUDE_BITS) - (127 << MAGNITUDE_BITS)).float()


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Shapes of one integer layer: an int8 weight of shape `weight`, and for each of `outputs` a shift
    and a bias (int32): one bias (`biases` is ()), one per quality level ((LEVELS,)), or none (None)."""

    weight: tuple[int, ...]
    outputs: int
    biases: tuple[int, ...] | None = ()


def layers(config: ModelConfig) -> dict[str, Layer]:
    """Return all layers of the network of `config`."""
    m, width = config.latent_channels, config.index_width
    cell = HYPER_CELL**2
    found = {
        # Outputs: (row in the cell, column in the cell, channel).
        "map": Layer(weight=(cell * m, config.hyper_channels), outputs=cell * m),
        # Outputs: features for every step but the first.
        "magnitude": Layer(weight=(m, (STEPS - 1) * width), outputs=(STEPS - 1) * width),
    }
    for step in range(1, STEPS):
        found[f"depthwise{step}"] = Layer(weight=(3, 3, width), outputs=width, biases=(LEVELS,))
        found[f"head{step}"] = Layer(weight=(m, width), outputs=m, biases=None)
    return found


def layout(config: ModelConfig) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape and dtype of every tensor of the network, by name; weights files put "index." in
    front."""
    found: dict[str, tuple[tuple[int, ...], str]] = {
        "hyper.table": ((LEVELS, config.hyper_channels), "int32"),
        "gain.table": ((LEVELS, config.hyper_channels), "int32"),
        "offset.table": ((LEVELS, config.latent_channels), "int32"),
    }
    for name, layer in layers(config).items():
        found[f"{name}.weight"] = layer.weight, "int8"
        if layer.biases is not None:
            found[f"{name}.bias"] = (*layer.biases, layer.outputs), "int32"
        found[f"{name}.shift"] = (layer.outputs,), "int32"
    return found


class _Scaled:
    """A layer's weight and bias times 2^-shift, so that its rounding shift becomes a floor; the half
    that rounding adds is included in the bias."""

    def __init__(
        self, tensors: Mapping[str, Tensor], name: str, device: torch.device, *, along: int
    ) -> None:
        weight, shift = tensors[f"{name}.weight"], tensors[f"{name}.shift"]
        unit = torch.exp2(-shift.float())
        outputs = [1] * weight.ndim
        outputs[along] = -1
        self.weight = (weight.float() * unit.reshape(outputs)).to(device)
        bias = tensors.get(f"{name}.bias", unit.new_zeros(()))
        self.bias = (bias.float() * unit + 0.5).to(device)


class IndexNetwork:
    """The network of one model. `tensors`: as in `layout`. Levels are 0..63."""

    def __init__(
        self, config: ModelConfig, tensors: Mapping[str, Tensor], device: torch.device
    ) -> None:
        self.channels, self.width = config.latent_channels, config.index_width
        self.hyper_table = tensors["hyper.table"].to(torch.uint8)
        self.gain = tensors["gain.table"].to(device, torch.float64) * 2.0**-GAIN_BITS
        self.offset = tensors["offset.table"].to(device, torch.float32)
        self.map = _Scaled(tensors, "map", device, along=0)
        self.magnitude = _Scaled(tensors, "magnitude", device, along=1)
        self.depthwise = [_Scaled(tensors, f"depthwise{k}", device, along=2) for k in range(1, STEPS)]
        self.head = [_Scaled(tensors, f"head{k}", device, along=0) for k in range(1, STEPS)]
        self.magnitudes = magnitude(torch.arange(SYMBOL_MAX + 1)).to(device)
        cell = (HYPER_CELL, HYPER_CELL, self.channels)
        weight, bias = self.map.weight.view(*cell, -1), self.map.bias.view(cell)
        #: By step and phase: weight and bias of the map's outputs that are coded there.
        self.map_of = [
            [(_of(place, weight).flatten(0, 2), _of(place, bias)) for place in places(step)]
            for step in range(STEPS)
        ]

    def start(self, z: Tensor, level: int, rows: int, columns: int) -> GroupIndices:
        """Begin a batch of groups of `rows` x `columns` positions with the hyper-latents `z` (symbols,
        N x h x w x Z; h and w are rows and columns in cells, rounded up)."""
        units = torch.floor(z.double() * self.gain[level] + 0.5)
        units = units.clamp_(-ACTIVATION_MAX, ACTIVATION_MAX).float()
        return GroupIndices(self, units, level, rows, columns)


def _of(place: Place, x: Tensor) -> Tensor:
    """Select what belongs to `place` from a cell: x is rows x columns x M x ..."""
    return place.positions(x[None])[0][:, :, place.channels(x.shape[2])]


class GroupIndices:
    """Scale indices of a batch of groups, step by step."""

    def __init__(
        self, network: IndexNetwork, units: Tensor, level: int, rows: int, columns: int
    ) -> None:
        self._network, self._units, self._level = network, units, level
        #: Weighted sums of the magnitudes decoded so far, for every step but the first.
        self._seen = units.new_zeros(len(units), rows, columns, (STEPS - 1) * network.width)
        self._padded = units.new_zeros(len(units), rows + 2, columns + 2, network.width)
        self._step = -1

    def next(self) -> Tensor:
        """Begin the next step, once `see` has had all earlier symbols: return the scale indices of what
        it codes, uint8, N x P x M/4."""
        self._step += 1
        context = self._context() if self._step else None
        n, rows, columns, _ = self._seen.shape
        count = self._network.channels // QUARTERS
        index = self._units.new_empty(n, rows * columns, count, dtype=torch.uint8)
        # Place by place, the working set stays in a core's cache.
        for place, part in by_place(index, self._seen, self._step):
            x = self._base(place)[:, : part.shape[1], : part.shape[2]].reshape(-1, count)
            if context is not None:
                weight = self._network.head[self._step - 1].weight[place.channels(QUARTERS * count)]
                x.addmm_(place.positions(context).reshape(-1, self._network.width), weight.T)
            x = x.mul_(2.0**-INDEX_BITS).clamp_(0, SCALES - 1)
            # This conversion is the floor. From float straight to uint8, PyTorch takes twice as long.
            part.copy_(x.to(torch.int16).view(part.shape))
        return index

    def _base(self, place: Place) -> Tensor:
        """Scale indices before context at one phase of all cells, plus the half that rounds them: N x
        rows x columns x M/4."""
        weight, bias = self._network.map_of[self._step][place.phase]
        half = 2 ** (INDEX_BITS - 1)
        offset = self._network.offset[self._level, place.channels(self._network.channels)] + half
        x = F.linear(self._units, weight, (bias + offset).view(-1))
        return depth_to_space(x.floor_().clamp_(half - BASE_MAX, half + BASE_MAX), HYPER_CELL // 2)

    def _context(self) -> Tensor:
        """Return the features that the step's head reads."""
        network, width = self._network, self._network.width
        columns = slice((self._step - 1) * width, self._step * width)
        x = (self._seen[..., columns] + network.magnitude.bias[columns]).floor_()
        torch.clamp(x, -ACTIVATION_MAX, ACTIVATION_MAX, out=self._padded[:, 1:-1, 1:-1])
        _, rows, length, _ = x.shape
        layer = network.depthwise[self._step - 1]
        total = layer.bias[self._level]
        for i in range(3):
            for j in range(3):
                neighbours = self._padded[:, i : i + rows, j : j + length]
                total = torch.addcmul(total, neighbours, layer.weight[i, j], out=x)
        return total.floor_().clamp_(0, ACTIVATION_MAX)

    def see(self, symbols: Tensor) -> None:
        """Add the step's symbols (integers, N x P x M/4) to the context of later steps."""
        later = slice(self._step * self._network.width, None)
        for place, part in by_place(symbols, self._seen, self._step):
            weight = self._network.magnitude.weight[place.channels(self._network.channels), later]
            if part.is_cpu:  # on a GPU, learning how many are left would stall
                part, coded = _without_zeros(part)
                weight = weight[coded]
            size = part.abs().clamp_(max=SYMBOL_MAX).to(torch.int32)
            magnitudes = self._network.magnitudes.index_select(0, size.view(-1)).view(size.shape)
            place.positions(self._seen)[..., later] += magnitudes @ weight


def _without_zeros(symbols: Tensor) -> tuple[Tensor, Tensor]:
    """Drop the channels of N x rows x columns x C that are zero everywhere, as many are; also return
    the numbers of those left."""
    flat = symbols.numpy().reshape(-1, symbols.shape[3])
    coded = np.flatnonzero(flat.any(axis=0))
    left = torch.from_numpy(flat.take(coded, axis=1))  # several times as fast as PyTorch's indexing
    return left.view(*symbols.shape[:3], len(coded)), torch.from_numpy(coded)
