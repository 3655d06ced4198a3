"""The latent of a file as numbers: what its picture is made of, without making it."""

from __future__ import annotations

import sys

import numpy as np

from bitstream import container
from bitstream.errors import VaeError
from vaecodec import decoding
from vaecodec.codec import Codec, chosen
from vaecodec.geometry import Rectangle, latent_size
from vaecodec.quality import check_whole
from vaecodec.sources import Source, naming, read_source


def latents(
    source: Source, *, max_pixels: int = container.MAX_PIXELS, codec: Codec | None = None
) -> np.ndarray:
    """The latent of a `.vae` file as its decoder has it: float32, H/16 x W/16 x M (rounded up), in
    natural units, the same at every quality level: what the synthesis transform reads.

    - `source`: path, bytes or file object.
    - `max_pixels`: larger pictures are refused.
    - `codec`: whose models and device to use, by default those of `vaecodec.decode`.

    It takes entropy decoding and the prior, about half of the time of `vaecodec.decode`. Raises what
    that raises, and VaeError where the picture is stored without loss.
    """
    check_whole("max_pixels", max_pixels, 1, sys.maxsize)
    codec = chosen(codec)
    data, name = read_source(source)
    with naming(name), codec.own_settings():
        file = container.parse(data, max_pixels)
        if file.header.lossless:
            raise VaeError("the picture is stored without loss and has no latent")
        whole = Rectangle(0, 0, *latent_size(file.header.height, file.header.width))
        model = codec.loaded(file.header.model_id)
        return decoding.decode_latents(model, [file], whole).values[0].cpu().numpy()
