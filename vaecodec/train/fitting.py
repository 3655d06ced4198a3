"""Which training crops and levels are used for the parts of a model that are measured, not learned."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """`crops`: number of training crops on which frequency tables and latent ranges are measured when a
    model is exported. `levels`: quality levels at which they are, 0 to 63, ascending. `probes`: number
    of those crops on which curvature is measured."""

    crops: int = 96
    levels: tuple[int, ...] = tuple(range(0, 64, 7))
    probes: int = 8

    @property
    def limiting_crops(self) -> int:
        """Number of crops on which limits of activations are measured."""
        return 4 * self.crops
