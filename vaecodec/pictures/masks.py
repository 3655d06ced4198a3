"""Masks in: which samples of a picture are to be filled in."""

from __future__ import annotations

import numpy as np

from bitstream.errors import BadValue
from vaecodec.pictures.reading import ImageLike, to_picture

#: Samples above it are marked.
HALF = 127


def to_mask(mask: ImageLike) -> np.ndarray:
    """A mask as bool, H x W, True where a sample is marked: `mask` itself if it is such an array, else
    where it, a picture, is brighter than half in any colour, and not transparent.

    Raises as `to_picture`, and BadValue for a mask that marks everything or nothing.
    """
    as_it_is = isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.ndim == 2
    marked = np.asarray(mask) if as_it_is else _bright(mask)
    if not marked.any():
        raise BadValue("the mask marks nothing; what is to be filled in is white in it")
    if marked.all():
        raise BadValue("the mask marks the whole picture; what is to be kept is black in it")
    return marked


def _bright(mask: ImageLike) -> np.ndarray:
    picture = to_picture(mask)
    marked = picture.samples.max(axis=2) > HALF
    return marked if picture.alpha is None else marked & (picture.alpha > HALF)
