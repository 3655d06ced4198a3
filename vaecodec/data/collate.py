"""Whole batches of files, decoded together to one tensor."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info

from bitstream import container
from bitstream.errors import BadType, BadValue, VaeError
from vaecodec.codec import Codec
from vaecodec.data.samples import check_mode, in_mode


class DecodeCollate:
    """Decodes the items of a `VaeDataset(..., decode=False)` in batches, on a GPU if there is one:

        DataLoader(dataset, batch_size=64, collate_fn=DecodeCollate(device="cuda"))

    Called with a list of files (bytes), or of tuples of file and label, it returns the pictures (uint8,
    N x C x H x W, 0..255), or a tuple of the pictures and the labels as stacked by PyTorch's
    `default_collate`, on the device. Pictures are decoded whole.

    - `device`, `model`, `entropy_processes`: as for `vaecodec.Codec`.
    - `mode`: as for `VaeDecoder`.
    - `transform`: called with each decoded picture (uint8, C x H x W) on the device; if pictures differ
      in size, it must crop or resize them to one size.
    - `max_pixels`: as for `vaecodec.decode`.

    A `collate_fn` is called in the workers, which have no GPU. With device cuda, either `num_workers`
    must be 0, or the workers only read (`collate_fn=list`) and this is called with each batch.

    Raises VaeError, naming the file, as `vaecodec.decode` does; BadValue for pictures that differ in
    size, and BadType for items that are not bytes.
    """

    def __init__(
        self,
        *,
        device: str | torch.device | None = None,
        mode: str | None = "RGB",
        transform: Callable[[Tensor], Tensor] | None = None,
        max_pixels: int = container.MAX_PIXELS,
        model: str | os.PathLike[str] | None = None,
        entropy_processes: int = 0,
    ) -> None:
        check_mode(mode)
        self.mode = mode
        self.transform = transform
        self.max_pixels = max_pixels
        self._codec = Codec(model, device, entropy_processes=entropy_processes)

    def __call__(self, batch: Sequence[Any]) -> Tensor | tuple[Tensor, Any]:
        device = self._codec.device
        if device.type == "cuda" and get_worker_info() is not None:
            raise VaeError(
                "a worker of a DataLoader cannot decode on the GPU: use num_workers=0, or "
                "collate_fn=list and call this with each batch"
            )
        if not batch:
            raise BadValue("a batch of no items cannot be stacked")
        labelled = isinstance(batch[0], (tuple, list))
        if labelled and any(len(item) != 2 for item in batch):
            raise BadType("bytes, or tuples of bytes and a label were expected (decode=False)")
        files = [item[0] for item in batch] if labelled else list(batch)
        for file in files:
            if not isinstance(file, bytes):
                raise BadType(
                    f"the bytes of a file were expected (decode=False), not {type(file).__name__}"
                )
        decoded = self._codec.decode_batch(files, max_pixels=self.max_pixels, as_tensor=True)
        pictures = [in_mode(picture, self.mode) for picture in decoded]
        if self.transform is not None:
            pictures = [self.transform(picture) for picture in pictures]
            for picture in pictures:
                if not isinstance(picture, Tensor):
                    raise BadType(f"transform must return a tensor, not {type(picture).__name__}")
        shapes = {tuple(picture.shape) for picture in pictures}
        if len(shapes) > 1:
            one, other = sorted(shapes)[:2]
            raise BadValue(
                f"pictures of {_text(one)} and {_text(other)} cannot be stacked: crop or resize them "
                "in transform"
            )
        stacked = torch.stack(pictures)
        if not labelled:
            return stacked
        labels = default_collate([item[1] for item in batch])
        return stacked, labels.to(device) if isinstance(labels, Tensor) else labels


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
