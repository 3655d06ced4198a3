"""Analysis, synthesis and hyper-analysis transforms (floating point).

Tensors are N x H x W x C (channels last), so that every 1x1 convolution is one matrix product and its
weight a plain matrix. Only the encoder runs the analysis transforms, and only the picture depends on
the synthesis transform, so none of them has to be exact across devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaecodec.model.config import LEVELS, ModelConfig

KNOTS = 16


def space_to_depth(x: Tensor, factor: int) -> Tensor:
    """N x H x W x C -> N x H/f x W/f x f*f*C, where the offset inside a cell varies slowest."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // factor, factor, w // factor, factor, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(n, h // factor, w // factor, factor * factor * c)


def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """Inverse of `space_to_depth`."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, factor, factor, c // (factor * factor))
    return x.permute(0, 1, 3, 2, 4, 5).reshape(n, h * factor, w * factor, -1)


def with_details(latent: Tensor, details: Tensor) -> Tensor:
    """Merge ... x M-K and the details ... x K into ... x M: every quarter of the channels ends with a
    quarter of the details, so that the prior's steps share them evenly."""
    return torch.cat((latent.unflatten(-1, (4, -1)), details.unflatten(-1, (4, -1))), -1).flatten(-2)


def details_of(latent: Tensor, count: int) -> Tensor:
    """Select the `count` details of a latent: ... x M -> ... x K."""
    return latent.unflatten(-1, (4, -1))[..., (latent.shape[-1] - count) // 4 :].flatten(-2)


def without_details(latent: Tensor, count: int) -> Tensor:
    """Select all but the `count` details of a latent: ... x M -> ... x M-K."""
    return latent.unflatten(-1, (4, -1))[..., : (latent.shape[-1] - count) // 4].flatten(-2)


def repeated(level: int, count: int, device: torch.device) -> Tensor:
    """Repeat `level` for each of `count` items: int64, N."""
    return torch.full((count,), level, device=device)


class LevelTable(nn.Module):
    """A vector per quality level, interpolated linearly between `KNOTS` learned ones.

    Having fewer knots than levels keeps neighbouring levels consistent and gives each parameter a
    gradient in every batch.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hat: Tensor
        self.knots = nn.Parameter(torch.zeros(KNOTS, channels))
        position = torch.linspace(0, KNOTS - 1, LEVELS)
        hat = (1 - (position[:, None] - torch.arange(KNOTS)).abs()).clamp(min=0)
        self.register_buffer("hat", hat, persistent=False)

    def table(self) -> Tensor:
        """Vectors of all levels: LEVELS x channels."""
        return self.hat @ self.knots

    def forward(self, level: Tensor) -> Tensor:
        """Rows for `level` (int64, N), shaped N x 1 x 1 x channels to broadcast over positions."""
        return (self.hat[level] @ self.knots)[:, None, None, :]


class DepthwiseConv3x3(nn.Module):
    """3x3 convolution of each channel by itself, with zero padding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 1, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.uniform_(self.weight, -1 / 3, 1 / 3)

    def forward(self, x: Tensor) -> Tensor:
        # The permuted view of an NHWC tensor is exactly PyTorch's channels_last layout.
        y = F.conv2d(x.permute(0, 3, 1, 2), self.weight, self.bias, padding=1, groups=x.shape[3])
        return y.permute(0, 2, 3, 1)


class Block(nn.Module):
    """Depthwise-separable residual block with a gated channel mixer (after DCVC-RT, 2025).

    The last layer of each residual branch starts at zero, so a new block is the identity. Each branch
    has a gain per quality level and channel: high rates want less of a branch than low ones.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = nn.Linear(channels, channels)
        self.depthwise = DepthwiseConv3x3(channels)
        self.project = nn.Linear(channels, channels)
        self.gate = nn.Linear(channels, 2 * channels)
        self.mix = nn.Linear(channels, channels)
        self.gains = LevelTable(2 * channels)
        nn.init.ones_(self.gains.knots)
        for last in (self.project, self.mix):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, gains: Tensor, _: None = None) -> Tensor:
        first, second = gains.chunk(2, dim=-1)
        hidden = F.leaky_relu(self.expand(x), 0.1, inplace=True)
        x = _plus(x, first, self.project(self.depthwise(hidden)))
        return _plus(x, second, self.mix(F.glu(self.gate(x))))


class LeanBlock(nn.Module):
    """A gated channel mixer that reads 3x3 positions: three fifths of a `Block`'s multiplications."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv3x3(channels)
        self.gate = nn.Linear(channels, 2 * channels)
        self.mix = nn.Linear(channels, channels)
        self.gains = LevelTable(channels)
        _start_as_identity(self)

    def forward(self, x: Tensor, gains: Tensor, _: None = None) -> Tensor:
        return _plus(x, gains, self.mix(F.glu(self.gate(self.depthwise(x)))))


class ModulatedBlock(nn.Module):
    """A residual block whose hidden layer is multiplied by a function of `coarse` features at half the
    resolution, the same for 2 x 2 positions.

    Otherwise it is linear: a wide neighbourhood chooses the filter for the near one. A gate of its own
    adds nothing (docs/experiments.md).
    """

    def __init__(self, channels: int, coarse: int) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv3x3(channels)
        self.expand = nn.Linear(channels, channels)
        self.modulation = nn.Linear(coarse, channels)
        self.mix = nn.Linear(channels, channels)
        self.gains = LevelTable(channels)
        _start_as_identity(self)
        nn.init.zeros_(self.modulation.weight)
        nn.init.ones_(self.modulation.bias)

    def forward(self, x: Tensor, gains: Tensor, coarse: Tensor) -> Tensor:
        n, h, w, _ = coarse.shape
        hidden = self.expand(self.depthwise(x)).view(n, h, 2, w, 2, -1)
        modulation = self.modulation(coarse)
        if torch.is_grad_enabled():
            # Expand one axis at a time: the gradient of both at once would be a slow sum.
            rows = modulation[:, :, None].expand(-1, -1, 2, -1, -1)
            hidden = hidden * rows[:, :, :, :, None]
        else:
            hidden.mul_(modulation[:, :, None, :, None])
        return _plus(x, gains, self.mix(hidden.view(x.shape)))


def _plus(x: Tensor, gains: Tensor, branch: Tensor) -> Tensor:
    """x + gains * branch; in place unless gradients are needed, since allocating memory takes as long
    as the sum."""
    branch = branch.to(x.dtype)
    if torch.is_grad_enabled():
        return torch.addcmul(x, gains, branch)
    return x.addcmul_(gains, branch)


def _limited(x: Tensor, limit: Tensor) -> Tensor:
    """Limit x (N x H x W x C) to -limit..limit (C); in place unless gradients are needed."""
    return x.clamp(-limit, limit) if torch.is_grad_enabled() else x.clamp_(-limit, limit)


def _start_as_identity(block: LeanBlock | ModulatedBlock) -> None:
    """Initialise gains to one, and the residual branch to read a position and a little of its
    neighbours, but to add nothing yet."""
    nn.init.normal_(block.depthwise.weight, std=0.05)
    with torch.no_grad():
        block.depthwise.weight[:, 0, 1, 1] += 1
    nn.init.ones_(block.gains.knots)
    nn.init.zeros_(block.mix.weight)
    nn.init.zeros_(block.mix.bias)


AnyBlock = Block | LeanBlock | ModulatedBlock


class Trunk(nn.Module):
    """Blocks in sequence, each reading the `coarse` features at the same place, if there are any.

    With `middle_gain`, a gain per quality level and channel is applied half-way.

    `limits` ((blocks + 1) x C) bound the input of the first block and the output of each: a little
    beyond the largest values that photographs reach, so that nothing grows without bound, whatever the
    picture or file.

    With `mixed_precision`, the blocks compute in bfloat16 around a float32 residual path; the layers
    that carry the latent itself, before and after the trunk, stay in float32.
    """

    def __init__(
        self,
        channels: int,
        blocks: Sequence[AnyBlock],
        *,
        middle_gain: bool = False,
    ) -> None:
        super().__init__()
        self.limits: Tensor
        self.mixed_precision = False
        self.blocks = nn.ModuleList(blocks)
        self.log_gain = LevelTable(channels) if middle_gain else None
        self.register_buffer("limits", torch.full((len(blocks) + 1, channels), torch.inf))

    def forward(
        self, x: Tensor, level: Tensor, coarse: Tensor | None = None, shifts: Sequence[Tensor] = ()
    ) -> Tensor:
        """`shifts`: what is added to each block's gains, if anything."""
        blocks = cast("list[AnyBlock]", self.blocks)
        gains = [block.gains(level) for block in blocks]
        if shifts:
            gains = [own + shift for own, shift in zip(gains, shifts, strict=True)]
        middle = None if self.log_gain is None else torch.exp(self.log_gain(level))
        first, *limits = self.limits
        x = _limited(x, first)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.mixed_precision):
            for i, (block, gain, limit) in enumerate(zip(blocks, gains, limits, strict=True)):
                if middle is not None and i == len(blocks) // 2:
                    x = x * middle
                x = _limited(block(x, gain, coarse), limit)
        return x


class Analysis(nn.Module):
    """Analysis transform: picture -> latent.

    The details, K of its M channels, are linear in 16 x 16 pixels. They carry what high rates need and
    the trunk, C channels wide, has no room for.

    `forward(picture, level)`: float N x H x W x 3 in -0.5..0.5, H and W multiples of 16 -> float
    N x H/16 x W/16 x M, before the quantisation gain.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        details = config.detail_channels
        self.head = nn.Linear(192, config.channels)
        blocks = [Block(config.channels) for _ in range(config.analysis_blocks)]
        self.trunk = Trunk(config.channels, blocks, middle_gain=True)
        self.tail = nn.Linear(4 * config.channels, config.latent_channels - details)
        self.shortcut = nn.Linear(768, details)

    def forward(self, picture: Tensor, level: Tensor) -> Tensor:
        x = self.trunk(self.head(space_to_depth(picture, 8)), level)
        latent = self.tail(space_to_depth(x, 2))
        return with_details(latent, self.shortcut(space_to_depth(picture, 16)))


class Synthesis(nn.Module):
    """Synthesis transform: decoded latent -> picture.

    A trunk of C' channels at 1/8 resolution, all of whose blocks are modulated by C'' features at 1/16,
    which a trunk of their own computes from the latent. A linear function of the details, which neither
    trunk reads, is added to its output of 8 x 8 pixels per position.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.details = details = config.detail_channels
        inputs, coarse = config.latent_channels - details, config.coarse_channels
        channels = config.synthesis_channels
        self.coarse_head = nn.Linear(inputs, coarse)
        self.coarse = Trunk(coarse, [LeanBlock(coarse) for _ in range(config.coarse_blocks)])
        self.head = nn.Linear(inputs, 4 * channels)
        blocks = [ModulatedBlock(channels, coarse) for _ in range(config.synthesis_blocks)]
        self.trunk = Trunk(channels, blocks)
        self.tail = nn.Linear(channels, 192)
        self.shortcut = nn.Linear(details, 768, bias=False)

    def forward(self, latent: Tensor, level: Tensor) -> Tensor:
        """Float N x h x w x M -> float N x 16h x 16w x 3, in about -0.5..0.5."""
        main = without_details(latent, self.details)
        coarse = self.coarse(self.coarse_head(main), level)
        x = self.trunk(depth_to_space(self.head(main), 2), level, coarse)
        details = self.shortcut(details_of(latent, self.details))
        return depth_to_space(self.tail(x) + depth_to_space(details, 2), 8)


class HyperAnalysis(nn.Module):
    """Hyper-analysis transform: latent at 1/16 -> hyper-latent at 1/64.

    `forward(latent, level)`: float N x h x w x M with h and w multiples of 4 -> N x h/4 x w/4 x Z.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.hyper_width
        self.head = nn.Linear(config.latent_channels, width)
        self.level_bias = LevelTable(width)
        self.depthwise = DepthwiseConv3x3(width)
        self.down1 = nn.Linear(4 * width, 2 * width)
        self.down2 = nn.Linear(8 * width, 2 * width)
        self.tail = nn.Linear(2 * width, config.hyper_channels)

    def forward(self, latent: Tensor, level: Tensor) -> Tensor:
        x = F.leaky_relu(self.head(latent) + self.level_bias(level), 0.1)
        x = F.leaky_relu(self.down1(space_to_depth(self.depthwise(x), 2)), 0.1)
        return self.tail(F.leaky_relu(self.down2(space_to_depth(x, 2)), 0.1))


class Transforms(nn.Module):
    """The three transforms and their per-level gains.

    `latent_gain` turns a latent into quantisation steps, and `latent_scale` turns steps into what means
    and synthesis read; the hyper-latent has only a gain, since each of its readers has its own scale.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.whiten: Tensor
        m = config.latent_channels
        self.details = config.detail_channels
        self.analysis = Analysis(config)
        self.synthesis = Synthesis(config)
        self.hyper_analysis = HyperAnalysis(config)
        self.log_latent_gain = LevelTable(m)
        self.log_latent_scale = LevelTable(m)
        self.log_hyper_gain = LevelTable(config.hyper_channels)
        self.register_buffer("whiten", torch.ones(m))

    def latent(self, picture: Tensor, level: Tensor) -> Tensor:
        """Picture -> latent in natural units (before the gain)."""
        return self.analysis(picture, level)

    def latent_gain(self, level: Tensor) -> Tensor:
        return torch.exp(self.log_latent_gain(level))

    def latent_scale(self, level: Tensor) -> Tensor:
        return torch.exp(self.log_latent_scale(level))

    def hyper_latent(self, latent: Tensor, level: Tensor) -> Tensor:
        """Latent in natural units -> unrounded hyper-latent in quantisation steps."""
        z = self.hyper_analysis(latent * self.whiten, level)
        return z * torch.exp(self.log_hyper_gain(level))
