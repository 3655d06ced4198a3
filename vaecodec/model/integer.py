"""The prior's arithmetic in the codec: integers, held in float64 tensors.

Every product and partial sum is a multiple of a power of two and below 2^53 of those units, hence
exact in any order of summation: on any device, with any number of threads, for any batch. Nothing
here may be replaced by a direct convolution (Winograd and FFT variants round) or run below float64.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vaecodec.model import fixed_point as fp
from vaecodec.model.config import LEVELS, SCALES, ModelConfig
from vaecodec.model.prior import DepthwiseSpec, LinearSpec, TableSpec, prior_layers


def _requantise(x: Tensor, low: float, high: float) -> Tensor:
    """Round down (the half is already added) and saturate, in place."""
    return x.floor_().clamp_(low, high)


class IntegerArithmetic:
    """`vaecodec.model.prior.Arithmetic` on integers, for one quality level at a time.

    `tensors`: the weights file's "prior.*" entries (int16 weights, int32 biases and tables, int32
    shifts). Levels are int64 tensors of shape (1,): all items of a batch share one.
    """

    def __init__(self, config: ModelConfig, tensors: dict[str, Tensor], device: torch.device) -> None:
        self._weights: dict[str, Tensor] = {}
        self._biases: dict[str, Tensor] = {}
        self._tables: dict[str, Tensor] = {}
        for spec in prior_layers(config):
            if isinstance(spec, TableSpec):
                self._tables[spec.name] = tensors[f"{spec.name}.table"].to(device, torch.float64)
                continue
            # Scaling by 2^-shift keeps every value exact and turns the requantising shift into a
            # floor; the rounding half rides along in the bias.
            unit = 2.0 ** -int(tensors[f"{spec.name}.shift"])
            weight = tensors[f"{spec.name}.weight"].to(device, torch.float64) * unit
            bias = tensors[f"{spec.name}.bias"].to(device, torch.float64) * unit + 0.5
            self._weights[spec.name], self._biases[spec.name] = weight.contiguous(), bias

    def dequantise(self, name: str, steps: Tensor, table: Tensor) -> Tensor:
        x = (steps * table).mul_(2.0**-fp.GAIN_BITS).add_(0.5)
        return _requantise(x, -fp.ACTIVATION_MAX, fp.ACTIVATION_MAX)

    def linear(self, name: str, x: Tensor, level: Tensor | None = None, relu: bool = True) -> Tensor:
        bias = self._biases[name]
        y = F.linear(x, self._weights[name], bias if level is None else bias[level[0]])
        return _requantise(y, 0 if relu else -fp.ACTIVATION_MAX, fp.ACTIVATION_MAX)

    def head(self, name: str, x: Tensor, quarters: list[int]) -> Tensor:
        weight = self._weights[name].reshape(4, -1, x.shape[-1])[quarters]
        bias = self._biases[name].reshape(4, 1, -1)[quarters]
        y = torch.baddbmm(bias, x.flatten(1, 3), weight.transpose(1, 2))
        return _requantise(y, -fp.ACTIVATION_MAX, fp.ACTIVATION_MAX).reshape(*x.shape[:4], -1)

    def depthwise(self, name: str, x: Tensor) -> Tensor:
        _, h, w, _ = x.shape
        padded, weight = F.pad(x, (0, 0, 1, 1, 1, 1)), self._weights[name]
        y = self._biases[name].expand_as(x).clone()
        for i in range(3):
            for j in range(3):
                y.addcmul_(padded[:, i : i + h, j : j + w], weight[i, j])
        return _requantise(y, -fp.ACTIVATION_MAX, fp.ACTIVATION_MAX)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return (x + y).clamp_(-fp.ACTIVATION_MAX, fp.ACTIVATION_MAX)

    def mean(self, x: Tensor, gain: Tensor) -> Tensor:
        x = (x * gain).mul_(2.0**-fp.GAIN_BITS).add_(0.5)
        return _requantise(x, -fp.STEP_MAX, fp.STEP_MAX)

    def index(self, x: Tensor, offset: Tensor) -> Tensor:
        x = (x * fp.INDEX_GAIN + offset).mul_(2.0**-fp.ACTIVATION_BITS).add_(0.5)
        return _requantise(x, 0, SCALES - 1)

    def table(self, name: str, level: Tensor) -> Tensor:
        return self._tables[name][level]


def integer_layout(config: ModelConfig) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Shape and dtype of every integer tensor that the prior of `config` needs."""
    layout: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
    for spec in prior_layers(config):
        if isinstance(spec, TableSpec):
            layout[f"{spec.name}.table"] = (LEVELS, spec.channels), torch.int32
            continue
        if isinstance(spec, LinearSpec):
            bias = (LEVELS, spec.outputs) if spec.per_level else (spec.outputs,)
            layout[f"{spec.name}.weight"] = (spec.outputs, spec.inputs), torch.int16
        elif isinstance(spec, DepthwiseSpec):
            bias = (spec.channels,)
            layout[f"{spec.name}.weight"] = (3, 3, spec.channels), torch.int16
        layout[f"{spec.name}.bias"] = bias, torch.int32
        layout[f"{spec.name}.shift"] = (), torch.int32
    return layout
