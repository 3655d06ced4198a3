"""From a float checkpoint to a shipped model: integer prior, frequency tables, model card."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from bitstream.entropy import TOTAL_BITS
from bitstream.errors import VaeError
from vaecodec.model import fixed_point as fp
from vaecodec.model.config import LEVELS, SCALE_LOG_STEP, SCALE_MIN, SCALES, SIZES, ModelConfig
from vaecodec.model.prior import LinearSpec, TableSpec, prior_layers
from vaecodec.train.loop import read_checkpoint
from vaecodec.train.model import FloatArithmetic, TrainableCodec

#: Scale indices below this are not coded: a symbol there is zero but once in thousands.
SKIP = 4
#: Tables reach this many standard deviations; beyond, escapes.
SUPPORT_DEVIATIONS = 4.5


def gaussian_tables() -> tuple[np.ndarray, np.ndarray]:
    """Supports (SCALES,) and flat frequencies of zero-mean Gaussians integrated over unit steps."""
    supports, tables = [], []
    for s in range(SCALES):
        deviation = SCALE_MIN * math.exp(s * SCALE_LOG_STEP)
        support = max(1, math.ceil(SUPPORT_DEVIATIONS * deviation))
        edges = [(k - 0.5) / deviation / math.sqrt(2) for k in range(-support, support + 2)]
        pmf = [0.5 * (math.erf(b) - math.erf(a)) for a, b in pairwise(edges)]
        pmf.append(max(0.0, 1 - sum(pmf)))
        free = 2**TOTAL_BITS - len(pmf)
        table = np.array([1 + int(p * free) for p in pmf], dtype=np.int64)
        table[support] += 2**TOTAL_BITS - table.sum()
        supports.append(support)
        tables.append(table)
    return np.array(supports), np.concatenate(tables)


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
        # A bias beyond the activations' range saturates all the same.
        reach = 2 * fp.ACTIVATION_MAX / 2**fp.ACTIVATION_BITS
        bias = bias.clamp(-reach, reach)
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


def build_model(checkpoint: Path) -> tuple[bytes, dict[str, object]]:
    """The bytes of the model's `.safetensors` file, and the record of its training."""
    weights, about = read_checkpoint(checkpoint)
    config = SIZES[str(about["size"])]
    model = TrainableCodec(config)
    model.load_weights(weights)
    supports, frequencies = gaussian_tables()
    tensors = {
        **{f"transforms.{k}": v.contiguous() for k, v in model.transforms.state_dict().items()},
        **{f"prior.{k}": v for k, v in integer_prior(config, model.prior).items()},
        "entropy.supports": torch.from_numpy(supports).to(torch.int32),
        "entropy.frequencies": torch.from_numpy(frequencies).to(torch.int32),
        "entropy.skip": torch.tensor(SKIP, dtype=torch.int32),
    }
    return save(tensors, {"config": json.dumps(config.to_dict()), "levels": str(LEVELS)}), about


def export(checkpoint: Path, out: Path) -> Path:
    """Write the model and its card (`OUT.json`) beside it; return the model's path.

    `out`: ends in .safetensors. Raises VaeError if the checkpoint is not one.
    """
    data, about = build_model(checkpoint)
    digest = hashlib.sha256(data).hexdigest()
    card = {"name": out.stem, "id": digest[:8], "sha256": digest, "git_commit": _commit(), **about}
    for path, content in ((out, data), (out.with_suffix(".json"), _card_bytes(card))):
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(content)
        os.replace(partial, path)
    return out


def _card_bytes(card: dict[str, object]) -> bytes:
    return (json.dumps(card, indent=1) + "\n").encode()


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
