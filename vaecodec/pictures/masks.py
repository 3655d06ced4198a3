"""Reading masks: which samples of a picture are to be made new."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from bitstream.errors import BadType, BadValue, VaeError
from vaecodec.pictures.reading import ImageLike, to_picture

if TYPE_CHECKING:
    import torch

#: Samples above this are marked.
HALF = 127


def to_mask(mask: ImageLike) -> np.ndarray:
    """Return a mask as bool, H x W, True where a sample is marked. An array or tensor of bool, H x W or
    with one channel, is taken as it is; any other picture marks the samples that are brighter than half
    in any colour and more than half opaque.

    Raises as `to_picture` does, and BadValue for a mask that marks everything or nothing.
    """
    if str(getattr(mask, "dtype", None)) == "torch.bool":
        mask = _planes(cast("torch.Tensor", mask))
    marked = _of_bool(mask) if getattr(mask, "dtype", None) == np.bool_ else _bright(mask)
    if not marked.any():
        raise BadValue("the mask marks nothing; what is to be made new is white in it (255, or True)")
    if marked.all():
        raise BadValue("the mask marks the whole picture; what is to be kept is black in it")
    return marked


def _planes(mask: torch.Tensor) -> torch.Tensor:
    """Turn a tensor of bool, H x W or with more dimensions, into one of a picture."""
    white = mask.byte() * 255
    return white[None] if white.ndim == 2 else white


def _of_bool(mask: ImageLike) -> np.ndarray:
    values = np.asarray(mask)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim != 2:
        raise BadType(f"a mask of bool must be H x W, not of {values.ndim} dimensions")
    return values


def _bright(mask: ImageLike) -> np.ndarray:
    try:
        picture = to_picture(mask)
    except VaeError as error:
        if error.filename is not None:
            raise
        raise type(error)(f"the mask: {error}") from error
    marked = picture.samples.max(axis=2) > HALF
    return marked if picture.alpha is None else marked & (picture.alpha > HALF)
