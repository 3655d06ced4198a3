"""Packing pictures: a picture and the streams that an encoder made of it become the bytes of a file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitstream import container
from bitstream.container import Header
from vaecodec.pictures import alpha, lossless
from vaecodec.pictures.reading import Picture


def samples_to_encode(picture: Picture) -> np.ndarray:
    """Return what is to be encoded with loss: uint8, H x W x 3."""
    if picture.alpha is None:
        return picture.samples
    return alpha.smooth_where_hidden(picture.samples, picture.alpha)


def with_loss(picture: Picture, streams: Sequence[bytes], model_id: bytes, level: int) -> bytes:
    """Return the file of a picture whose groups have these streams, with its transparency and
    metadata."""
    planes = [] if picture.alpha is None else alpha.encode(picture.alpha)
    header = _header(picture, model_id, level)
    return container.pack(header, list(streams), planes, picture.metadata)


def without_streams(picture: Picture, model_id: bytes) -> int:
    """Return the bytes that a file with loss takes besides the streams of its groups."""
    nothing = [b""] * _header(picture, model_id, 0).group_count
    return len(with_loss(picture, nothing, model_id, 0))


def without_loss(picture: Picture) -> bytes:
    """Return the file of a picture stored without loss. Raises VaeError if the picture is too large."""
    samples = picture.samples
    if picture.alpha is not None:
        samples = np.concatenate((samples, picture.alpha[:, :, None]), axis=2)
    header = _header(picture, container.NO_MODEL, 0)
    return container.pack(header, [lossless.encode(samples)], [], picture.metadata)


def _header(picture: Picture, model_id: bytes, level: int) -> Header:
    height, width, _ = picture.samples.shape
    return Header(
        width=width, height=height, colour=picture.colour, depth=8, model_id=model_id, level=level
    )
