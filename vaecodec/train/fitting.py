"""How many training crops the parts of a model that are measured, not learned, are taken from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """`crops`: how many of the training pictures frequency tables and latents' ranges are measured on
    when a model is exported. `levels`: of quality, 0 to 63, ascending, at which. `probes`: how many of
    the crops curvature is measured on.
    """

    crops: int = 96
    levels: tuple[int, ...] = tuple(range(0, 64, 7))
    probes: int = 8

    @property
    def limiting_crops(self) -> int:
        """How many crops limits of activations are taken from."""
        return 4 * self.crops
