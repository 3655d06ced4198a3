"""The picture that speeds are measured on: Kodak's size, from a photograph scikit-image bundles."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from PIL import Image


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """uint8, 512 x 768 x 3."""
    photo = Image.fromarray(skimage.data.coffee()).resize((768, 512), Image.Resampling.LANCZOS)
    return np.asarray(photo)
