"""From pictures to their files: the path of every picture through the encoder.

A picture is read, and what is to be undone of it estimated (`prepare`). Then, group by group: analysis
of the group and its surroundings (`vaecodec.model.load`; if asked to undo noise and JPEG,
`vaecodec.model.restoring`), a check of the result (`vaecodec.model.damping`), rounding
(`vaecodec.model.latents`) or a search for something better (`vaecodec.model.search`), entropy coding
(`vaecodec.model.symbols`). The streams, transparency and metadata are packed into a file
(`vaecodec.pictures.packing`), in whose place `exact_if_better` may put one without loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np
import torch

from bitstream.errors import VaeError
from vaecodec.geometry import LATENT_STRIDE, Window, latent_size, whole_positions, windows
from vaecodec.model.analysed import Analysed
from vaecodec.model.damping import alternating, beyond_ranges, damped
from vaecodec.model.load import LoadedModel
from vaecodec.model.search import refine
from vaecodec.model.symbols import Blocks
from vaecodec.pictures import lossless, packing, reading
from vaecodec.pictures.degradation import to_undo
from vaecodec.pictures.reading import ImageLike, Picture
from vaecodec.quality import Degradation, EncodeOptions, Setting

#: Drawings are stored without loss if that takes at most this many times the bytes.
MORE_IF_EXACT = 1.25


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A picture, and what is to be undone of it."""

    picture: Picture
    degradation: Degradation | None

    def shape(self) -> tuple[object, ...]:
        """Equal in pictures that can be encoded together."""
        return *whole_positions(*self.picture.samples.shape[:2]), self.degradation is None


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A file with loss. `sound`: whether decoding it destroys nothing."""

    file: bytes
    sound: bool


def prepare(image: ImageLike, options: EncodeOptions) -> Prepared:
    """Read a picture. Raises BadImage or VaeError."""
    picture = reading.to_picture(image)
    return Prepared(
        picture=picture.stripped() if options.strip else picture,
        degradation=to_undo(picture, options.restoration),
    )


def encode(
    model: LoadedModel, items: Sequence[Prepared], setting: Setting, effort: int, model_id: bytes
) -> list[Encoded]:
    """Encode pictures that agree in `Prepared.shape` with loss. `effort`: rounds of search.
    `model_id`: the model's, by which files name it."""
    degradations = [item.degradation for item in items if item.degradation is not None]
    samples = [packing.samples_to_encode(item.picture) for item in items]
    return [
        Encoded(
            file=packing.with_loss(item.picture, found.streams, model_id, setting.level),
            sound=found.sound,
        )
        for item, found in zip(
            items, _streams(model, samples, setting, effort, degradations), strict=True
        )
    ]


def exact_if_better(item: Prepared, encoded: Encoded) -> bytes:
    """Return the file that was encoded, or one without loss if that is hardly larger, or if decoding
    the former would destroy something. Raises VaeError if it would, and the picture is too large to be
    stored without loss."""
    picture = item.picture
    fits = lossless.fits(*picture.samples.shape[:2])
    if not encoded.sound:
        if not fits:
            raise VaeError(
                "a part of the picture would be destroyed, and it is too large to be stored without "
                f"loss ({lossless.LIMITS}); lossless=False (--no-lossless) encodes it all the same"
            )
        return packing.without_loss(picture)
    if item.degradation is None and fits and lossless.looks_drawn(picture.samples):
        exact = packing.without_loss(picture)
        if len(exact) <= MORE_IF_EXACT * len(encoded.file):
            return exact
    return encoded.file


@dataclass(kw_only=True)
class _Streams:
    """A picture's streams, one per group. `sound`: as in `Encoded`."""

    streams: list[bytes] = field(default_factory=list)
    sound: bool = True


@torch.no_grad()
def _streams(
    model: LoadedModel,
    pictures: Sequence[np.ndarray],
    setting: Setting,
    effort: int,
    degradations: Sequence[Degradation],
) -> list[_Streams]:
    """Encode samples (uint8, H x W x 3, whose latents have equal sizes). `degradations`: what to undo
    in each picture, if anything."""
    encoded = [_Streams() for _ in pictures]

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
    level, error_weight = setting.level, setting.error_weight
    latent = torch.cat([found.group_latent for found in analysed])
    hyper = torch.cat([found.hyper for found in analysed])
    bits = error_weight * model.latents.error_bits(level, latent.shape[-1])
    blocks = model.latents.quantise(latent, hyper, level, bits).blocks()
    if not effort:
        return blocks
    # Damped groups are not searched: but for the weight of errors, they stay as they were checked.
    return [
        symbols if found.damped else refine(model, found, level, effort, error_weight)
        for symbols, found in zip(blocks, analysed, strict=True)
    ]
