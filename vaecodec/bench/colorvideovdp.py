"""ColorVideoVDP, from the package cvvdp, for still pictures.

That package imports ffmpeg, imageio, einops, huggingface_hub and torchvision, mostly for videos and for
learned variants. Still pictures need only torchvision's Gaussian blur, and torchvision cannot be
imported beside a CPU build of torch, where its compiled operators do not load. So stand-ins take the
places of these modules during the import, and whatever was there before is put back after it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

#: One of the package's displays: 24 inches, 1920 x 1080, 200 cd/m2, in an office, seen from 0.6 m (38
#: pixels per degree). Single pixels count for more than on its default display, which is 4K.
DISPLAY = "standard_fhd"
#: Modules that cvvdp imports and pictures never use.
UNUSED = (
    "ffmpeg", "imageio", "imageio.v2", "einops", "einops.layers", "einops.layers.torch",
    "huggingface_hub", "torchvision", "torchvision.ops",
)  # fmt: skip


class GaussianBlur:
    """Stands in for torchvision.transforms.GaussianBlur, for an odd size and a fixed sigma."""

    def __init__(self, kernel_size: int, sigma: float) -> None:
        half = kernel_size // 2
        weights = torch.exp(-0.5 * (torch.arange(-half, half + 1) / sigma) ** 2)
        self._half, self._weights = half, weights / weights.sum()

    def forward(self, x: Tensor) -> Tensor:
        """Blur float ... x H x W, mirrored at the borders, to the same shape."""
        flat = x.reshape(-1, 1, *x.shape[-2:])
        padded = functional.pad(flat, (self._half,) * 4, mode="reflect")
        weights = self._weights.to(x)
        down = functional.conv2d(padded, weights.view(1, 1, -1, 1))
        return functional.conv2d(down, weights.view(1, 1, 1, -1)).reshape(x.shape)


class _Unused(ModuleType):
    """A module from which any name can be imported: a class that does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@contextmanager
def _stand_ins() -> Iterator[None]:
    transforms = ModuleType("torchvision.transforms")
    transforms.__dict__["GaussianBlur"] = GaussianBlur
    placed = {name: _Unused(name) for name in UNUSED} | {transforms.__name__: transforms}
    before = {name: sys.modules.get(name) for name in placed}
    path = list(sys.path)
    sys.modules.update(placed)
    try:
        yield
    finally:
        sys.path[:] = path  # the package adds its own folder
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def network() -> Any:
    """Load cvvdp's metric on the CPU, for `DISPLAY`."""
    with _stand_ins():
        library = importlib.import_module("pycvvdp")
    return library.cvvdp(display_name=DISPLAY, quiet=True, device=torch.device("cpu"))
