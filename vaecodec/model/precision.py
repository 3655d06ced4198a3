"""Computing the blocks of the transforms in bfloat16, where the hardware multiplies faster in it.

Nothing else is computed in it: scale indices are exact, and means should agree everywhere, up to their
last bits. Decoders then differ by less than docs/format.md allows.
"""

from __future__ import annotations

import torch
from torch import nn

from vaecodec.model.transforms import Trunk


def multiplies_in_bfloat16(device: torch.device) -> bool:
    """Whether matrix products are faster in bfloat16 than in float32. On a CPU without instructions for
    it they take ten times as long; GPUs before Ampere have none."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.cpu._is_avx512_bf16_supported()


def set_mixed_precision(network: nn.Module, enabled: bool) -> None:
    """Make the blocks of all trunks of `network` compute in bfloat16 around a float32 residual path, or
    entirely in float32."""
    for module in network.modules():
        if isinstance(module, Trunk):
            module.mixed_precision = enabled
