"""Fixtures: one real photograph and one codec for all tests. And which tests may be skipped where."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import settings
from PIL import Image, ImageCms

from vaecodec import decoding, encoding
from vaecodec.cli.main import main
from vaecodec.codec import Codec
from vaecodec.model import registry

# No test may depend on how fast the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("PyTorch finds no CUDA device here")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not (item.get_closest_marker("gpu") or hasattr(report, "wasxfail")):
        forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    forbid_skip(report)
    return report


def forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Where VAECODEC_NO_SKIPS is set everything a test needs should be there: a skip is a failure."""
    if report.skipped and os.environ.get("VAECODEC_NO_SKIPS"):
        assert isinstance(report.longrepr, tuple)
        path, line, reason = report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{path}:{line}: {reason}, and VAECODEC_NO_SKIPS forbids that"


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """Work in several threads gives each its share of PyTorch's: the next test has all again."""
    before = torch.get_num_threads()
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)


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
    return Codec(registry.find(None, "psnr").name, "cpu")


@pytest.fixture(scope="session")
def srgb_profile() -> bytes:
    """An ICC profile of RGB pictures."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def photo_file(tmp_path: Path, photo: np.ndarray) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    return path


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Is told of how many pictures pass through the networks side by side, each time."""
    counts: list[int] = []
    encode, decode = encoding.encode, decoding.decode

    def encoded(model: Any, samples: Any, *rest: Any) -> Any:
        counts.append(len(samples))
        return encode(model, samples, *rest)

    def decoded(model: Any, files: Any, *rest: Any, **more: Any) -> Any:
        counts.append(len(files))
        return decode(model, files, *rest, **more)

    monkeypatch.setattr(encoding, "encode", encoded)
    monkeypatch.setattr(decoding, "decode", decoded)
    return counts


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process; exit code, standard output, standard error."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # commands set it

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vaecodec", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop, warnings.catch_warnings():
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return int(stop.value.code or 0), captured.out, captured.err

    return call
