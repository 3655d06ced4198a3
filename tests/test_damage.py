"""Hostile and damaged files end in a VaeError: never in a crash, a hang or a flood of memory."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import vaecodec
from bitstream import container
from bitstream.chunks import START
from vaecodec.codec import Codec
from vaecodec.pictures.metadata import EXIF_PREFIX
from vaecodec.uses.sampling import sample

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools" / "fuzz"))
import mutations  # noqa: E402

CORPUS = mutations.corpus()
SMALL = (ROOT / "tests" / "golden" / "lossless-grey.vae").read_bytes()


@pytest.fixture(scope="module")
def tiny(codec: Codec) -> bytes:
    """A file with every kind of chunk that one group can have."""
    y, x = np.mgrid[0:9, 0:12]
    picture = np.stack([20 * y, 20 * x, 9 * (x + y), 255 - 9 * x], axis=2).astype(np.uint8)
    image = Image.fromarray(picture)
    image.info.update({"icc_profile": b"p", "xmp": b"x"})
    return codec.encode(image, 90, lossless=False)


def attempt(codec: Codec, data: bytes, recover: bool = False) -> bool:
    """Whether it decodes; anything but a picture or a VaeError fails the test."""
    try:
        image = codec.decode(data, max_pixels=2**16, recover=recover)
    except vaecodec.VaeError as error:
        assert str(error)
        return False
    assert image.width * image.height <= 2**16
    return True


def test_every_truncation(codec: Codec, tiny: bytes) -> None:
    for file in (tiny, SMALL):
        for length in range(len(file)):
            assert not attempt(codec, file[:length])
            attempt(codec, file[:length], recover=True)


def test_every_flipped_byte(codec: Codec, tiny: bytes) -> None:
    for file in (tiny, SMALL):
        for position in range(len(file)):
            data = bytearray(file)
            data[position] ^= 0x5A
            assert not attempt(codec, bytes(data))
            attempt(codec, bytes(data), recover=True)


def test_every_flipped_byte_with_the_checksums_repaired(codec: Codec, tiny: bytes) -> None:
    for file in (tiny, SMALL):
        chunks = mutations.split(file)
        for place, (kind, payload) in enumerate(chunks):
            for position in range(len(payload)):
                changed = bytearray(payload)
                changed[position] ^= 0x5A
                parts = [*chunks[:place], (kind, bytes(changed)), *chunks[place + 1 :]]
                attempt(codec, mutations.join(file[:START], parts))


def test_mutated_files(codec: Codec) -> None:
    """A few of what tools/fuzz/many.py does by the hundred thousand."""
    random, files = Random(0), mutations.seeds()
    for _ in range(400):
        attempt(codec, mutations.mutate(random.choice(files), files, random), random.random() < 0.3)


@pytest.mark.parametrize("name", CORPUS)
def test_what_fuzzing_reached(codec: Codec, name: str) -> None:
    """One file for every outcome that coverage-guided fuzzing came to."""
    for recover in (False, True):
        attempt(codec, CORPUS[name], recover)


def test_large_dimensions_in_a_small_file(codec: Codec, tiny: bytes) -> None:
    """What a header announces is refused, or costs no more than a picture of that size."""
    header = container.parse(tiny).header
    large = container.Header(
        width=2**31 - 1,
        height=2**31 - 1,
        colour=header.colour,
        depth=8,
        model_id=header.model_id,
        level=3,
    )
    start = mutations.split(container.pack(container.parse(tiny).header, [b""], [b""]))
    payload = b"\xff\xff\xff\xff\x07" * 2 + start[0][1][-7:]
    data = mutations.join(tiny[:START], [(b"H", payload), *start[1:]])
    with pytest.raises(vaecodec.LimitExceeded, match="2147483647 x 2147483647 pixels"):
        codec.decode(data)
    with pytest.raises(vaecodec.CorruptFile, match="fewer than"):
        codec.decode(data, max_pixels=2**62)
    assert large.group_count == 2**42


@pytest.mark.parametrize("stream", [b"", b"\1\0\0\0"])
def test_streams_too_short_for_their_groups(
    codec: Codec, stream: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some thousand bytes announce 268 megapixels, in groups that any sequence of words would be: they
    are refused before anything of that size is computed."""
    header = container.parse(codec.encode(np.zeros((64, 64, 3), np.uint8), 60, lossless=False)).header
    large = dataclasses.replace(header, width=16384, height=16384)
    data = container.pack(large, [stream] * large.group_count)
    assert len(data) < 5000
    model = codec.loaded(header.model_id)
    monkeypatch.setattr(model.symbols, "decode", None)
    monkeypatch.setattr(model, "synthesise", None)
    with pytest.raises(
        vaecodec.CorruptFile, match=r"^group 0: a stream of \d bytes is too short for it"
    ):
        codec.decode(data)
    with pytest.raises(vaecodec.CorruptFile, match="no group of the picture can be decoded"):
        codec.decode(data, recover=True)
    for work in (codec.decode_symbols, lambda data: next(sample(like=data, codec=codec))):
        with pytest.raises(vaecodec.CorruptFile, match="group 0: a stream of"):
            work(data)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    channels=st.integers(1, 4),
    quality=st.integers(1, 100),
    lossless=st.sampled_from([None, True, False]),
    # EXIF that begins with its prefix is that without it (tests/test_pictures.py).
    metadata=st.dictionaries(
        st.sampled_from(["exif", "xmp"]),
        st.binary(min_size=1, max_size=99).filter(lambda data: not data.startswith(EXIF_PREFIX)),
    ),
    seed=st.integers(0, 9),
)
def test_any_picture_comes_back(
    codec: Codec,
    height: int,
    width: int,
    channels: int,
    quality: int,
    lossless: bool | None,
    metadata: dict[str, bytes],
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    samples = random.integers(0, 256, (1 + height // 9, 1 + width // 9, channels)).astype(np.uint8)
    samples = np.kron(samples, np.ones((9, 9, 1), np.uint8))[:height, :width]
    image = Image.fromarray(samples[:, :, 0] if channels == 1 else samples)
    image.info.update(metadata)
    decoded = codec.decode(codec.encode(image, quality, lossless=lossless))
    assert (decoded.size, decoded.mode) == (image.size, image.mode)
    expected = {k: v if k == "xmp" else EXIF_PREFIX + v for k, v in metadata.items()}
    assert decoded.info == expected
    found = np.asarray(decoded).reshape(samples.shape)
    if channels in (2, 4):
        assert np.array_equal(found[:, :, -1], samples[:, :, -1])
    assert not lossless or np.array_equal(found, samples)
