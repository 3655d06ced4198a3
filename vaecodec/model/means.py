"""The means of the latents, in floating point: predictions to which the symbols are added.

No symbol depends on them, only the latent that it stands for: a decoder whose arithmetic rounds
differently gets means that differ in their last bits, but the same symbols.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaecodec.model.config import ModelConfig
from vaecodec.model.quadtree import STEPS, by_place, linear_of_step
from vaecodec.model.transforms import DepthwiseConv3x3, LevelTable, depth_to_space

#: Limit of the decoded latents that means are computed from, which keeps means finite for any file.
LATENT_MAX = 2.0**14


class Means(nn.Module):
    """Hyper-latent (in steps) and decoded latents (in natural units) -> means in natural units.

    Tensors are N x h x w x C; levels are int64, N. Details neither have means nor contribute to those
    of others: only the other M - K channels are read and predicted. Multiplied by `whiten` (M - K),
    these are all about equally large; the weights that read or write them are learned for that scale.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.whiten: Tensor
        m, z = config.latent_channels - config.detail_channels, config.hyper_channels
        width, prior = config.hyper_width, config.prior_width
        self.register_buffer("whiten", torch.ones(m))
        self.log_hyper_scale = LevelTable(z)
        self.up1 = nn.Linear(z, 4 * width)
        self.up1_bias = LevelTable(4 * width)
        self.depthwise1 = DepthwiseConv3x3(width)
        self.mix1 = nn.Linear(width, width)
        self.up2 = nn.Linear(width, 4 * prior)
        self.depthwise2 = DepthwiseConv3x3(prior)
        self.mix2 = nn.Linear(prior, prior)
        # These three have separate rows for every step.
        self.features = nn.Linear(prior, STEPS * prior)
        self.step_bias = LevelTable(STEPS * prior)
        self.context = nn.Linear(m, STEPS * prior, bias=False)
        self.depthwise = DepthwiseConv3x3(prior)
        self.mix = nn.Linear(prior, prior)
        self.head = nn.Linear(prior, m)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def start(self, z: Tensor, level: Tensor, rows: int, columns: int) -> GroupMeans:
        """Begin a batch of groups of `rows` x `columns` positions with the hyper-latents `z` (float, in
        steps, N x h x w x Z; h and w are rows and columns in cells, rounded up)."""
        return GroupMeans(self, self.read(z, level)[:, :rows, :columns])

    def read(self, z: Tensor, level: Tensor) -> Tensor:
        """Return what the context network reads from hyper-latents: N x 4h x 4w x STEPS * P, where P is
        `prior_width`."""
        x = z * torch.exp(self.log_hyper_scale(level))
        x = depth_to_space(F.relu(self.up1(x) + self.up1_bias(level)), 2)
        x = F.relu(self.mix1(self.depthwise1(x)))
        x = depth_to_space(F.relu(self.up2(x)), 2)
        x = x + F.relu(self.mix2(self.depthwise2(x)))
        return self.features(x) + self.step_bias(level)

    def natural_head(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of `head` for outputs in natural units."""
        return self.head.weight / self.whiten[:, None], self.head.bias / self.whiten


class GroupMeans:
    """Means of a batch of groups, step by step."""

    def __init__(self, network: Means, features: Tensor) -> None:
        self._network, self._width = network, network.mix.in_features
        #: Input of the context network in each step: from the hyper-latent and all decoded so far.
        self._read = features
        self._context = network.context.weight * network.whiten
        self._head, self._bias = network.natural_head()
        self._step = -1

    def next(self) -> Tensor:
        """Begin the next step, once `see` has had all earlier values: return the means of what it
        codes, N x P x (M - K)/4."""
        self._step += 1
        network, start = self._network, self._step * self._width
        x = F.relu(self._read[..., start : start + self._width])
        x = x + F.relu(network.mix(network.depthwise(x)))
        return linear_of_step(x, self._head, self._bias, self._step)

    def see(self, values: Tensor) -> None:
        """Add the step's decoded latents (N x P x (M - K)/4) to the context of later steps."""
        later = slice((self._step + 1) * self._width, None)
        for place, part in by_place(values, self._read, self._step):
            weight = self._context[later, place.channels(self._context.shape[1])]
            place.positions(self._read)[..., later] += F.linear(part, weight)
