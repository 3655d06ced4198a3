"""The model in training: floating point throughout."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaecodec.model.config import (
    LEVELS,
    SCALE_LOG_STEP,
    SCALE_MIN,
    SCALES,
    ModelConfig,
    level_lambda,
)
from vaecodec.model.means import Means
from vaecodec.model.quadtree import QUARTERS, STEPS
from vaecodec.model.rounding import TRAINED_WITH, bits_saved, by_channel, rounded
from vaecodec.model.transforms import (
    KNOTS,
    Transforms,
    Trunk,
    depth_to_space,
    space_to_depth,
    with_details,
    without_details,
)
from vaecodec.quality import DEFAULT_TUNE
from vaecodec.train.entropy_models import GaussianConditional, quantize_ste
from vaecodec.train.indices import TrainableIndices
from vaecodec.train.means import TrainableMeans
from vaecodec.train.steps import from_steps, quarters, to_steps
from vaecodec.train.tables import SKIP, gaussian_tables


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Results for each picture of a batch: bits per pixel (in all, and of the hyper-latent), and the
    decoded picture (float, N x H x W x 3, around 0..1, neither limited nor rounded)."""

    bpp: Tensor
    hyper_bpp: Tensor
    picture: Tensor


class TrainableCodec(nn.Module):
    """Transforms, means and scale indices in one module. `tune`: for which latents are rounded."""

    def __init__(self, config: ModelConfig, tune: str = DEFAULT_TUNE) -> None:
        super().__init__()
        self.config = config
        self.transforms = Transforms(config)
        self.means = Means(config)
        self.indices = TrainableIndices(config)
        self.gaussian = GaussianConditional(None, scale_bound=SCALE_MIN)
        self.skip = SKIP  # scale indices below this code nothing, and zero is decoded
        self.saved: Tensor
        self.error_bits: Tensor
        self.register_buffer("saved", bits_saved(gaussian_tables()), persistent=False)
        self.register_buffer("error_bits", torch.empty(2), persistent=False)
        self.set_tune(tune)

    def set_tune(self, tune: str) -> None:
        """Round latents as for `tune` from now on."""
        self.error_bits.copy_(TRAINED_WITH[tune].by_level()[0])

    def weights(self) -> dict[str, Tensor]:
        """What defines the model: all parameters, the whitening fixed at initialisation, and limits."""
        fixed = {f"transforms.{name}": value for name, value in self.transforms.state_dict().items()}
        fixed["means.whiten"] = self.means.whiten
        return {**fixed, **dict(self.named_parameters())}

    @torch.no_grad()
    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Copy in `weights` (as from `weights()`). Raises KeyError or RuntimeError if one is missing or
        misshapen."""
        for name, value in self.weights().items():
            value.copy_(weights[name])

    def _bits(self, residual: Tensor, index: Tensor, noise: bool) -> Tensor:
        scales = SCALE_MIN * torch.exp(index.float() * SCALE_LOG_STEP)
        _, likelihood = self.gaussian(residual.float(), scales, training=noise)
        return -torch.log2(likelihood)

    def forward(self, picture: Tensor, level: Tensor, noise: bool = True) -> Outcome:
        """Code `picture` (uint8, N x H x W x 3, sides multiples of 64) at `level` (int64, N).

        Latents are rounded as an encoder rounds them (straight-through gradients). With `noise`, the
        gradient of the rate with respect to them is that with additive uniform noise instead (Balle et
        al., 2018), and so is the whole rate of hyper-latents.
        """
        t = self.transforms
        x = picture.float() / 255 - 0.5
        pixels = picture.shape[1] * picture.shape[2]
        natural = t.latent(x, level)
        z = t.hyper_latent(natural, level)
        z_bits = self._bits(z, self.indices.hyper(level).expand_as(z), noise)
        z_bpp = z_bits.sum(dim=(1, 2, 3)) / pixels

        y = to_steps(natural * t.latent_gain(level))
        scales = t.latent_scale(level)
        z = quantize_ste(z)
        indices, means = self.indices.start(z, level), TrainableMeans(self.means, z, level)
        bits = by_channel(self.error_bits, self.config.latent_channels, t.details)
        bits = bits[: len(bits) // QUARTERS]  # the same in every quarter
        residuals, rounded_to, found, decoded = [], [], [], []
        for step in range(STEPS):
            scale = quarters(scales, step)
            mean = F.pad(means.next(), (0, t.details // QUARTERS))
            residual = y[step] - mean / scale
            index = indices.next()
            with torch.no_grad():
                symbols = rounded(residual, index.round().to(torch.int32), bits, self.saved, self.skip)
            values = (residual + (symbols - residual).detach()) * scale + mean
            residuals.append(residual)
            rounded_to.append(symbols)
            found.append(index)
            decoded.append(values)
            if step < STEPS - 1:
                indices.see(symbols)
                means.see(values[..., : values.shape[-1] - t.details // QUARTERS])
        index = torch.stack(found)
        rate = self._bits(torch.stack(rounded_to), index, False)
        if noise:
            relaxed = self._bits(torch.stack(residuals), index.detach(), True)
            rate = rate + (relaxed - relaxed.detach())
        bpp = rate.sum(dim=(0, 1, 3, 4, 5)) / pixels
        decoded_picture = t.synthesis(from_steps(decoded), level).float() + 0.5
        return Outcome(bpp=bpp + z_bpp, hyper_bpp=z_bpp, picture=decoded_picture)


def deepened(model: TrainableCodec, config: ModelConfig) -> TrainableCodec:
    """Return a model that computes the same function with the blocks of `config`, which may be more.

    New blocks begin as the identity, at the end of each half of a trunk, so that the gain half-way
    stays in place. Raises ValueError or RuntimeError if `config` differs in anything else.
    """
    deep = TrainableCodec(config)
    deep.error_bits.copy_(model.error_bits)
    weights = deep.weights()
    for name, value in model.weights().items():
        path = name.split(".")
        if "blocks" in path or path[-1] == "limits":
            trunks = (m.get_submodule(".".join(path[:3])) for m in (model, deep))
            old, new = (len(cast(Trunk, trunk).blocks) for trunk in trunks)
            if new < old:
                raise ValueError(f"{old} blocks do not fit into {new}")
        if path[-1] == "limits":
            first, second = value[: old // 2 + 1], value[old // 2 + 1 :]
            more = (new // 2 - old // 2, (new - new // 2) - (old - old // 2))
            value = torch.cat(
                (first, first[-1:].expand(more[0], -1), second, value[-1:].expand(more[1], -1))
            )
        elif "blocks" in path:
            index = int(path[4])
            path[4] = str(index + new // 2 - old // 2 if index >= old // 2 else index)
        weights[".".join(path)] = value
    deep.load_weights(weights)
    return deep


def log_lambda(level: Tensor) -> Tensor:
    """log lambda for a tensor of levels."""
    low, high = math.log(level_lambda(0)), math.log(level_lambda(LEVELS - 1))
    return low + (high - low) * level.float() / (LEVELS - 1)


def _principal_components(rows: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean, the top `count` components (count x dim) and their standard deviations."""
    mean = rows.mean(dim=0)
    covariance = torch.cov(rows.T.double())
    values, vectors = torch.linalg.eigh(covariance)
    top = torch.arange(len(values) - 1, len(values) - 1 - count, -1)
    return mean, vectors[:, top].T.float(), values[top].clamp(min=0).sqrt().float()


