"""The prior: hyper-latent and already coded latents -> mean and scale index of every next value.

The graph is written once, over an `Arithmetic`: training runs it in floating point, the codec in
exact integers (`vaecodec.model.integer`). Layer names and shapes come from `prior_layers`, which is
also what the exporter and the weights loader walk through.

Four steps, a quadtree over spatial phase and channel quarter (DCVC-RT, 2025): a position's phase is
2 * (row mod 2) + (column mod 2), and step k codes channel quarter `phase XOR STEP_XOR[k]` at every
position, conditioned on everything the earlier steps coded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vaecodec.model.config import ModelConfig
from vaecodec.model.transforms import depth_to_space

STEPS = 4
#: Diagonal neighbours first: after two steps every quarter is a filled checkerboard.
STEP_XOR = (0, 3, 1, 2)


@dataclass(frozen=True, kw_only=True)
class LinearSpec:
    """1x1 convolution; `per_level` gives every quality level a bias of its own."""

    name: str
    inputs: int
    outputs: int
    per_level: bool = False


@dataclass(frozen=True, kw_only=True)
class DepthwiseSpec:
    """3x3 depthwise convolution, zero padding."""

    name: str
    channels: int


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """A value per level and channel: a positive multiplier, or an offset to a scale index."""

    name: str
    channels: int
    kind: str  # "gain" or "offset"


LayerSpec = LinearSpec | DepthwiseSpec | TableSpec


def prior_layers(config: ModelConfig) -> list[LayerSpec]:
    """All layers of the prior of `config`, in order of use."""
    m, z = config.latent_channels, config.hyper_channels
    width, prior = config.hyper_width, config.prior_width
    return [
        TableSpec(name="hyper.index", channels=z, kind="offset"),
        TableSpec(name="hyper.dequantise", channels=z, kind="gain"),
        LinearSpec(name="hyper.up1", inputs=z, outputs=4 * width, per_level=True),
        DepthwiseSpec(name="hyper.depthwise1", channels=width),
        LinearSpec(name="hyper.mix1", inputs=width, outputs=width),
        LinearSpec(name="hyper.up2", inputs=width, outputs=4 * prior),
        DepthwiseSpec(name="hyper.depthwise2", channels=prior),
        LinearSpec(name="hyper.mix2", inputs=prior, outputs=prior),
        *(
            LinearSpec(
                name=f"adaptor{k}", inputs=prior + (m if k else 0), outputs=prior, per_level=True
            )
            for k in range(STEPS)
        ),
        DepthwiseSpec(name="context.depthwise", channels=prior),
        LinearSpec(name="context.mix", inputs=prior, outputs=prior),
        # Rows: for each channel quarter its means, then its scale indices.
        LinearSpec(name="context.head", inputs=prior, outputs=2 * m),
        TableSpec(name="latent.dequantise", channels=m, kind="gain"),
        TableSpec(name="mean.quantise", channels=m, kind="gain"),
        TableSpec(name="index.offset", channels=m, kind="offset"),
    ]


class Arithmetic(Protocol):
    """What the graph needs: activations are N x H x W x C in the implementation's own units."""

    def dequantise(self, name: str, steps: Tensor, table: Tensor) -> Tensor:
        """Values in quantisation steps -> activation, multiplied by rows of a gain table."""

    def linear(self, name: str, x: Tensor, level: Tensor | None = None, relu: bool = True) -> Tensor:
        """1x1 convolution, requantised, rectified if `relu`, saturated."""

    def head(self, name: str, x: Tensor, quarters: list[int]) -> Tensor:
        """Phases x N x h x w x C -> the same with C = M/2, phase p using the rows of `quarters[p]`."""

    def depthwise(self, name: str, x: Tensor) -> Tensor:
        """3x3 depthwise convolution, requantised and saturated."""

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """Saturated sum."""

    def mean(self, x: Tensor, gain: Tensor) -> Tensor:
        """Activation -> mean in quantisation steps."""

    def index(self, x: Tensor, offset: Tensor) -> Tensor:
        """Activation -> scale index (0..63)."""

    def table(self, name: str, level: Tensor) -> Tensor:
        """Rows of a table for `level` (N): N x channels."""


