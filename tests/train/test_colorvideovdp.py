"""The blur that stands in for torchvision's in ColorVideoVDP; it comes with the train extra."""

from __future__ import annotations

import importlib
import importlib.util

import pytest
import torch

from vaecodec.bench.colorvideovdp import GaussianBlur

if importlib.util.find_spec("compressai") is None:
    pytest.skip("the train extra is not installed", allow_module_level=True)

import vaecodec.train.entropy_models  # noqa: F401 -- lets torchvision be imported


def test_the_blur_is_that_of_torchvision() -> None:
    transforms = importlib.import_module("torchvision.transforms")
    x = torch.rand(2, 1, 40, 52, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(GaussianBlur(13, 3).forward(x), transforms.GaussianBlur(13, 3)(x))
