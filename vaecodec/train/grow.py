"""A trained model carried over into a larger template: more blocks, more latent channels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaecodec.model.config import LEVELS, SCALE_LOG_STEP, SCALE_MIN, SCALES, ModelConfig
from vaecodec.model.transforms import KNOTS, space_to_depth
from vaecodec.train.model import TrainableCodec, principal_components

#: Where the latent's channels are, and along which axis. In the prior they come in four quarters.
_LATENT_AXES = {
    "transforms.analysis.tail.weight": 0,
    "transforms.analysis.tail.bias": 0,
    "transforms.synthesis.head.weight": 1,
    "transforms.hyper_analysis.head.weight": 1,
    "transforms.whiten": 0,
    "transforms.log_latent_gain.knots": 1,
    "transforms.log_latent_scale.knots": 1,
    "prior.layers.latent_dequantise.knots": 1,
    "prior.layers.mean_quantise.knots": 1,
    "prior.layers.index_offset.knots": 1,
    "prior.layers.adaptor1.weight": 1,
    "prior.layers.adaptor2.weight": 1,
    "prior.layers.adaptor3.weight": 1,
}
_HEAD = ("prior.layers.context_head.weight", "prior.layers.context_head.bias")


def _block_name(name: str, model: TrainableCodec, grown: TrainableCodec) -> str:
    """The name in `grown` of a parameter of `model`: new blocks come at the end of each half of a
    trunk, so that the gain half-way stays where it was."""
    path = name.split(".")
    if "blocks" in path:
        old, new = (len(getattr(m.transforms, path[1]).trunk.blocks) for m in (model, grown))
        if new < old:
            raise ValueError(f"{old} blocks do not fit into {new}")
        index = int(path[4])
        path[4] = str(index + new // 2 - old // 2 if index >= old // 2 else index)
    return ".".join(path)


@torch.no_grad()
def grown(model: TrainableCodec, config: ModelConfig, pictures: Tensor) -> TrainableCodec:
    """A model of `config`, which may have more blocks and latent channels than `model`'s and is
    otherwise alike, that decodes to the same pictures.

    New blocks begin as the identity. New latent channels carry what the old ones miss: the principal
    components of what is left of the features of `pictures` (uint8, N x H x W x 3) after linear
    regression on the old latent. Synthesis and prior do not read them until trained to.
    Raises ValueError or RuntimeError if `config` differs in more than that.
    """
    large = TrainableCodec(config).to(model.transforms.whiten.device)
    weights, old = large.weights(), model.weights()
    m, wide = model.config.latent_channels, config.latent_channels
    if wide < m:
        raise ValueError(f"{m} latent channels do not fit into {wide}")
    kept = torch.arange(wide).reshape(4, -1)[:, : m // 4].reshape(-1)
    new = torch.arange(wide).reshape(4, -1)[:, m // 4 :].T.reshape(-1)  # one quarter after the other
    for name, value in old.items():
        target = weights[_block_name(name, model, large)]
        if name in _LATENT_AXES:
            axis = _LATENT_AXES[name]
            target.index_fill_(axis, new, 0.0)
            if name.startswith("prior.layers.adaptor"):  # its last inputs are not the latent's
                target[:, wide:] = value[:, m:]
                value = value[:, :m]
            target.index_copy_(axis, kept, value)
        elif name in _HEAD:
            target.zero_()
            pieces = target.reshape(4, 2, wide // 4, *target.shape[1:])
            pieces[:, :, : m // 4] = value.reshape(4, 2, m // 4, *value.shape[1:])
        else:
            target.copy_(value)
    if wide > m:
        _start_channels(model, large, new, pictures)
    return large


def _start_channels(
    model: TrainableCodec, large: TrainableCodec, new: Tensor, pictures: Tensor
) -> None:
    """Directions, gains and Gaussians of the channels `new`, whose spectrum continues the old ones'."""
    analysis, t = model.transforms.analysis, large.transforms
    cells = space_to_depth(pictures.float() / 255 - 0.5, 8)

    def features(level: int) -> Tensor:
        levels = torch.full((len(cells),), level, device=cells.device)
        x = analysis.trunk(analysis.head(cells), levels)
        return space_to_depth(x, 2).flatten(0, 2)

    x = features(LEVELS - 1)
    mean = x.mean(dim=0)
    y = analysis.tail(x)
    regression = torch.linalg.lstsq(y - y.mean(dim=0), x - mean).solution.T  # features from latent
    remove = torch.eye(x.shape[1], device=x.device) - regression @ analysis.tail.weight
    _, directions, deviation = principal_components((x - mean) @ remove.T, len(new))
    rows = directions @ remove
    t.analysis.tail.weight[new] = rows
    t.analysis.tail.bias[new] = -(rows @ mean)
    t.whiten[new] = 1 / deviation.clamp(min=1e-6)

    tables = [
        large.prior.table_layer(n) for n in ("latent.dequantise", "mean.quantise", "index.offset")
    ]
    for knot in range(KNOTS):
        level = round(knot * (LEVELS - 1) / (KNOTS - 1))
        x = features(level)
        gain = model.transforms.latent_gain(torch.tensor([level], device=x.device)).flatten()
        smallest = (analysis.tail(x) * gain).std(dim=0).min()
        spread = ((x - mean) @ rows.T).std(dim=0).clamp(min=1e-6)
        log_gain = torch.log(smallest / spread.max())
        log_steps = log_gain + spread.log()
        t.log_latent_gain.knots[knot, new] = log_gain
        t.log_latent_scale.knots[knot, new] = -log_gain
        index = (log_steps - math.log(SCALE_MIN)) / SCALE_LOG_STEP
        for table, row in zip(tables, (-log_steps, log_steps, index.clamp(2, SCALES - 2)), strict=True):
            table.knots[knot, new] = row
