"""How much of the training pictures what is measured, not learned, is taken from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """`limits`: how many crops the limits of activations are taken from as a stage begins.

    When a model is exported, `crops`: how many of them frequency tables are fitted to; `levels`: of
    quality, 0 to 63, ascending, at which; `probes`: how many of the crops curvature is measured on.
    """

    limits: int = 384

    crops: int = 96
    levels: tuple[int, ...] = tuple(range(0, 64, 7))
    probes: int = 8
