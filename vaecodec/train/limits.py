"""Measure how large the activations of both transforms' blocks get on photographs, and limit them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vaecodec.model.config import LEVELS
from vaecodec.model.transforms import Trunk
from vaecodec.train.model import TrainableCodec

#: Limits are this many times the largest values seen.
MARGIN = 1.5
#: Pictures in one forward pass.
BATCH = 8


def _trunks(model: TrainableCodec) -> list[Trunk]:
    return [module for module in model.transforms.modules() if isinstance(module, Trunk)]


def has_limits(model: TrainableCodec) -> bool:
    """Whether the model's limits have been set."""
    return all(bool(trunk.limits.isfinite().all()) for trunk in _trunks(model))


@torch.no_grad()
def set_limits(model: TrainableCodec, pictures: Tensor) -> None:
    """Set `Trunk.limits` of both transforms from `pictures` (uint8, N x H x W x 3, sides multiples of
    64), coded at levels spread over the whole range."""
    hooks = []
    trunks = _trunks(model)
    peaks = [torch.zeros_like(trunk.limits) for trunk in trunks]
    for trunk, peak in zip(trunks, peaks, strict=True):
        trunk.limits.fill_(torch.inf)
        hooks.append(trunk.register_forward_pre_hook(_recorder(peak[0])))
        for block, row in zip(trunk.blocks, peak[1:], strict=True):
            hooks.append(block.register_forward_hook(_recorder(row)))
    levels = torch.arange(len(pictures), device=pictures.device) * LEVELS // len(pictures)
    for batch, level in zip(pictures.split(BATCH), levels.split(BATCH), strict=True):
        model(batch, level, noise=False)
    for hook in hooks:
        hook.remove()
    for trunk, peak in zip(trunks, peaks, strict=True):
        trunk.limits.copy_(MARGIN * peak)


def _recorder(peak: Tensor) -> Callable[..., None]:
    """Return a hook that raises `peak` (C) to the largest magnitudes of a module's input or output."""

    def hook(module: nn.Module, given: tuple[Tensor, ...], out: Tensor | None = None) -> None:
        x = given[0] if out is None else out
        torch.maximum(peak, x.abs().amax(dim=(0, 1, 2)), out=peak)

    return hook
