"""The latent of a file as numbers: what its picture is made from, without making it."""

from __future__ import annotations

import sys

import numpy as np

from bitstream import container
from bitstream.container import Container
from vaecodec import decoding
from vaecodec.codec import Codec, chosen
from vaecodec.quality import check_whole
from vaecodec.sources import Source, naming, read_source


def latents(
    source: Source, *, max_pixels: int = container.MAX_PIXELS, codec: Codec | None = None
) -> np.ndarray:
    """The latent of a `.vae` file as its decoder has it, which is what the synthesis transform reads:
    float32, H/16 x W/16 x M (rounded up), in natural units, which are the same at every quality level.

    - `source`: path, bytes or file object.
    - `max_pixels`: larger pictures are refused.
    - `codec`: the Codec whose models and device to use, by default that of `vaecodec.decode`.

    This takes entropy decoding and the means, about two fifths of the time of `vaecodec.decode`.
    Raises what `vaecodec.decode` raises, and VaeError if the picture is stored without loss.
    """
    max_pixels = check_whole("max_pixels", max_pixels, 1, sys.maxsize)
    codec = chosen(codec)
    data, name = read_source(source)
    with naming(name):
        return latent_of(codec, container.parse(data, max_pixels))


def latent_of(codec: Codec, file: Container) -> np.ndarray:
    """The same for a parsed file."""
    decoding.check_latent(file.header)
    with codec.own_settings():
        model = codec.loaded(file.header.model_id)
        return decoding.whole_latent(model, file).cpu().numpy()