def _over_quarters(
    mean: Tensor, components: Tensor, deviation: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Deal components to the four channel quarters in turn, so that all carry about as much."""
    order = torch.arange(len(deviation)).reshape(-1, 4).T.reshape(-1)
    return mean, components[order], deviation[order]


@torch.no_grad()
def initialise_from_pictures(model: TrainableCodec, pictures: Tensor) -> None:
    """Initialise the transforms as a two-level PCA of 16 x 16 patches and a PCA of its residual (the
    details), the gains as the steps that are optimal at high resolution, and the prior as the matching
    Gaussians.

    `pictures`: uint8, N x H x W x 3. The untrained decoder is the exact transpose of the encoder, so
    training starts from a working transform codec. At the first level, both use as many components as
    the narrower of the two has channels.
    """
    config, t = model.config, model.transforms
    m = config.latent_channels
    c = min(config.channels, config.synthesis_channels)
    x = pictures.cpu().float() / 255 - 0.5
    cells = space_to_depth(x, 8)
    mean, first, _ = _principal_components(cells.reshape(-1, 192), c)
    coarse = space_to_depth((cells - mean) @ first.T, 2)
    mean2, second, deviation = _over_quarters(
        *_principal_components(coarse.reshape(-1, 4 * c), m - config.detail_channels)
    )
    kept = (coarse - mean2) @ second.T @ second + mean2
    left = x - depth_to_space(depth_to_space(kept, 2) @ first + mean, 8)
    _, third, spread = _over_quarters(
        *_principal_components(space_to_depth(left, 16).reshape(-1, 768), config.detail_channels)
    )
    deviation = with_details(deviation, spread).clamp(min=1e-3)
    for layer in (t.analysis.head, t.analysis.tail, t.synthesis.head, t.synthesis.tail):
        layer.weight.zero_()
        layer.bias.zero_()
    t.analysis.head.weight[:c].copy_(first)
    t.analysis.head.bias[:c].copy_(-(first @ mean))
    t.analysis.tail.weight.unflatten(1, (4, -1))[..., :c].copy_(second.unflatten(1, (4, -1)))
    t.analysis.tail.bias.copy_(-(second @ mean2))
    t.synthesis.head.weight.unflatten(0, (4, -1))[:, :c].copy_(second.T.unflatten(0, (4, -1)))
    t.synthesis.head.bias.unflatten(0, (4, -1))[:, :c].copy_(mean2.unflatten(0, (4, -1)))
    t.synthesis.tail.weight[:, :c].copy_(first.T)
    t.synthesis.tail.bias.copy_(mean)
    # Coarse features: the largest components, scaled to unit variance.
    largest = without_details(deviation, config.detail_channels).argsort(descending=True)
    largest = largest[: config.coarse_channels]
    t.synthesis.coarse_head.weight.zero_()
    t.synthesis.coarse_head.weight[torch.arange(len(largest)), largest] = (
        1 / without_details(deviation, config.detail_channels)[largest]
    )
    t.synthesis.coarse_head.bias.zero_()
    # These components are orthogonal to the span of the others, so details are linear in the picture.
    t.analysis.shortcut.weight.copy_(third)
    t.analysis.shortcut.bias.zero_()
    # Rows: 2 x 2 positions at 1/8, each of 8 x 8 pixels.
    t.synthesis.shortcut.weight.copy_(
        space_to_depth(depth_to_space(third.reshape(-1, 1, 1, 768), 16), 8).flatten(1).T
    )
    t.whiten.copy_(1 / deviation)

    level = torch.linspace(0, LEVELS - 1, KNOTS)
    log_gain = (math.log(255) - 0.5 * (math.log(12 * 2.16) - log_lambda(level)))[:, None]
    t.log_latent_gain.knots.copy_(log_gain.expand(-1, m))
    t.log_latent_scale.knots.copy_(-log_gain.expand(-1, m))
    log_steps = log_gain + deviation.log()  # log of each channel's standard deviation in steps
    model.means.whiten.copy_(without_details(t.whiten, config.detail_channels))
    index = (log_steps - math.log(SCALE_MIN)) / SCALE_LOG_STEP
    model.indices.offset.knots.copy_(index.clamp(2, SCALES - 2))
    model.indices.hyper_table.knots.fill_(-math.log(SCALE_MIN) / SCALE_LOG_STEP)
