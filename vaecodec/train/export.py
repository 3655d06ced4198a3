"""From a float checkpoint to a shipped model: integer prior, frequency tables, model card."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from bitstream.errors import VaeError
from vaecodec.files import write_whole
from vaecodec.model import fixed_point as fp
from vaecodec.model.config import LEVELS, SCALES, ModelConfig
from vaecodec.model.load import LoadedModel
from vaecodec.model.prior import LinearSpec, TableSpec, prior_layers
from vaecodec.quality import TUNES
from vaecodec.train.curvature import measure_curvature
from vaecodec.train.fitting import Fitting
from vaecodec.train.loop import read_model
from vaecodec.train.model import FloatArithmetic, TrainableCodec
from vaecodec.train.ranges import measure_ranges
from vaecodec.train.tables import as_tensors, fitted_tables, gaussian_tables


def weight_bits(weight: Tensor) -> int:
    """Fractional bits of a layer's 16-bit weights: as many as its largest weight leaves room for."""
    peak = float(weight.abs().max())
    if peak == 0:
        return fp.WEIGHT_MAX_BITS
    return max(0, min(fp.WEIGHT_MAX_BITS, math.floor(math.log2(fp.WEIGHT_MAX / peak))))


def _integers(x: Tensor, scale: float, peak: int, dtype: torch.dtype, name: str) -> Tensor:
    rounded = torch.floor(x.double() * scale + 0.5)
    if float(rounded.abs().max()) > peak:
        raise VaeError(f"layer {name} does not fit its integer format; train on with smaller weights")
    return rounded.to(dtype).contiguous()


def _halves(x: Tensor, name: str) -> Tensor:
    """In half precision, which halves the file and costs nothing to speak of (docs/experiments.md)."""
    if not x.isfinite().all():  # as limits are until a training stage sets them
        raise VaeError(f"layer {name} is not finite; train on, which sets limits, before exporting")
    rounded = x.half().contiguous()
    if not rounded.isfinite().all():
        raise VaeError(f"layer {name} does not fit half precision; train on with smaller weights")
    return rounded


@torch.no_grad()
def integer_prior(config: ModelConfig, prior: FloatArithmetic) -> dict[str, Tensor]:
    """The integer tensors of `vaecodec.model.integer.integer_layout`, from trained parameters."""
    out: dict[str, Tensor] = {}
    for spec in prior_layers(config):
        name = spec.name
        weight: Tensor
        bias: Tensor
        if isinstance(spec, TableSpec):
            out[f"{name}.table"] = _integer_table(name, prior.table_layer(name).table())
            continue
        if isinstance(spec, LinearSpec):
            weight, bias = prior.linear_layer(name).weight, prior.linear_layer(name).bias
            if spec.per_level:
                bias = bias + prior.table_layer(f"{name}_level").table()
        else:
            weight, bias = prior.depthwise_layer(name)
        bits = weight_bits(weight)
        out[f"{name}.weight"] = _integers(weight, 2**bits, fp.WEIGHT_MAX, torch.int16, name)
        bias_scale = 2.0 ** (bits + fp.ACTIVATION_BITS)
        while bias_scale * float(bias.abs().max()) > 2**31 - 1:
            bits -= 1
            bias_scale /= 2
            out[f"{name}.weight"] = _integers(weight, 2**bits, fp.WEIGHT_MAX, torch.int16, name)
        out[f"{name}.bias"] = _integers(bias, bias_scale, 2**31 - 1, torch.int32, name)
        out[f"{name}.shift"] = torch.tensor(bits, dtype=torch.int32)
    return out


def _integer_table(name: str, table: Tensor) -> Tensor:
    activation, step, gain = 2**fp.ACTIVATION_BITS, 2**fp.STEP_BITS, 2**fp.GAIN_BITS
    if name == "hyper.index":
        return _integers(table.clamp(0, SCALES - 1), 1, SCALES - 1, torch.int32, name)
    if name == "index.offset":
        return _integers(table, activation, 2**30, torch.int32, name)
    scale = {
        "hyper.dequantise": activation * gain,
        "latent.dequantise": activation * gain / step,
        "mean.quantise": step * gain / activation,
    }[name]
    return _integers(table.exp().clamp(max=fp.GAIN_MAX / scale), scale, fp.GAIN_MAX, torch.int32, name)


def read_checkpoint(path: Path) -> tuple[TrainableCodec, dict[str, Any]]:
    """What `read_model` does, with the tune in the record. Raises VaeError."""
    model, about = read_model(path)
    about = {"tune": "psnr", **about}  # all there was when records had no tune
    if about["tune"] not in TUNES:
        raise VaeError(f"{path}: its tune {about['tune']!r} is none of {', '.join(TUNES)}")
    return model, about


def build_model(
    checkpoint: Path, pictures: Sequence[np.ndarray], fitting: Fitting
) -> tuple[bytes, dict[str, Any]]:
    """The bytes of the model's `.safetensors` file, and the record of its training, with its tune.

    `pictures`: uint8 H x W x 3 with sides a multiple of 64, to fit the frequency tables to; curvature
    is measured on the first `fitting.probes` of them. Raises VaeError if the checkpoint is not one, or
    its weights do not fit their formats.
    """
    model, about = read_checkpoint(checkpoint)
    tune, config = about["tune"], model.config
    tensors = {
        **{f"transforms.{k}": _halves(v, k) for k, v in model.transforms.state_dict().items()},
        **{f"prior.{k}": v for k, v in integer_prior(config, model.prior).items()},
        **as_tensors(gaussian_tables()),
        # Measured below, with the model itself.
        "encoder.curvature": torch.ones(LEVELS, config.latent_channels),
        "encoder.ranges": torch.ones(LEVELS, config.latent_channels),
        "encoder.distortion": torch.ones(LEVELS),
    }
    loaded = LoadedModel(config, tune, tensors, torch.device("cpu"))
    tensors |= as_tensors(fitted_tables(loaded, pictures, fitting.levels))
    tensors |= measure_ranges(loaded, pictures, fitting.levels)
    tensors["encoder.curvature"] = measure_curvature(loaded, pictures[: fitting.probes], fitting.levels)
    metadata = {"config": json.dumps(config.to_dict()), "tune": tune}
    return save(tensors, metadata), about


def export(checkpoint: Path, out: Path, pictures: Sequence[np.ndarray], fitting: Fitting) -> Path:
    """Write the model and its card (`OUT.json`) beside it; return the model's path.

    `out`: ends in .safetensors. `pictures`, `fitting`: see `build_model`. Raises VaeError if the
    checkpoint is not one.
    """
    data, about = build_model(checkpoint, pictures, fitting)
    digest = hashlib.sha256(data).hexdigest()
    card = {"name": out.stem, "id": digest[:8], "sha256": digest, "git_commit": _commit(), **about}
    write_whole(out, data, force=True)
    write_whole(out.with_suffix(".json"), (json.dumps(card, indent=1) + "\n").encode(), force=True)
    return out


def _commit() -> str | None:
    """The commit of the training code, where it runs from a git checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
