"""The model as it is trained: floating point throughout, the integer prior simulated on request."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaecodec.model import fixed_point as fp
from vaecodec.model.config import (
    LEVELS,
    SCALE_LOG_STEP,
    SCALE_MIN,
    SCALES,
    ModelConfig,
    level_lambda,
)
from vaecodec.model.prior import (
    STEPS,
    DepthwiseSpec,
    LinearSpec,
    Prior,
    TableSpec,
    merge_quarters,
    prior_layers,
    split_quarters,
    step_quarters,
)
from vaecodec.model.transforms import (
    KNOTS,
    LevelTable,
    Transforms,
    Trunk,
    depth_to_space,
    space_to_depth,
    with_details,
)
from vaecodec.train.entropy_models import GaussianConditional, LowerBound, quantize_ste

_SATURATION = fp.ACTIVATION_MAX / 2**fp.ACTIVATION_BITS


def _round_to(x: Tensor, bits: int) -> Tensor:
    """Round to a multiple of 2^-bits, straight-through gradient."""
    scale = float(2**bits)
    return x + (torch.floor(x * scale + 0.5) / scale - x).detach()


class FloatArithmetic(nn.Module):
    """Floating-point `vaecodec.model.prior.Arithmetic`, holding the prior's trainable parameters.

    With `fake_quantise`, activations and means are rounded as the integer arithmetic rounds them
    (straight-through gradients). Weights keep 15 significant bits and are rounded at export only.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.fake_quantise = False
        self.layers = nn.ModuleDict()
        self.kinds: dict[str, str] = {}
        for spec in prior_layers(config):
            key = spec.name.replace(".", "_")
            if isinstance(spec, TableSpec):
                self.layers[key] = LevelTable(spec.channels)
                self.kinds[spec.name] = spec.kind
            elif isinstance(spec, LinearSpec):
                self.layers[key] = nn.Linear(spec.inputs, spec.outputs)
                if spec.per_level:
                    self.layers[key + "_level"] = LevelTable(spec.outputs)
            elif isinstance(spec, DepthwiseSpec):
                weight = torch.empty(3, 3, spec.channels).uniform_(-1 / 3, 1 / 3)
                self.layers[key] = nn.ParameterDict(
                    {"weight": weight, "bias": torch.zeros(spec.channels)}
                )
        # A silent head: coding starts from one Gaussian per level and channel.
        head = self.linear_layer("context.head")
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        self.index_floor = LowerBound(0.0)

    def _activation(self, x: Tensor, relu: bool = False) -> Tensor:
        x = x.clamp(0.0 if relu else -_SATURATION, _SATURATION)
        return _round_to(x, fp.ACTIVATION_BITS) if self.fake_quantise else x

    def linear_layer(self, name: str) -> nn.Linear:
        layer = self.layers[name.replace(".", "_")]
        assert isinstance(layer, nn.Linear)
        return layer

    def depthwise_layer(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight (3 x 3 x C) and bias (C)."""
        layer = self.layers[name.replace(".", "_")]
        assert isinstance(layer, nn.ParameterDict)
        return layer["weight"], layer["bias"]

    def table_layer(self, name: str) -> LevelTable:
        layer = self.layers[name.replace(".", "_")]
        assert isinstance(layer, LevelTable)
        return layer

    def dequantise(self, name: str, steps: Tensor, table: Tensor) -> Tensor:
        return self._activation(steps * table)

    def linear(self, name: str, x: Tensor, level: Tensor | None = None, relu: bool = True) -> Tensor:
        x = self.linear_layer(name)(x)
        if level is not None:
            x = x + self.table_layer(name + "_level")(level)
        return self._activation(x, relu)

    def head(self, name: str, x: Tensor, quarters: list[int]) -> Tensor:
        layer = self.linear_layer(name)
        weight = layer.weight.reshape(4, -1, x.shape[-1])[quarters]
        bias = layer.bias.reshape(4, 1, -1)[quarters]
        y = torch.baddbmm(bias, x.flatten(1, 3), weight.transpose(1, 2))
        return self._activation(y.reshape(*x.shape[:4], -1))

    def depthwise(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.depthwise_layer(name)
        kernels = weight.permute(2, 0, 1)[:, None]
        y = F.conv2d(x.permute(0, 3, 1, 2), kernels, bias, padding=1, groups=x.shape[3])
        return self._activation(y.permute(0, 2, 3, 1))

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return self._activation(x + y)

    def mean(self, x: Tensor, gain: Tensor) -> Tensor:
        x = x * gain
        return _round_to(x, fp.STEP_BITS) if self.fake_quantise else x

    def index(self, x: Tensor, offset: Tensor) -> Tensor:
        return self.bound_index(x * fp.INDEX_GAIN + offset)

    def bound_index(self, x: Tensor) -> Tensor:
        x = self.index_floor(x).clamp(max=SCALES - 1)
        return _round_to(x, 0) if self.fake_quantise else x

    def table(self, name: str, level: Tensor) -> Tensor:
        rows = self.table_layer(name)(level)[:, 0, 0]
        return torch.exp(rows) if self.kinds[name] == "gain" else rows


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Per-sample results: bits per pixel (in all, and of the hyper-latent), and the decoded picture
    (float, N x H x W x 3, around 0..1, neither limited nor rounded)."""

    bpp: Tensor
    hyper_bpp: Tensor
    picture: Tensor


class TrainableCodec(nn.Module):
    """Transforms and float prior in one module."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.transforms = Transforms(config)
        self.prior = FloatArithmetic(config)
        self.gaussian = GaussianConditional(None, scale_bound=SCALE_MIN)

    def weights(self) -> dict[str, Tensor]:
        """What defines the model: all parameters, the whitening fixed at initialisation, and limits."""
        fixed = {f"transforms.{name}": value for name, value in self.transforms.state_dict().items()}
        return {**fixed, **dict(self.named_parameters())}

    @torch.no_grad()
    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Copy `weights` (as from `weights()`) in; a missing or misshapen one raises KeyError or
        RuntimeError."""
        for name, value in self.weights().items():
            value.copy_(weights[name])

    def mixed_precision(self, enabled: bool) -> None:
        """Compute the blocks of both transforms in bfloat16 (or stop doing so)."""
        for module in self.transforms.modules():
            if isinstance(module, Trunk):
                module.mixed_precision = enabled

    def _bits(self, residual: Tensor, index: Tensor, noise: bool) -> Tensor:
        scales = SCALE_MIN * torch.exp(index.float() * SCALE_LOG_STEP)
        _, likelihood = self.gaussian(residual.float(), scales, training=noise)
        return -torch.log2(likelihood)

    def forward(self, picture: Tensor, level: Tensor, noise: bool = True) -> Outcome:
        """Code `picture` (uint8, N x H x W x 3, sides multiples of 64) at `level` (int64, N).

        With `noise`, the rate is that of the latent under additive uniform noise (Balle et al.,
        2018); the distortion always sees rounded values (straight-through gradients).
        """
        t = self.transforms
        x = picture.float() / 255 - 0.5
        pixels = picture.shape[1] * picture.shape[2]
        natural = t.latent(x, level)
        z = t.hyper_latent(natural, level)
        z_index = self.prior.bound_index(self.prior.table("hyper.index", level))[:, None, None]
        z_bits = self._bits(z, z_index.expand_as(z), noise)
        z_bpp = z_bits.sum(dim=(1, 2, 3)) / pixels

        prior = Prior(self.prior, quantize_ste(z), level)
        y = natural * t.latent_gain(level)
        parts = split_quarters(y)
        phases = torch.arange(4, device=y.device)
        decoded = torch.zeros_like(parts)
        residuals, indices = [], []
        for step in range(STEPS):
            quarters = torch.tensor(step_quarters(step), device=y.device)
            mean, index = prior.parameters(step)
            residual = parts[phases, quarters] - mean
            steps = quantize_ste(residual) + mean
            if step < STEPS - 1:
                prior.update(step, steps)
            decoded = decoded.index_put((phases, quarters), steps)
            residuals.append(residual)
            indices.append(index)
        bits = self._bits(torch.stack(residuals), torch.stack(indices), noise)
        bpp = bits.sum(dim=(0, 1, 3, 4, 5)) / pixels
        decoded_picture = t.picture(merge_quarters(decoded), level).float() + 0.5
        return Outcome(bpp=bpp + z_bpp, hyper_bpp=z_bpp, picture=decoded_picture)


def deepened(model: TrainableCodec, config: ModelConfig) -> TrainableCodec:
    """The same function with the blocks of `config`, which may be more; all else is the same.

    New blocks begin as the identity, at the end of each half of a trunk: the gain half-way stays where
    it was. Raises ValueError or RuntimeError if `config` differs in more than that.
    """
    deep = TrainableCodec(config)
    weights = deep.weights()
    for name, value in model.weights().items():
        path = name.split(".")
        if path[-1] == "limits":  # every stage sets them anew
            continue
        if "blocks" in path:
            old, new = (len(getattr(m.transforms, path[1]).trunk.blocks) for m in (model, deep))
            if new < old:
                raise ValueError(f"{old} blocks do not fit into {new}")
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
    """Mean, top `count` components (count x dim) and their standard deviations."""
    mean = rows.mean(dim=0)
    covariance = torch.cov(rows.T.double())
    values, vectors = torch.linalg.eigh(covariance)
    top = torch.arange(len(values) - 1, len(values) - 1 - count, -1)
    return mean, vectors[:, top].T.float(), values[top].clamp(min=0).sqrt().float()


def _over_quarters(
    mean: Tensor, components: Tensor, deviation: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Components given to the four channel quarters in turn, so that all carry as much."""
    order = torch.arange(len(deviation)).reshape(-1, 4).T.reshape(-1)
    return mean, components[order], deviation[order]


@torch.no_grad()
def initialise_from_pictures(model: TrainableCodec, pictures: Tensor) -> None:
    """Start the transforms as a two-level PCA of 16 x 16 patches and one of what it leaves (the
    details), the gains as the high-resolution-optimal steps, and the prior as the matching Gaussians.

    `pictures`: uint8, N x H x W x 3. The decoder of the untrained model is the exact transpose of
    its encoder, so training starts from a working transform codec.
    """
    config, t = model.config, model.transforms
    c, m = config.channels, config.latent_channels
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
    t.analysis.head.weight.copy_(first)
    t.analysis.head.bias.copy_(-(first @ mean))
    t.analysis.tail.weight.copy_(second)
    t.analysis.tail.bias.copy_(-(second @ mean2))
    unread = second.new_zeros(4 * c, config.detail_channels)
    t.synthesis.head.weight.copy_(with_details(second.T, unread))
    t.synthesis.head.bias.copy_(mean2)
    t.synthesis.tail.weight.copy_(first.T)
    t.synthesis.tail.bias.copy_(mean)
    # These components are orthogonal to all that the others span: details are linear in the picture.
    if t.analysis.shortcut is not None and t.synthesis.shortcut is not None:
        t.analysis.shortcut.weight.copy_(third)
        t.analysis.shortcut.bias.zero_()
        t.synthesis.shortcut.weight.copy_(third.T)
    t.whiten.copy_(1 / deviation)

    level = torch.linspace(0, LEVELS - 1, KNOTS)
    log_gain = (math.log(255) - 0.5 * (math.log(12 * 2.16) - log_lambda(level)))[:, None]
    t.log_latent_gain.knots.copy_(log_gain.expand(-1, m))
    t.log_latent_scale.knots.copy_(-log_gain.expand(-1, m))
    log_steps = log_gain + deviation.log()  # standard deviation of each channel, in steps
    model.prior.table_layer("latent.dequantise").knots.copy_(-log_steps)
    model.prior.table_layer("mean.quantise").knots.copy_(log_steps)
    index = (log_steps - math.log(SCALE_MIN)) / SCALE_LOG_STEP
    model.prior.table_layer("index.offset").knots.copy_(index.clamp(2, SCALES - 2))
    model.prior.table_layer("hyper.index").knots.fill_(-math.log(SCALE_MIN) / SCALE_LOG_STEP)
