"""Parts of a picture made new: scratches, writing and small holes filled in by what surrounds them.

Of all pictures that agree with what is known, this looks for one that the model takes for likely. It
encodes and decodes, puts back what is known, and does so again at a higher quality. At a low quality
only coarse shapes survive, at a higher one also the finer ones that go with them. The codec thus takes
the place of the denoiser in plug-and-play methods (Venkatakrishnan et al., 2013; Zhang et al., 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from bitstream.errors import BadValue
from vaecodec.codec import Codec, chosen, kept_codec
from vaecodec.geometry import Rectangle, pixel_groups
from vaecodec.model import registry
from vaecodec.pictures.inpaint import fill
from vaecodec.pictures.masks import to_mask
from vaecodec.pictures.metadata import to_info, without_thumbnail
from vaecodec.pictures.reading import ImageLike, Picture, to_picture

#: Tune of the default model.
TUNE = "psnr"
#: Qualities of the rounds, rising.
QUALITIES = range(1, 96, 6)
#: Pixels of context around the marks.
MARGIN = 64


def repair(
    image: ImageLike,
    mask: ImageLike,
    *,
    codec: Codec | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Image.Image:
    """The picture, at 8 bits per sample, with new content where it is marked; the rest, and its
    transparency and metadata, stay as they were. Mode "RGB", "L", "RGBA" or "LA".

    - `image`: anything that `encode` takes.
    - `mask`: a picture of the same size as `image` when that is upright, brighter than half where
      `image` is to be made new; or an array or tensor (bool, H x W).
    - `codec`: the Codec whose model and device to use, by default the model of tune "psnr", which knows
      best what belongs together, also as people see it.
    - `progress`: called with the share, 0..1, of the work that is done.

    In each group of 1024 x 1024 pixels the bounding box of the marks, with 64 pixels around it, is
    encoded and decoded 16 times. The thumbnail in EXIF data is left out.

    Raises BadImage or VaeError, and BadValue for a mask of another size, or one that marks everything
    or nothing.
    """
    codec = kept_codec(default_model(), None) if codec is None else chosen(codec)
    picture, marked = to_picture(image), to_mask(mask)
    if marked.shape != picture.samples.shape[:2]:
        (rows, columns), (height, width) = marked.shape, picture.samples.shape[:2]
        raise BadValue(f"the mask has {columns} x {rows} pixels, the picture {width} x {height}")
    # Colours that nobody sees say nothing of those around them.
    hidden = np.zeros_like(marked) if picture.alpha is None else picture.alpha == 0
    unknown = marked | hidden
    samples = fill(picture.samples, ~unknown).copy()
    groups = [group for group in pixel_groups(*marked.shape) if marked[group.slices()].any()]
    for number, group in enumerate(groups):
        place = _around(marked, group).slices()
        for done, made in enumerate(_made(codec, samples[place], unknown[place], picture.grey), 1):
            samples[place] = made
            progress((number + done / len(QUALITIES)) / len(groups))
        inside = group.slices()
        unknown[inside] = hidden[inside]  # what is made is known to the groups that follow
    return _image(picture, np.where(marked[:, :, None], samples, picture.samples))


def default_model() -> str:
    """The name of the model that `repair` uses by default."""
    return registry.find(None, TUNE).name


def _around(marked: np.ndarray, group: Rectangle) -> Rectangle:
    """The bounding box of a group's marks, with what surrounds it."""
    height, width = marked.shape
    rows, columns = (np.flatnonzero(marked[group.slices()].any(axis=axis)) for axis in (1, 0))
    return Rectangle(
        max(0, group.top + int(rows[0]) - MARGIN),
        max(0, group.left + int(columns[0]) - MARGIN),
        min(height, group.top + int(rows[-1]) + 1 + MARGIN),
        min(width, group.left + int(columns[-1]) + 1 + MARGIN),
    )


def _made(codec: Codec, samples: np.ndarray, unknown: np.ndarray, grey: bool) -> Iterator[np.ndarray]:
    """Samples (uint8, H x W x 3) with new ones where they are unknown (bool, H x W), better and
    better."""
    for quality in QUALITIES:
        picture = Picture(samples=samples, grey=grey)
        data = codec.encode(picture, quality, lossless=False)
        decoded = np.asarray(codec.decode(data).convert("RGB"))
        samples = np.where(unknown[:, :, None], decoded, samples)
        yield samples


def _image(picture: Picture, samples: np.ndarray) -> Image.Image:
    """As a PIL image, with what else belongs to the picture."""
    image = Image.fromarray(samples[:, :, 0].copy() if picture.grey else samples)
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    metadata = dict(picture.metadata)
    if "exif" in metadata:
        metadata["exif"] = without_thumbnail(metadata["exif"])
    image.info.update(to_info(metadata))
    return image
