"""The means of the latents in training."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from vaecodec.model.means import Means
from vaecodec.model.quadtree import STEPS
from vaecodec.train.steps import Context, linear, quarters, to_phases


class TrainableMeans:
    """Means of a batch, step by step, with the weights of `network`, laid out as in
    `vaecodec.train.steps`. `z`: hyper-latents (float, in quantisation steps, N x h x w x Z)."""

    def __init__(self, network: Means, z: Tensor, level: Tensor) -> None:
        self._network = network
        width = network.mix.in_features
        self._read = network.read(z, level).chunk(STEPS, dim=-1)
        self._context = Context(network.context.weight[width:] * network.whiten)
        self._head, self._bias = network.natural_head()
        self._step = -1

    def next(self) -> Tensor:
        """Means of what the next step codes, except details, once all earlier values are known."""
        self._step += 1
        step, network, x = self._step, self._network, self._read[self._step]
        if step:
            x = x + self._context.of(step)
        x = F.relu(x)
        x = to_phases(x + F.relu(network.mix(network.depthwise(x))))
        return linear(x, quarters(self._head, step, dim=0), quarters(self._bias, step))

    def see(self, values: Tensor) -> None:
        """Take in the step's decoded latents, except details."""
        self._context.see(values, self._step)
