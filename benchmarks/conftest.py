"""The photograph that speeds are measured on, from scikit-image, and how much of the suite runs."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from PIL import Image

from vaecodec.codec import Codec


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="pictures of up to 24 megapixels as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--full"):
        for item in items:
            if item.get_closest_marker("full"):
                item.add_marker(pytest.mark.skip(reason="only with --full"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: takes long; runs with --full only")


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """uint8, 512 x 768 x 3: Kodak's size."""
    photo = Image.fromarray(skimage.data.coffee()).resize((768, 512), Image.Resampling.LANCZOS)
    return np.asarray(photo)


@pytest.fixture(scope="session")
def codec() -> Codec:
    return Codec()
