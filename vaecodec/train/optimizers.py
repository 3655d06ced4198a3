"""The optimizer: Muon for most matrices, Adam for all else."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vaecodec.model.precision import multiplies_in_bfloat16

#: Matrices left to Adam: orthogonalising these few would take most of Muon's time.
WIDE_LAYERS = (
    "transforms.hyper_analysis",
    "transforms.analysis.tail",
    "indices.map",
)
#: Share of the learning rate. Pixels are so correlated that equal steps of the weights that read them
#: add up, and the details' quantisation steps are fine.
SHORTCUT_RATE = 0.02
GRADIENT_NORM = 1.0
ADAM_BETAS = (0.9, 0.98)
MUON_MOMENTUM = 0.95
#: Decay per step of the exponential moving average of the weights.
AVERAGE_DECAY = 0.998
#: Makes an orthogonal update as large as a typical Adam update (Liu et al., 2025).
MUON_SCALE = 0.2
# Coefficients and number of the quintic Newton-Schulz iterations of Jordan et al. (2024).
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


def orthogonalise(matrices: Tensor) -> Tensor:
    """Return roughly the nearest semi-orthogonal matrices: singular values end up in 0.7..1.2.

    `matrices`: float32, B x rows x columns. Computed in bfloat16 where that is fast.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    if multiplies_in_bfloat16(x.device):
        x = x.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates (Jordan et al., 2024), all matrices of one shape at once.

    torch.optim.Muon does the same matrix by matrix and always in bfloat16.
    """

    def __init__(self, matrices: list[nn.Parameter]) -> None:
        by_shape: dict[torch.Size, list[nn.Parameter]] = {}
        for matrix in matrices:
            by_shape.setdefault(matrix.shape, []).append(matrix)
        super().__init__([{"params": group} for group in by_shape.values()], {"lr": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            matrices = [p for p in group["params"] if p.grad is not None]
            if not matrices:
                continue
            gradients = [p.grad for p in matrices]
            momenta = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in matrices]
            torch._foreach_lerp_(momenta, gradients, 1 - MUON_MOMENTUM)
            nesterov = torch._foreach_lerp(gradients, momenta, MUON_MOMENTUM)
            updates = orthogonalise(torch.stack(nesterov))
            size = MUON_SCALE * math.sqrt(max(matrices[0].shape))
            torch._foreach_add_(matrices, list(updates.unbind()), alpha=-group["lr"] * size)


class Optimizers:
    """Muon and Adam, stepped together."""

    def __init__(self, model: nn.Module) -> None:
        matrices, shortcuts, others = [], [], []
        for name, p in model.named_parameters():
            if name.endswith("shortcut.weight"):
                shortcuts.append(p)
            elif p.ndim == 2 and "knots" not in name and not name.startswith(WIDE_LAYERS):
                matrices.append(p)
            else:
                others.append(p)
        groups: list[dict[str, Any]] = [
            {"params": others},
            {"params": shortcuts, "share": SHORTCUT_RATE},
        ]
        self.parts = [Muon(matrices), torch.optim.Adam(groups, betas=ADAM_BETAS, fused=True)]

    def step(self, learning_rate: float) -> None:
        """Update the weights and drop the gradients."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = learning_rate * group.get("share", 1)
            part.step()
            part.zero_grad(set_to_none=True)


@torch.no_grad()
def average_weights(averaged: list[Tensor], current: list[Tensor], step: int) -> None:
    """Update an exponential moving average with the weights after `step` (from 0). The decay starts
    low, so that early weights are soon forgotten."""
    decay = min(AVERAGE_DECAY, (step + 1) / (step + 10))
    torch._foreach_lerp_(averaged, current, 1 - decay)


def clip_gradients(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Clip the norm of all gradients together; zero them if it is not finite.

    Returns the norm. Nothing here makes the host wait, so a GPU is never left idle.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    scale = torch.where(norm.isfinite(), (GRADIENT_NORM / norm).clamp(max=1), 0.0)
    # In one piece: with a kernel launch for every gradient, a GPU would wait for the host.
    flat = torch.cat([gradient.flatten() for gradient in gradients]).nan_to_num_(0, 0, 0).mul_(scale)
    pieces: list[Tensor] = list(flat.split([gradient.numel() for gradient in gradients]))
    limited = [piece.view_as(g) for piece, g in zip(pieces, gradients, strict=True)]
    torch._foreach_copy_(gradients, limited)
    return norm
