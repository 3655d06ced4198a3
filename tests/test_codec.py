"""The codec through its Python API, with the shipped weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import vaecodec
from bitstream import container
from vaecodec.codec import Codec
from vaecodec.decoding import decode_latents
from vaecodec.figures import psnr
from vaecodec.geometry import Rectangle
from vaecodec.model.config import level_lambda
from vaecodec.quality import TUNES, level_of


def test_a_photo_gets_small_and_comes_back(photo: np.ndarray, codec: Codec) -> None:
    data = codec.encode(photo, 60, tune="psnr")
    decoded = np.asarray(codec.decode(data))
    assert decoded.shape == photo.shape
    assert psnr(photo, decoded) > 32
    assert 8 * len(data) / (192 * 256) < 2.0


@pytest.mark.parametrize("tune", TUNES)
def test_quality_buys_psnr_for_bytes(photo: np.ndarray, codec: Codec, tune: str) -> None:
    sizes, values = [], []
    for quality in (1, 20, 40, 60, 80, 100):
        data = codec.encode(photo, quality, tune=tune)
        sizes.append(len(data))
        values.append(psnr(photo, np.asarray(codec.decode(data))))
    assert sizes == sorted(sizes)
    assert values == sorted(values)
    assert values[-1] - values[0] > 10


def test_real_size_is_the_estimated_rate(codec: Codec, photo: np.ndarray) -> None:
    """Within 1 % of the ideal code length under the integer tables, plus the fixed header."""
    model = codec.loaded()
    for quality in (10, 60, 100):
        level = level_of(quality)
        latent, hyper = model.analyse(photo[None], level)
        bits = model.latents.bits(model.latents.quantise(latent, hyper, level))
        size = 8 * len(codec.encode(photo, quality, effort=0))
        assert bits <= size <= 1.01 * bits + 8 * 32


@pytest.mark.parametrize("quality", [10, 50, 97])
def test_optimised_rounding_pays(psnr_codec: Codec, photo: np.ndarray, quality: int) -> None:
    """R + lambda D against plain rounding."""
    model, level, costs = psnr_codec.loaded(), level_of(quality), []
    for error_bits in (None, float("inf")):
        latent, hyper = model.analyse(photo[None], level)
        coded = model.latents.quantise(latent, hyper, level, error_bits)
        decoded = model.synthesise(coded.latent, level)[0].clamp(0, 255).numpy()
        error = float(np.square(decoded - photo).mean())
        bits = model.latents.bits(coded)
        costs.append(bits / (192 * 256) + level_lambda(level) * error)
    assert costs[0] < costs[1]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 150), st.integers(1, 150), st.integers(1, 100), st.booleans())
def test_any_size(codec: Codec, photo: np.ndarray, h: int, w: int, quality: int, grey: bool) -> None:
    image = photo[:h, :w, 1] if grey else photo[:h, :w]
    decoded = codec.decode(codec.encode(image, quality))
    assert decoded.size == (w, h)
    assert decoded.mode == ("L" if grey else "RGB")


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (16, 16), (17, 33), (64, 65)])
def test_small_sizes_look_right(codec: Codec, photo: np.ndarray, shape: tuple[int, int]) -> None:
    image = photo[40 : 40 + shape[0], 60 : 60 + shape[1]]
    decoded = np.asarray(codec.decode(codec.encode(image, 90, tune="psnr")))
    assert psnr(image, decoded) > 28


def test_a_tiny_picture_costs_at_most_100_bytes_more_than_nothing(codec: Codec) -> None:
    flat = np.full((16, 16, 3), 130, dtype=np.uint8)
    assert len(codec.encode(flat, 60, lossless=False)) <= 100


def test_groups(codec: Codec) -> None:
    """1040 x 40 pixels: two groups, the second one pixel row of latents."""
    ramp = np.linspace(0, 255, 1040).astype(np.uint8)
    image = np.repeat(np.repeat(ramp[:, None, None], 40, axis=1), 3, axis=2)
    data = codec.encode(image, 80, lossless=False)
    assert container.parse(data).header.group_count == 2
    decoded = np.asarray(codec.decode(data)).astype(int)
    assert np.abs(decoded - image).max() < 16


@pytest.mark.parametrize("content", ["photo", "gradient"])
def test_groups_leave_no_seams(codec: Codec, photo: np.ndarray, content: str) -> None:
    """Transforms group by group, with halo, are those of the whole picture."""
    image = np.tile(np.concatenate((photo, photo[::-1])), (4, 1, 1))[:1150, :200]
    if content == "gradient":
        ramp = np.add.outer(np.linspace(10, 200, 1150), np.linspace(0, 50, 200))
        image = np.repeat(np.rint(ramp).astype(np.uint8)[:, :, None], 3, axis=2)
    model, level = codec.loaded(), 40
    whole, whole_hyper = model.analyse(image[None], level)
    top, top_hyper = model.analyse(image[None, : 1024 + 16 * model.analysis_halo], level)
    assert torch.allclose(top[:, :64], whole[:, :64], atol=1e-3)
    assert torch.allclose(top_hyper[:, :16], whole_hyper[:, :16], atol=1e-3)
    data = codec.encode(image, 60, lossless=False)
    file = container.parse(data)
    latent = decode_latents(model, [file], Rectangle(0, 0, 72, 13)).values
    samples = model.synthesise(latent, level_of(60))[0, :1150, :200]
    expected = samples.clamp(0, 255).round().numpy()
    decoded = np.asarray(codec.decode(data))
    assert np.abs(decoded - expected).max() <= 1


def test_grey_stays_grey(codec: Codec, photo: np.ndarray) -> None:
    grey = photo.mean(axis=2).astype(np.uint8)
    data = codec.encode(grey, 80, tune="psnr")
    decoded = codec.decode(data)
    assert decoded.mode == "L"
    assert psnr(grey, np.asarray(decoded)) > 33
    colour = codec.encode(np.repeat(grey[:, :, None], 3, axis=2), 80, tune="psnr")
    assert len(data) == len(colour)


def test_inputs_of_every_kind_give_the_same_bytes(
    codec: Codec, photo: np.ndarray, photo_file: Path
) -> None:
    expected = codec.encode(photo, 50)
    assert codec.encode(Image.fromarray(photo), 50) == expected
    assert codec.encode(photo_file, 50) == expected
    assert codec.encode(str(photo_file), 50) == expected
    assert vaecodec.encode(photo, 50, device="cpu") == expected
    assert codec.encode(photo[:, ::-1][:, ::-1], 50) == expected
    assert np.array_equal(vaecodec.decode(expected, device="cpu"), codec.decode(expected))


def test_batches_are_the_single_results(codec: Codec, photo: np.ndarray) -> None:
    pictures = [photo, photo[::-1], photo[:50, :70], photo[:, :, 0], photo[:50, 100:170]]
    batch = codec.encode_batch(pictures, 40, tune="psnr")
    for data, picture in zip(batch, pictures, strict=True):
        # The analysis transform is floating point: a batch may round single latents differently.
        alone = codec.encode(picture, 40, tune="psnr")
        assert abs(len(alone) - len(data)) <= 0.01 * len(alone) + 8
    images = codec.decode_batch(batch)
    for data, image, picture in zip(batch, images, pictures, strict=True):
        alone = codec.decode(data)
        assert image.mode == alone.mode
        difference = np.asarray(image).astype(int) - np.asarray(alone).astype(int)
        assert np.abs(difference).max() <= 2
        assert psnr(picture, np.asarray(image)) > 26
    assert codec.encode_batch([]) == []
    assert codec.decode_batch([]) == []


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), "uint8 of shape"),
        (np.zeros((4, 4, 3), np.float32), "not float32"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (42, "not int"),
        (Image.new("F", (4, 4)), "mode F has no range"),
        (Image.new("RGB", (0, 4)), "no pixels"),
    ],
)
def test_what_is_no_picture(codec: Codec, image: object, message: str) -> None:
    with pytest.raises(vaecodec.VaeError, match=message):
        codec.encode(image)  # type: ignore[arg-type]


@pytest.mark.parametrize("quality", [0, 101, -1, 5.5, "60", None, True])
def test_quality_out_of_range(codec: Codec, photo: np.ndarray, quality: object) -> None:
    with pytest.raises(vaecodec.VaeError, match="quality must be a whole number from 1 to 100"):
        codec.encode(photo, quality)  # type: ignore[arg-type]


def test_quality_reaches_every_level_in_order() -> None:
    levels = [level_of(quality) for quality in range(1, 101)]
    assert levels == sorted(levels)
    assert set(levels) == set(range(64))


def test_unknown_models() -> None:
    with pytest.raises(vaecodec.UnknownModel, match="no model is called 'nonesuch'"):
        Codec("nonesuch")
    with pytest.raises(vaecodec.VaeError, match=r"absent\.safetensors: cannot read"):
        Codec("absent.safetensors")


def test_a_file_of_an_unknown_model(codec: Codec, photo: np.ndarray) -> None:
    parsed = container.parse(codec.encode(photo[:16, :16]))
    header = container.Header(
        width=16,
        height=16,
        colour=container.RGB,
        depth=8,
        model_id=b"\xde\xad\xbe\xef",
        level=parsed.header.level,
    )
    with pytest.raises(vaecodec.UnknownModel, match="deadbeef"):
        codec.decode(container.pack(header, parsed.streams))


def test_a_model_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "fake.safetensors"
    path.write_bytes(b"not weights")
    with pytest.raises(vaecodec.VaeError, match=r"fake\.safetensors: not a vaecodec model"):
        Codec(str(path)).encode(np.zeros((8, 8, 3), np.uint8))


def test_devices() -> None:
    with pytest.raises(vaecodec.VaeError, match="no device 'tpu9'"):
        Codec(device="tpu9")
    with pytest.raises(vaecodec.VaeError, match="not supported"):
        Codec(device="meta")


def test_damage_is_always_a_vae_error(codec: Codec, photo: np.ndarray) -> None:
    """Checksums made right again around garbage streams: no crash, and no foreign exception."""
    parsed = container.parse(codec.encode(photo[:64, :64], 60))
    rng = np.random.default_rng(0)
    for trial in range(40):
        stream = bytearray(parsed.streams[0])
        if trial % 2:
            stream[rng.integers(len(stream))] ^= 1 << rng.integers(8)
        else:
            stream = bytearray(rng.bytes(rng.integers(0, 300)))
        data = container.pack(parsed.header, [bytes(stream)])
        try:
            assert codec.decode(data).size == (64, 64)
        except vaecodec.VaeError:
            continue


def test_decoding_limits(codec: Codec, photo: np.ndarray) -> None:
    data = codec.encode(photo)
    with pytest.raises(vaecodec.LimitExceeded, match="256 x 192"):
        codec.decode(data, max_pixels=1000)


@pytest.mark.parametrize(
    ("work", "absent"),
    [
        ("import vaecodec, vaecodec.cli.main", ("torch", "numpy")),
        ("import bitstream.container, bitstream.entropy", ("torch", "vaecodec")),
        (
            "import numpy, vaecodec\nblack = numpy.zeros((8, 8, 3), 'uint8')\n"
            "vaecodec.decode(vaecodec.encode(black, lossless=False))",
            ("vaecodec.train", "compressai"),
        ),
    ],
    ids=["importing is lazy", "bitstream needs no torch", "inference needs no training"],
)
def test_what_is_never_imported(work: str, absent: tuple[str, ...]) -> None:
    code = f"import sys\n{work}\nassert not [m for m in sys.modules if m.startswith({absent!r})]"
    subprocess.run([sys.executable, "-c", code], check=True)