def split_phases(x: Tensor) -> Tensor:
    """N x H x W x C -> 4 x N x H/2 x W/2 x C, by spatial phase."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // 2, 2, w // 2, 2, c).permute(2, 4, 0, 1, 3, 5)
    return x.reshape(4, n, h // 2, w // 2, c)


def split_quarters(x: Tensor) -> Tensor:
    """N x H x W x M -> 4 phases x 4 quarters x N x H/2 x W/2 x M/4."""
    x = split_phases(x)
    return x.reshape(*x.shape[:4], 4, x.shape[4] // 4).permute(0, 4, 1, 2, 3, 5)


def merge_quarters(x: Tensor) -> Tensor:
    """Inverse of `split_quarters`."""
    _, _, n, h, w, c = x.shape
    x = x.reshape(2, 2, 4, n, h, w, c).permute(3, 4, 0, 5, 1, 2, 6)
    return x.reshape(n, 2 * h, 2 * w, 4 * c)


def step_quarters(step: int) -> list[int]:
    """The channel quarter that each of the four phases codes in `step`."""
    return [phase ^ STEP_XOR[step] for phase in range(4)]


class Prior:
    """The graph, bound to an arithmetic and to the levels of the N items of a batch.

    Use: `Prior(arithmetic, z, level)`, then for k in 0..3 `parameters(k)` and `update(k, steps)`.
    `z`: N x h/4 x w/4 x Z symbols; all step tensors are 4 (phases) x N x h/2 x w/2 x M/4. Positions
    where `mask` (1 x h x w x 1) is zero are not coded; the context sees zeros there.
    """

    def __init__(
        self, arithmetic: Arithmetic, z: Tensor, level: Tensor, mask: Tensor | None = None
    ) -> None:
        self._arithmetic = a = arithmetic
        self._level = level
        x = a.dequantise("hyper.dequantise", z, a.table("hyper.dequantise", level)[:, None, None])
        x = depth_to_space(a.linear("hyper.up1", x, level), 2)
        x = a.linear("hyper.mix1", a.depthwise("hyper.depthwise1", x))
        x = depth_to_space(a.linear("hyper.up2", x), 2)
        self._features = a.add(x, a.linear("hyper.mix2", a.depthwise("hyper.depthwise2", x)))
        self._gains = self._quarter_rows("latent.dequantise")
        self._mean_gains = self._quarter_rows("mean.quantise")
        self._offsets = self._quarter_rows("index.offset")
        n, h, w, _ = x.shape
        self._context = x.new_zeros(4, 4, n, h // 2, w // 2, self._gains.shape[-1])
        self._mask = None if mask is None else split_phases(mask.to(x.dtype))

    def _quarter_rows(self, name: str) -> Tensor:
        """Table rows of this batch: 4 quarters x N x 1 x 1 x M/4."""
        rows = self._arithmetic.table(name, self._level)
        return rows.reshape(len(rows), 4, -1).permute(1, 0, 2)[:, :, None, None]

    def parameters(self, step: int) -> tuple[Tensor, Tensor]:
        """Mean and scale index of the values of `step`."""
        a, quarters = self._arithmetic, step_quarters(step)
        x = self._features
        if step:
            x = torch.cat((merge_quarters(self._context), x), dim=-1)
        x = a.linear(f"adaptor{step}", x, self._level)
        x = a.add(x, a.linear("context.mix", a.depthwise("context.depthwise", x)))
        mean, scale = a.head("context.head", split_phases(x), quarters).chunk(2, dim=-1)
        return a.mean(mean, self._mean_gains[quarters]), a.index(scale, self._offsets[quarters])

    def update(self, step: int, steps: Tensor) -> None:
        """Add the reconstructed values of `step`, in quantisation steps, to the context."""
        quarters = step_quarters(step)
        x = self._arithmetic.dequantise("latent.dequantise", steps, self._gains[quarters])
        if self._mask is not None:
            x = x * self._mask
        phases = torch.arange(4, device=x.device)
        self._context = self._context.index_put((phases, torch.tensor(quarters, device=x.device)), x)
