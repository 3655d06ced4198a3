"""Drawings and screenshots: stored without loss where that is smaller."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

import vaecodec
from bitstream import container
from vaecodec import encoding
from vaecodec.codec import Codec
from vaecodec.pictures import lossless

if TYPE_CHECKING:
    from conftest import Run


def drawing(mode: str = "RGB") -> Image.Image:
    image = Image.new("RGB", (180, 120), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 20, 90, 90), "#4060c0", "black", 3)
    draw.text((60, 50), "rate and distortion", "black")
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("quality", [30, 60, 100])
def test_a_drawing_is_exact_and_smaller(codec: Codec, mode: str, quality: int) -> None:
    image = drawing(mode)
    data = codec.encode(image, quality, tune="psnr")
    decoded = codec.decode(data)
    assert decoded.mode == mode
    assert np.array_equal(np.asarray(decoded), np.asarray(image))
    assert container.parse(data).header.lossless
    assert len(data) < len(codec.encode(image, quality, tune="psnr", lossless=False))


def test_a_photo_is_not_tried_and_can_be_asked_for(codec: Codec, photo: np.ndarray) -> None:
    assert not lossless.looks_drawn(photo)
    assert codec.encode(photo, 60) == codec.encode(photo, 60, lossless=False)
    data = codec.encode(photo, 60, lossless=True)
    assert np.array_equal(np.asarray(codec.decode(data)), photo)


def test_the_smaller_way_is_taken(codec: Codec, photo: np.ndarray) -> None:
    """A photograph in a wide frame is tried, and larger without loss."""
    framed = np.full((512, 640, 3), 255, dtype=np.uint8)
    framed[100:292, 100:356] = photo
    assert lossless.looks_drawn(framed)
    data = codec.encode(framed, 20)
    assert not container.parse(data).header.lossless
    assert len(data) < len(codec.encode(framed, lossless=True))


def test_in_one_batch_with_photos(codec: Codec, photo: np.ndarray) -> None:
    picture = np.asarray(drawing())
    batch = codec.encode_batch([photo, picture, photo[:120, :180]], 40)
    assert [container.parse(data).header.lossless for data in batch] == [False, True, False]
    images = codec.decode_batch(batch)
    assert np.array_equal(np.asarray(images[1]), picture)
    assert images[0].size == (256, 192)


def test_no_latent(codec: Codec) -> None:
    with pytest.raises(vaecodec.VaeError, match="stored without loss and has no latent"):
        codec.decode_symbols(codec.encode(drawing()))


def test_too_large(codec: Codec) -> None:
    stripe = np.zeros((1, lossless.MAX_SIDE + 1, 3), dtype=np.uint8)
    assert not lossless.fits(*stripe.shape[:2])
    with pytest.raises(vaecodec.VaeError, match=r"16384 x 1 pixels is too large to be stored"):
        codec.encode(stripe, lossless=True)


def test_what_is_too_large_is_said(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drawing beyond the limits is coded with loss, with a word; what that would destroy is not."""
    page = np.full((16, lossless.MAX_SIDE + 1), 255, np.uint8)
    page[4:8, ::40] = 0
    Image.fromarray(page).save(tmp_path / "page.png")
    code, _, said = run("compress", tmp_path / "page.png")
    assert (code, "a drawing that is too large to be stored without loss" in said) == (0, True)
    encode = encoding.encode

    def destroying(*arguments: Any) -> list[encoding.Encoded]:
        return [replace(each, sound=False) for each in encode(*arguments)]

    monkeypatch.setattr(encoding, "encode", destroying)
    code, _, said = run("compress", tmp_path / "page.png", "-o", tmp_path / "again.vae")
    assert (code, "page.png: a part of the picture would be destroyed" in said) == (1, True)
    assert not (tmp_path / "again.vae").exists()
    assert run("compress", tmp_path / "page.png", "-o", tmp_path / "b.vae", "--no-lossless")[0] == 0


def test_damage_is_always_a_vae_error(codec: Codec) -> None:
    """Checksums made right again around damaged payloads."""
    parsed = container.parse(codec.encode(drawing()))
    payload, rng = parsed.streams[0], np.random.default_rng(0)
    other = container.Header(
        width=181, height=120, colour=container.RGB, depth=8, model_id=container.NO_MODEL, level=0
    )
    with pytest.raises(vaecodec.CorruptFile, match="does not begin as one of 181 x 120 pixels"):
        codec.decode(container.pack(other, [payload]))
    for trial in range(300):
        broken = bytearray(payload)
        broken[rng.integers(5 if trial % 4 else 0, len(broken))] ^= 1 << rng.integers(8)
        cut = len(broken) if trial % 3 else int(rng.integers(0, len(broken)))
        try:
            decoded = codec.decode(container.pack(parsed.header, [bytes(broken[:cut])]))
            assert decoded.size == (180, 120)
        except vaecodec.VaeError:
            continue
