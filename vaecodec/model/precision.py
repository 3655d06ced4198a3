"""The blocks of the transforms in bfloat16, where hardware multiplies faster in it.

Nothing else is: scale indices are exact, and a mean should be the same wherever it is computed, to the
last bits. What decoders then differ by is less than what they may (docs/format.md).
"""

from __future__ import annotations

import torch
from torch import nn

from vaecodec.model.transforms import Trunk


def multiplies_in_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster than in float32: on a CPU without instructions
    for it they take ten times as long, and GPUs before Ampere have none."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.cpu._is_avx512_bf16_supported()


def set_mixed_precision(network: nn.Module, enabled: bool) -> None:
    """Compute the blocks of all trunks of `network` in bfloat16, around a float32 residual path, or all
    in float32."""
    for module in network.modules():
        if isinstance(module, Trunk):
            module.mixed_precision = enabled
