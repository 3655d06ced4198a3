"""Turn a float checkpoint into a shipped model: integer scale indices, frequency tables, model card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from bitstream.errors import VaeError
from vaecodec.files import write_json, write_whole
from vaecodec.model import indices as exact
from vaecodec.model.config import LEVELS, SCALES
from vaecodec.model.load import LoadedModel
from vaecodec.model.quadtree import STEPS
from vaecodec.model.rounding import TRAINED_WITH
from vaecodec.model.transforms import DepthwiseConv3x3, LevelTable
from vaecodec.quality import TUNES
from vaecodec.train.checkpoints import read_model
from vaecodec.train.commit import commit
from vaecodec.train.curvature import measure_curvature
from vaecodec.train.fitting import Fitting
from vaecodec.train.indices import INDEX_GAIN, TrainableIndices
from vaecodec.train.model import TrainableCodec
from vaecodec.train.ranges import measure_ranges
from vaecodec.train.tables import as_tensors, fitted_tables, gaussian_tables


def _integers(x: Tensor, scale: float, peak: int, dtype: torch.dtype, name: str) -> Tensor:
    rounded = torch.floor(x.double() * scale + 0.5)
    if float(rounded.abs().max()) > peak:
        raise VaeError(f"layer {name} does not fit its integer format; train on with smaller weights")
    return rounded.to(dtype).contiguous()


def _halves(x: Tensor, name: str) -> Tensor:
    """Convert to half precision, which halves the file at negligible cost (docs/experiments.md)."""
    if not x.isfinite().all():  # limits are infinite until a training stage sets them
        raise VaeError(f"layer {name} is not finite; train on, which sets limits, before exporting")
    rounded = x.half().contiguous()
    if not rounded.isfinite().all():
        raise VaeError(f"layer {name} does not fit half precision; train on with smaller weights")
    return rounded


@torch.no_grad()
def integer_indices(network: TrainableIndices) -> dict[str, Tensor]:
    """Convert trained parameters to the tensors of `vaecodec.model.indices.layout`."""
    activation, index = 2**exact.ACTIVATION_BITS, 2**exact.INDEX_BITS
    magnitude, gain = 2**exact.MAGNITUDE_BITS, 2**exact.GAIN_BITS
    read, head = 2**exact.HEAD_BITS, index * INDEX_GAIN
    gains = network.log_gain.table().exp().clamp(max=exact.GAIN_MAX / (activation * gain))
    hyper = network.hyper_table.table().clamp(0, SCALES - 1)
    limit = exact.OFFSET_MAX / index
    offset = network.offset.table().clamp(-limit, limit)
    out = {
        "hyper.table": _integers(hyper, 1, SCALES - 1, torch.int32, "hyper"),
        "gain.table": _integers(gains, activation * gain, exact.GAIN_MAX, torch.int32, "gain"),
        "offset.table": _integers(offset, index, exact.OFFSET_MAX, torch.int32, "offset"),
        **_layer("map", network.map.weight, network.map.bias, head / activation, head),
        **_layer(
            "magnitude",
            network.magnitude.weight,
            network.magnitude.bias,
            activation / magnitude,
            activation,
        ),
    }
    out["magnitude.weight"] = out["magnitude.weight"].T.contiguous()
    for step in range(1, STEPS):
        depthwise = cast(DepthwiseConv3x3, network.depthwise[step - 1])
        taps = depthwise.weight[:, 0].flatten(1)
        bias = depthwise.bias + cast(LevelTable, network.bias[step - 1]).table()
        name = f"depthwise{step}"
        out |= _layer(name, taps, bias, read / activation, read)
        out[f"{name}.weight"] = out[f"{name}.weight"].T.reshape(3, 3, -1).contiguous()
        weight = cast(nn.Linear, network.head[step - 1]).weight
        out |= _layer(f"head{step}", weight, None, head / read)
    return out


def _layer(
    name: str, weight: Tensor, bias: Tensor | None, weight_unit: float, bias_unit: float = 1.0
) -> dict[str, Tensor]:
    """Round a layer to integers. `weight`: outputs x inputs; `bias`: outputs, or levels x outputs;
    `weight_unit` and `bias_unit` convert them to the integer units of outputs and inputs.

    Every output gets as many fractional bits as its largest weight and bias leave room for.
    """
    weight = weight.double() * weight_unit
    peaks = weight.abs().amax(dim=1) / exact.WEIGHT_MAX
    if bias is not None:
        bias = bias.double() * bias_unit
        peaks = torch.maximum(peaks, bias.abs().reshape(-1, len(weight)).amax(dim=0) / exact.BIAS_MAX)
    shift = (-peaks.clamp(min=2.0**-exact.SHIFT_MAX).log2()).floor()
    if shift.min() < 1:
        raise VaeError(f"layer {name} does not fit its integer format; train on with smaller weights")
    scale = torch.exp2(shift)
    out = {
        f"{name}.weight": _integers(weight * scale[:, None], 1, exact.WEIGHT_MAX, torch.int8, name),
        f"{name}.shift": shift.to(torch.int32),
    }
    if bias is not None:
        out[f"{name}.bias"] = _integers(bias * scale, 1, exact.BIAS_MAX, torch.int32, name)
    return out


def read_checkpoint(path: Path) -> tuple[TrainableCodec, dict[str, Any]]:
    """Like `read_model`, but the record always has a valid tune. Raises VaeError."""
    model, about = read_model(path)
    about = {"tune": "psnr", **about}  # the only tune when records had none
    if about["tune"] not in TUNES:
        raise VaeError(f"{path}: its tune {about['tune']!r} is none of {', '.join(TUNES)}")
    return model, about


def build_model(
    checkpoint: Path, pictures: Sequence[np.ndarray], fitting: Fitting
) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes of the model's `.safetensors` file and its training record, with its tune.

    `pictures`: uint8 H x W x 3, sides multiples of 64, on which frequency tables and ranges are
    measured; curvature is measured on the first `fitting.probes` of them. Raises VaeError if
    `checkpoint` is not a checkpoint, or its weights do not fit their formats.
    """
    model, about = read_checkpoint(checkpoint)
    tune, config = about["tune"], model.config
    tensors = {
        **{f"transforms.{k}": _halves(v, k) for k, v in model.transforms.state_dict().items()},
        **{f"means.{k}": _halves(v, k) for k, v in model.means.state_dict().items()},
        **{f"index.{k}": v for k, v in integer_indices(model.indices).items()},
        **as_tensors(gaussian_tables()),
        # Placeholders: measured below, with the model itself.
        "encoder.curvature": torch.ones(LEVELS, config.latent_channels),
        "encoder.ranges": torch.ones(LEVELS, config.latent_channels),
        "encoder.distortion": torch.ones(LEVELS),
        "encoder.error_bits": TRAINED_WITH[tune].by_level(),
    }
    loaded = LoadedModel(config, tune, tensors, torch.device("cpu"))
    tensors |= as_tensors(fitted_tables(loaded, pictures, fitting.levels))
    tensors |= measure_ranges(loaded, pictures, fitting.levels)
    tensors["encoder.curvature"] = measure_curvature(loaded, pictures[: fitting.probes], fitting.levels)
    metadata = {"config": json.dumps(config.to_dict()), "tune": tune}
    return save(tensors, metadata), about


def export(checkpoint: Path, out: Path, pictures: Sequence[np.ndarray], fitting: Fitting) -> Path:
    """Write the model, and its card (`OUT.json`) beside it; return the model's path.

    `out`: ends in .safetensors. `pictures`, `fitting`, errors: see `build_model`.
    """
    data, about = build_model(checkpoint, pictures, fitting)
    digest = hashlib.sha256(data).hexdigest()
    card = {"name": out.stem, "id": digest[:8], "sha256": digest, "git_commit": commit(), **about}
    write_whole(out, data, force=True)
    write_json(out.with_suffix(".json"), card)
    return out
