"""The scale-index network in training: floating point, with its integers simulated on request."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaecodec.geometry import HYPER_CELL
from vaecodec.model import indices as exact
from vaecodec.model.config import SCALES, ModelConfig
from vaecodec.model.quadtree import STEPS
from vaecodec.model.transforms import DepthwiseConv3x3, LevelTable, depth_to_space
from vaecodec.train.entropy_models import LowerBound
from vaecodec.train.steps import Context, linear, quarters, to_phases, to_steps

#: Layers compute scale indices divided by this, so that their outputs stay of order one.
INDEX_GAIN = 8


def round_to(x: Tensor, bits: int) -> Tensor:
    """Round to a multiple of 2^-bits, with a straight-through gradient."""
    scale = float(2**bits)
    return x + (torch.floor(x * scale + 0.5) / scale - x).detach()


class TrainableIndices(nn.Module):
    """The network of `vaecodec.model.indices`, with what a step codes laid out as in
    `vaecodec.train.steps`.

    With `fake_quantise`, activations are rounded to their units and indices to whole numbers, as with
    integers. Activations saturate at ACTIVATION_MAX units. Weights are rounded at export only.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        m, z, width = config.latent_channels, config.hyper_channels, config.index_width
        self.fake_quantise = False
        self.hyper_table = LevelTable(z)
        self.log_gain = LevelTable(z)
        self.offset = LevelTable(m)
        self.map = nn.Linear(z, HYPER_CELL**2 * m)
        self.magnitude = nn.Linear(m, (STEPS - 1) * width)
        self.depthwise = nn.ModuleList(DepthwiseConv3x3(width) for _ in range(1, STEPS))
        self.bias = nn.ModuleList(LevelTable(width) for _ in range(1, STEPS))
        self.head = nn.ModuleList(nn.Linear(width, m, bias=False) for _ in range(1, STEPS))
        # Silent at first: coding starts from one Gaussian per level and channel.
        nn.init.zeros_(self.map.bias)
        for layer in (self.map, *self.head):
            nn.init.zeros_(cast(nn.Linear, layer).weight)
        self.floor = LowerBound(0.0)

    def activation(self, x: Tensor, bits: int = exact.ACTIVATION_BITS) -> Tensor:
        """Limit activations in units of 2^-`bits`."""
        largest = exact.ACTIVATION_MAX / 2**bits
        x = F.hardtanh(x, -largest, largest)
        return round_to(x, bits) if self.fake_quantise else x

    def bounded(self, x: Tensor) -> Tensor:
        """Limit scale indices to their range."""
        x = F.hardtanh(self.floor(x), -math.inf, SCALES - 1)
        return round_to(x, 0) if self.fake_quantise else x

    def hyper(self, level: Tensor) -> Tensor:
        """Scale indices of the hyper-latent, the same at every position: N x 1 x 1 x Z."""
        return self.bounded(self.hyper_table(level))

    def start(self, z: Tensor, level: Tensor) -> TrainableGroupIndices:
        """Start from the hyper-latents `z` (symbols, float, N x h x w x Z)."""
        x = self.map(self.activation(z * torch.exp(self.log_gain(level))))
        base = INDEX_GAIN * depth_to_space(x, HYPER_CELL) + self.offset(level)
        return TrainableGroupIndices(self, base, level)


class TrainableGroupIndices:
    """Scale indices of a batch, step by step, laid out as in `vaecodec.train.steps`."""

    def __init__(self, network: TrainableIndices, base: Tensor, level: Tensor) -> None:
        self._network, self._base, self._level = network, to_steps(base), level
        self._context = Context(network.magnitude.weight)
        self._bias = network.magnitude.bias.chunk(STEPS - 1)
        self._step = -1

    def next(self) -> Tensor:
        self._step += 1
        network, x = self._network, self._base[self._step]
        if self._step:
            before = self._step - 1
            seen = network.activation(self._context.of(self._step) + self._bias[before])
            seen = network.depthwise[before](seen) + network.bias[before](self._level)
            seen = to_phases(network.activation(F.relu(seen), exact.HEAD_BITS))
            head = cast(nn.Linear, network.head[before])
            x = x + INDEX_GAIN * linear(seen, quarters(head.weight, self._step, dim=0))
        return network.bounded(x)

    def see(self, symbols: Tensor) -> None:
        """Take in the step's symbols; no gradient flows into them."""
        magnitudes = exact.magnitude(symbols.detach()) / 2**exact.MAGNITUDE_BITS
        self._context.see(magnitudes, self._step)
