"""The gradients of one batch: draw crops, code them and compare, all on the device.

A GPU runs the thousands of small kernels of a batch in a third of the time that the host takes to
launch them (docs/experiments.md), so they are recorded once, as a CUDA graph, and then launched
together.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vaecodec.model.config import LEVELS, level_lambda
from vaecodec.model.objective import distortion
from vaecodec.train.data import Pictures
from vaecodec.train.model import TrainableCodec, log_lambda
from vaecodec.train.textures import paste

#: Typical loss of photographs.
USUAL_LOSS = 2.0
#: Batches before recording, in which libraries choose their kernels and allocate their memory.
WARM_UP_BATCHES = 3


@dataclass(frozen=True, kw_only=True)
class BatchLoss:
    """Means over a batch, scalars on its device; on a GPU the next batch overwrites them."""

    loss: Tensor
    bpp: Tensor


def stratified_levels(count: int, device: torch.device) -> Tensor:
    """Draw one level from each of `count` equal slices of the quality range, shuffled (int64)."""
    order = torch.rand(count, device=device).argsort()
    position = (order + torch.rand(count, device=device)) / count
    return (position * LEVELS).long().clamp(max=LEVELS - 1)


def rate_distortion_loss(
    bpp: Tensor, distortion: Tensor, level: Tensor, drawn: Tensor | None = None
) -> Tensor:
    """Mean of R + lambda D, weighted by lambda^-0.5 so that high rates do not drown the low ones.

    Items with drawn textures (`drawn`, bool, N) cost many times what photographs do, so their loss
    counts logarithmically.
    """
    log_l = log_lambda(level)
    weight = torch.exp(-0.5 * (log_l - 0.5 * math.log(level_lambda(0) * level_lambda(LEVELS - 1))))
    loss = weight * (bpp + torch.exp(log_l) * distortion)
    if drawn is not None:
        loss = torch.where(drawn, USUAL_LOSS * torch.log1p(loss / USUAL_LOSS), loss)
    return loss.mean()


class Gradients:
    """Each call draws a batch of `count` crops of `side` x `side`, a share `textures` of them with one
    of `overlays` (from `draw_overlays`), and sets the model's gradients, None before, to those of its
    loss.

    If the model's settings (not its weights) change after the first batch, make a new instance.
    """

    def __init__(
        self,
        model: TrainableCodec,
        pictures: Pictures,
        *,
        tune: str,
        count: int,
        side: int,
        textures: float,
        overlays: Tensor,
    ) -> None:
        self._model, self._pictures = model, pictures
        self.count, self._tune, self._side = count, tune, side
        self._textures, self._overlays = textures, overlays
        self._graph: torch.cuda.CUDAGraph | None = None
        self._recorded: BatchLoss | None = None
        self._found: list[Tensor | None] = []

    def __call__(self) -> BatchLoss:
        if self._pictures.device.type != "cuda":
            return self._batch()
        if self._graph is None:
            self._record()
        assert self._graph is not None and self._recorded is not None
        self._done.synchronize()  # the host is at most one batch ahead
        self._graph.replay()
        self._done.record()
        for parameter, gradient in zip(self._model.parameters(), self._found, strict=True):
            parameter.grad = gradient
        return self._recorded

    def _batch(self) -> BatchLoss:
        device = self._pictures.device
        picture = self._pictures.crops(self.count, self._side)
        drawn = torch.rand(self.count, device=device) < self._textures
        picture = paste(self._overlays, picture, drawn)
        level = stratified_levels(self.count, device)
        outcome = self._model(picture, level)
        with full_precision():
            error = distortion(self._tune, picture.float() / 255, outcome.picture)
        loss = rate_distortion_loss(outcome.bpp, error, level, drawn)
        loss.backward()
        return BatchLoss(loss=loss.detach(), bpp=outcome.bpp.detach().mean())

    def _record(self) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_BATCHES):
                self._batch()
                self._model.zero_grad(set_to_none=True)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._recorded = self._batch()
        self._found = [parameter.grad for parameter in self._model.parameters()]
        self._done = torch.cuda.Event()


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Compute matrix products in full float32, even if the model uses TF32: SSIMULACRA2's variances are
    differences of large numbers."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
