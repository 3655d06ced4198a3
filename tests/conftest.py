"""Fixtures: one real photograph and one codec for all tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from hypothesis import settings
from PIL import Image

from vaecodec import weights
from vaecodec.codec import Codec

# No test may depend on how fast the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A photograph, uint8 192 x 256 x 3."""
    return np.ascontiguousarray(skimage.data.astronaut()[:192, 128:384])


@pytest.fixture(scope="session")
def codec() -> Codec:
    return Codec(device="cpu")


@pytest.fixture(scope="session")
def psnr_codec() -> Codec:
    """One whose model is trained for squared error."""
    return Codec(weights.find(None, "psnr").name, "cpu")


@pytest.fixture
def photo_file(tmp_path: Path, photo: np.ndarray) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    return path
