"""From samples to the streams of all groups: the path of every picture through the encoder.

Group by group: analysis of the group and its surroundings (`vaecodec.model.load`; if asked to undo
noise and JPEG, `vaecodec.model.restoring`), a check of the result (`vaecodec.model.damping`), rounding
(`vaecodec.model.latents`) or a search for something better (`vaecodec.model.search`), entropy coding
(`vaecodec.model.symbols`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np
import torch

from vaecodec.geometry import LATENT_STRIDE, Window, latent_size, windows
from vaecodec.model.analysed import Analysed
from vaecodec.model.damping import alternating, beyond_ranges, damped
from vaecodec.model.load import LoadedModel
from vaecodec.model.search import refine
from vaecodec.model.symbols import Blocks
from vaecodec.quality import Degradation, Setting


@dataclass(kw_only=True)
class Encoded:
    """A picture's streams, one per group. `sound`: whether decoding them destroys nothing."""

    streams: list[bytes] = field(default_factory=list)
    sound: bool = True


@torch.no_grad()
def encode(
    model: LoadedModel,
    pictures: Sequence[np.ndarray],
    setting: Setting,
    effort: int,
    degradations: Sequence[Degradation] = (),
) -> list[Encoded]:
    """Encode pictures (uint8, H x W x 3, whose latents have equal sizes). `effort`: rounds of search.
    `degradations`: what to undo in each picture, if anything."""
    encoded = [Encoded() for _ in pictures]

    def groups() -> Iterator[Blocks]:
        for window in windows(*latent_size(*pictures[0].shape[:2]), model.analysis_halo):
            outer = window.outer.scaled(LATENT_STRIDE).slices()
            samples = [picture[outer] for picture in pictures]
            analysed = _analysed(model, samples, setting.level, window, degradations)
            for item, found in zip(encoded, analysed, strict=True):
                item.sound &= found.sound
            yield from _symbols(model, analysed, setting, effort)

    # The first group of every picture, then the second of every picture, and so on.
    for item, stream in zip(cycle(encoded), model.coding.encode_each(groups()), strict=False):
        item.streams.append(stream)
    return encoded


def _analysed(
    model: LoadedModel,
    samples: list[np.ndarray],
    level: int,
    window: Window,
    degradations: Sequence[Degradation],
) -> list[Analysed]:
    """Analyse one group of every picture. A group unlike photographs is damped, and not restored."""
    latent, hyper = model.analyse(samples, level, degradations)
    latents, hypers = latent.split(1), window.hyper(hyper).split(1)
    beyond = beyond_ranges(model, latent, level)
    noisy = [each.noise > 0 for each in degradations] or [False] * len(samples)
    return [
        damped(model, picture, level, window)
        if strange or (alternating(picture) and not noise)
        else Analysed(picture=picture, latent=y, hyper=z, window=window)
        for picture, y, z, strange, noise in zip(samples, latents, hypers, beyond, noisy, strict=True)
    ]


def _symbols(
    model: LoadedModel, analysed: list[Analysed], setting: Setting, effort: int
) -> list[Blocks]:
    """Return the symbols to code for the group of every picture."""
    level, thrift = setting.level, setting.thrift
    latent = torch.cat([found.group_latent for found in analysed])
    hyper = torch.cat([found.hyper for found in analysed])
    bits = thrift * model.latents.error_bits(level, latent.shape[-1])
    blocks = model.latents.quantise(latent, hyper, level, bits).blocks()
    if not effort:
        return blocks
    # Damped groups are not searched: but for thrift, they are written as they were checked.
    return [
        symbols if found.damped else refine(model, found, level, effort, thrift)
        for symbols, found in zip(blocks, analysed, strict=True)
    ]
