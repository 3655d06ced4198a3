"""Damaged files: what is intact is decoded, what is lost is filled in and reported."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from PIL import Image

import vaecodec
from bitstream import container
from bitstream.chunks import SIGNATURE, chunk, read_chunks
from bitstream.container import Header
from bitstream.recovery import salvage
from vaecodec.codec import Codec
from vaecodec.pictures.inpaint import fill

HEADER = Header(
    width=1030, height=1030, colour=container.RGB_ALPHA, depth=8, model_id=b"\xc0\xff\xee\x42", level=37
)
STREAMS = [bytes([n]) * (3 + 60 * n) for n in range(1, 5)]
ALPHAS = [bytes([16 + n]) * 5 for n in range(4)]
METADATA = {"icc": b"profile", "xmp": b"<xmp/>"}
FILE = container.pack(HEADER, STREAMS, ALPHAS, METADATA)


def offsets() -> list[int]:
    """Where the chunks of FILE end."""
    return [found.end for found in read_chunks(FILE)]


def damaged(position: int) -> bytes:
    data = bytearray(FILE)
    data[position] ^= 0x10
    return bytes(data)


def test_an_intact_file_is_parsed_as_ever() -> None:
    assert salvage(FILE) == container.parse(FILE)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("where", ["type", "length", "payload", "checksum"])
def test_one_damaged_group_costs_no_other(number: int, where: str) -> None:
    start, end = offsets()[2 + 2 * number], offsets()[3 + 2 * number]
    position = {"type": start, "length": start + 1, "payload": start + 4, "checksum": end - 1}[where]
    found = salvage(damaged(position))
    assert found.lost == {number}
    assert found.streams == [s if i != number else b"" for i, s in enumerate(STREAMS)]
    assert (found.alphas, found.lost_alphas, found.metadata) == (ALPHAS, frozenset(), METADATA)
    assert found.damage


def test_lost_transparency_is_told_apart() -> None:
    found = salvage(damaged(offsets()[4] - 1))
    assert (found.lost, found.lost_alphas, found.streams) == (frozenset(), {0}, STREAMS)


def test_lost_and_inserted_bytes() -> None:
    middle = offsets()[4] + 10  # in the stream of group 1
    for data in (FILE[:middle] + FILE[middle + 7 :], FILE[:middle] + b"???" + FILE[middle:]):
        found = salvage(data)
        assert (found.lost, found.lost_alphas) == ({1}, frozenset())
    found = salvage(FILE[: offsets()[5] + 3])  # cut after group 1, but for its transparency
    assert (found.lost, found.lost_alphas) == ({2, 3}, {1, 2, 3})


def test_damaged_metadata_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = salvage(damaged(offsets()[0] + 4))
    assert (found.metadata, found.streams, found.lost) == ({"xmp": b"<xmp/>"}, STREAMS, frozenset())
    one = container.pack(
        Header(width=9, height=9, colour=1, depth=8, model_id=b"\1\2\3\4", level=5),
        [b"\1\2\3\4"],
        metadata=METADATA,
    )
    start = next(iter(read_chunks(one))).end
    found = salvage(one[: start + 4] + b"?" + one[start + 5 :])
    assert (found.streams, set(found.metadata)) == ([b"\1\2\3\4"], {"xmp"})
    for position in range(8):  # of the length of the first, which leads elsewhere then
        length = one[start + 1] ^ 1 << position
        found = salvage(one[: start + 1] + bytes([length]) + one[start + 2 :])
        assert found.streams == [b"\1\2\3\4"]
    found = salvage(one[: start + 4] + one[start + 5 :])
    assert found.streams == [b"\1\2\3\4"]
    monkeypatch.setattr(container, "MAX_METADATA", 6)
    found = salvage(one)
    assert (found.streams, set(found.metadata)) == ([b"\1\2\3\4"], {"xmp"})
    monkeypatch.undo()
    unpackable = chunk(b"i", b"no zlib")  # its checksum is right
    found = salvage(one[:start] + unpackable + one[start:])
    assert (found.streams, set(found.metadata)) == ([b"\1\2\3\4"], set(METADATA))


def test_what_cannot_be_recovered() -> None:
    with pytest.raises(vaecodec.CorruptFile, match="nothing can be recovered without the header"):
        salvage(damaged(12))
    with pytest.raises(vaecodec.CorruptFile, match="no group of the picture is intact"):
        salvage(FILE[: offsets()[2] + 3])
    with pytest.raises(vaecodec.CorruptFile, match="chunk 'Q' is required but unknown"):
        salvage(FILE[: offsets()[0]] + chunk(b"Q", b"") + FILE[offsets()[0] :])
    with pytest.raises(vaecodec.TruncatedFile, match="ends where a chunk should begin"):
        salvage(FILE[: len(SIGNATURE) + 1])
    with pytest.raises(vaecodec.NotAVaeFile):
        salvage(b"GIF89a" + FILE)
    with pytest.raises(vaecodec.LimitExceeded):
        salvage(damaged(len(FILE) - 1), max_pixels=100)


@pytest.fixture(scope="module")
def wide(codec: Codec) -> bytes:
    """Three groups of photograph."""
    photo = skimage.data.astronaut()[100:160]
    return codec.encode(np.tile(photo, (1, 5, 1))[:, :2100], 50)


def test_a_lost_group_is_filled_in(codec: Codec, wide: bytes) -> None:
    whole = np.asarray(codec.decode(wide)).astype(int)
    ends = [found.end for found in read_chunks(wide)]
    data = bytearray(wide)
    data[ends[1] + 50] ^= 1  # in group 1
    with pytest.raises(vaecodec.CorruptFile, match="checksum of group 1"):
        codec.decode(bytes(data))
    image = codec.decode(bytes(data), recover=True)
    assert image.info["lost"] == [(1024, 0, 2048, 60)]
    assert image.info["damage"].startswith("the checksum of group 1 is wrong")
    found = np.asarray(image).astype(int)
    halo = 16 * codec.loaded().synthesis_halo
    assert np.array_equal(found[:, : 1024 - halo], whole[:, : 1024 - halo])
    assert np.array_equal(found[:, 2048 + halo :], whole[:, 2048 + halo :])
    # What is filled in continues its neighbours: it begins with their colours.
    assert np.abs(found[:, 1024].mean(axis=0) - found[:, 1023].mean(axis=0)).max() < 24
    assert codec.decode(wide, recover=True).info == {}
    for box, lost in (((1000, 3, 1100, 50), (24, 0, 100, 47)), ((1200, 0, 1300, 40), (0, 0, 100, 40))):
        part = codec.decode(bytes(data), recover=True, box=box)
        left, upper, right, lower = box
        assert np.array_equal(np.asarray(part), found[upper:lower, left:right])
        assert part.info["lost"] == [lost]
    small = codec.decode(bytes(data), recover=True, box=(1001, 3, 1101, 50), reduce=2)
    assert small.info["lost"] == [(11, 0, 50, 24)]


def test_a_group_that_does_not_decode_is_lost_too(codec: Codec, wide: bytes) -> None:
    parsed = container.parse(wide)
    streams = [parsed.streams[0], parsed.streams[1] + b"?", parsed.streams[2]]
    data = container.pack(parsed.header, streams)
    with pytest.raises(vaecodec.CorruptFile, match="group 1"):
        codec.decode(data)
    assert codec.decode(data, recover=True).info["lost"] == [(1024, 0, 2048, 60)]
    with pytest.raises(vaecodec.CorruptFile, match="no group of the picture can be decoded"):
        codec.decode(container.pack(parsed.header, [s + b"?" for s in parsed.streams]), recover=True)


def test_filling_in() -> None:
    ramp = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 48, axis=0)
    samples = np.repeat(ramp, 3, axis=2)
    known = np.ones((48, 64), dtype=bool)
    known[10:30, 20:40] = False
    hidden = np.where(known[:, :, None], samples, 77).astype(np.uint8)
    filled = fill(hidden, known)
    assert np.array_equal(filled[known], samples[known])
    assert np.abs(filled.astype(int) - samples).max() < 48
    assert fill(samples, np.ones_like(known)) is samples
    assert np.unique(fill(samples, np.zeros_like(known))).tolist() == [128]
    one = np.zeros_like(known)
    one[7, 9] = True
    assert np.abs(fill(samples, one).astype(int) - samples[7, 9]).max() <= 1


def test_recovery_keeps_the_transparency(codec: Codec) -> None:
    picture = np.dstack(
        (np.tile(skimage.data.astronaut()[:30], (1, 3, 1)), np.full((30, 1536), 9, np.uint8))
    )
    data = bytearray(codec.encode(picture, 30))
    data[-1] ^= 1  # the transparency of group 1
    image = codec.decode(bytes(data), recover=True)
    assert isinstance(image, Image.Image)
    alpha = np.asarray(image)[:, :, 3]
    assert (np.unique(alpha[:, :1024]).tolist(), np.unique(alpha[:, 1024:]).tolist()) == ([9], [255])
    assert image.info["lost"] == [(1024, 0, 1536, 30)]
