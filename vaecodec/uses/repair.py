"""Parts of a picture made new: scratches, writing and small holes filled in by what surrounds them.

The restoring analysis transform finds the latent of the picture without them, synthesis what that looks
like; of this only what was marked is taken.
"""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image

from vaecodec.codec import Codec, chosen
from vaecodec.pictures.masks import to_mask
from vaecodec.pictures.reading import ImageLike, to_picture

#: At which what is new is encoded on the way.
QUALITY = 95


def repair(
    image: ImageLike, mask: ImageLike, *, tune: str | None = None, codec: Codec | None = None
) -> Image.Image:
    """The picture with new content where it is marked; everywhere else, and its transparency and
    metadata, as it was. Mode "RGB", "L", "RGBA" or "LA".

    - `image`: anything that `encode` takes.
    - `mask`: a picture of the same size, brighter than half where `image` is to be made new, or an
      array (bool, H x W).
    - `tune`: "visual", or "psnr", which is a little nearer and softer; None is the model's own.
    - `codec`: whose models and device to use, by default those of `vaecodec.encode`.

    Raises BadImage or VaeError, BadValue for a mask of another size, or one that marks everything or
    nothing.
    """
    picture, marked = to_picture(image), to_mask(mask)
    codec = chosen(codec)
    data = codec.encode(picture, QUALITY, tune=tune, lossless=False, mask=marked)
    made = codec.decode(data, max_pixels=sys.maxsize)
    return _where(marked, made, picture.samples)


def _where(marked: np.ndarray, made: Image.Image, samples: np.ndarray) -> Image.Image:
    """`made` where it is marked, elsewhere `samples` (uint8, H x W x 3)."""
    colours = {"L": 1, "LA": 1, "RGB": 3, "RGBA": 3}[made.mode]
    height, width = marked.shape
    result = np.asarray(made).reshape(height, width, -1).copy()
    result[~marked, :colours] = samples[~marked, :colours]
    repaired = Image.fromarray(result.squeeze(2) if result.shape[2] == 1 else result, made.mode)
    repaired.info = made.info
    return repaired
