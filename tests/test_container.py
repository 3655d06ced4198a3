"""The container, on literal bytes."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitstream import container
from bitstream.chunks import varint
from bitstream.container import Header
from bitstream.errors import (
    CorruptFile,
    LimitExceeded,
    NotAVaeFile,
    TruncatedFile,
    UnsupportedVersion,
    VaeError,
)

HEADER = Header(
    width=300, height=200, colour=container.RGB, depth=8, model_id=bytes.fromhex("c0ffee42"), level=37
)
STREAM = bytes.fromhex("0102030405060708")
LITERAL = bytes.fromhex(
    "89 56 41 45 0d 0a 1a 01"  # signature, version
    "48 0b ac 02 c8 01 01 08 c0 ff ee 42 25 af 9a 4c fe"  # H: 300 x 200, RGB, 8, model, level
    "47 08 01 02 03 04 05 06 07 08 1b 81 dc 7e"  # G: the stream
)


def chunk(kind: bytes, payload: bytes) -> bytes:
    body = kind + bytes([len(payload)]) + payload
    return body + zlib.crc32(body).to_bytes(4, "little")


def test_literal_bytes_both_ways() -> None:
    assert container.pack(HEADER, [STREAM]).hex(" ") == LITERAL.hex(" ")
    parsed = container.parse(LITERAL)
    assert (parsed.header, parsed.streams, parsed.version) == (HEADER, [STREAM], 1)


LOSSLESS_HEADER = Header(
    width=300, height=200, colour=container.RGB, depth=8, model_id=container.NO_MODEL, level=0
)
LOSSLESS = bytes.fromhex(
    "89 56 41 45 0d 0a 1a 01"
    "48 0b ac 02 c8 01 01 08 00 00 00 00 00 ef 70 6b e3"
    "4c 08 01 02 03 04 05 06 07 08 ec 7a 3c 86"
)


def test_literal_bytes_without_loss() -> None:
    assert container.pack(LOSSLESS_HEADER, [STREAM]).hex(" ") == LOSSLESS.hex(" ")
    parsed = container.parse(LOSSLESS)
    assert (parsed.header, parsed.streams) == (LOSSLESS_HEADER, [STREAM])
    assert (parsed.header.lossless, container.parse(LITERAL).header.lossless) == (True, False)
    start, header, picture = LOSSLESS[:8], LOSSLESS[8:25], LOSSLESS[25:]
    with pytest.raises(TruncatedFile, match="1 group chunks expected, 0 found"):
        container.parse(start + header)
    with pytest.raises(CorruptFile, match="1 group chunks expected, 2 found"):
        container.parse(start + header + picture + picture)
    with pytest.raises(CorruptFile, match="not 'L'"):
        container.parse(LITERAL + picture)
    with pytest.raises(CorruptFile, match="not 'G'"):
        container.parse(start + header + LITERAL[25:])
    levelled = header[2:12] + b"\x05"
    with pytest.raises(CorruptFile, match="quality level 5 without a model"):
        container.parse(start + chunk(b"H", levelled) + picture)


def test_fixed_cost_of_a_plain_image_is_at_most_33_bytes() -> None:
    assert len(LITERAL) - len(STREAM) <= 33
    largest = Header(
        width=1024, height=1024, colour=container.RGB, depth=8, model_id=b"\xff" * 4, level=63
    )  # largest in one group
    longest = b"\x01" * (2**21 - 1)
    assert len(container.pack(largest, [longest])) - len(longest) == 33


@pytest.mark.parametrize("file", [LITERAL, LOSSLESS], ids=["latents", "lossless"])
def test_every_truncation_is_an_error(file: bytes) -> None:
    for length in range(len(file)):
        with pytest.raises(NotAVaeFile if length == 0 else TruncatedFile):
            container.parse(file[:length])


@pytest.mark.parametrize("file", [LITERAL, LOSSLESS], ids=["latents", "lossless"])
def test_every_flipped_byte_is_an_error(file: bytes) -> None:
    for position in range(len(file)):
        damaged = bytearray(file)
        damaged[position] ^= 0x55
        with pytest.raises(VaeError):
            container.parse(bytes(damaged))


def test_errors_name_what_is_wrong() -> None:
    start, header, group = LITERAL[:8], LITERAL[8:25], LITERAL[25:]
    with pytest.raises(NotAVaeFile, match="empty"):
        container.parse(b"")
    with pytest.raises(NotAVaeFile, match="89 50 4e 47"):
        container.parse(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(CorruptFile, match="text mode"):
        container.parse(LITERAL.replace(b"\r\n", b"\n"))
    with pytest.raises(UnsupportedVersion, match="version 9"):
        container.parse(LITERAL[:7] + b"\x09" + LITERAL[8:])
    with pytest.raises(CorruptFile, match="checksum of group 0"):
        container.parse(start + header + group[:-1] + b"\x00")
    with pytest.raises(CorruptFile, match="first chunk"):
        container.parse(start + group + header)
    with pytest.raises(CorruptFile, match="second header"):
        container.parse(start + header + header + group)
    with pytest.raises(CorruptFile, match="'Q' is required but unknown"):
        container.parse(start + header + chunk(b"Q", b"") + group)
    with pytest.raises(TruncatedFile, match="1 group chunks expected, 0 found"):
        container.parse(start + header)
    with pytest.raises(CorruptFile, match="1 group chunks expected, 2 found"):
        container.parse(start + header + group + group)
    with pytest.raises(LimitExceeded, match="300 x 200"):
        container.parse(LITERAL, max_pixels=1000)


@pytest.mark.parametrize(
    ("width", "height", "limit", "message"),
    [
        (1, 2**24, 2**28, None),
        (1, 2**24 + 1, 2**28, "1 x 16777217 pixels, as costly as 268435712, the limit is 268435456"),
        (2**28, 1, 2**28, "as costly as 4294967296"),
        (1, 2**16, 2**16, None),  # such latents are small
        (1, 2**16 + 1, 2**17, "as costly as 1048832, the limit is 131072"),
        (300, 200, 59_999, "300 x 200 pixels, the limit is 59999"),
    ],
)
def test_limits_count_whole_positions(width: int, height: int, limit: int, message: str | None) -> None:
    if message is None:
        container.check_size(width, height, limit)
        return
    with pytest.raises(LimitExceeded, match=message):
        container.check_size(width, height, limit)


def test_unknown_ancillary_chunks_are_skipped() -> None:
    data = LITERAL[:25] + chunk(b"q", b"whatever") + LITERAL[25:] + chunk(b"z", b"")
    assert container.parse(data).streams == [STREAM]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("00 01 01 08 deadbeef 00", "dimensions 0 x 1"),
        ("01 01 04 08 deadbeef 00", "colour mode 4"),
        ("01 01 01 10 deadbeef 00", "depth of 16"),
        ("01 01 01 08 deadbeef 40", "level 64"),
        ("01 01 01 08 deadbeef", "too short"),
        ("01 01 01 08 deadbeef 00 00", "1 bytes too many"),
        ("81 00 01 01 08 deadbeef 00", "shortest form"),
        ("ff ff ff ff ff 01 01 01 08 deadbeef 00", "longer than 5 bytes"),
        ("81 08 01 01 08 deadbeef 00 05", "fewer than 2 group lengths"),
        ("81 08 01 01 08 deadbeef 00 05 08", "lengths in the header differ"),
    ],
)
def test_impossible_headers(payload: str, message: str) -> None:
    data = LITERAL[:8] + chunk(b"H", bytes.fromhex(payload)) + LITERAL[25:] * 2
    with pytest.raises(VaeError, match=message):
        container.parse(data)


def test_huge_dimensions_cost_nothing() -> None:
    payload = bytes.fromhex("ffffffff07 ffffffff07 01 08 deadbeef 00")
    data = LITERAL[:8] + chunk(b"H", payload) + LITERAL[25:]
    with pytest.raises(LimitExceeded):
        container.parse(data)
    with pytest.raises(CorruptFile, match="group lengths"):
        container.parse(data, max_pixels=2**63)


@given(
    st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 63), st.binary(min_size=4, max_size=4),
    st.data(),
)  # fmt: skip
def test_round_trip(width: int, height: int, level: int, model_id: bytes, data: st.DataObject) -> None:
    if model_id == container.NO_MODEL:
        level = 0
    header = Header(
        width=width, height=height, colour=container.GREY, depth=8, model_id=model_id, level=level
    )
    size = header.group_count
    streams = data.draw(st.lists(st.binary(max_size=20), min_size=size, max_size=size))
    parsed = container.parse(container.pack(header, streams))
    assert (parsed.header, parsed.streams) == (header, streams)


@given(st.binary(max_size=200))
def test_garbage_after_the_signature(tail: bytes) -> None:
    with pytest.raises(VaeError):
        container.parse(LITERAL[:8] + tail)


FULL_HEADER = Header(
    width=300,
    height=200,
    colour=container.RGB_ALPHA,
    depth=8,
    model_id=bytes.fromhex("c0ffee42"),
    level=37,
)
METADATA = {"icc": b"profile" * 9, "exif": b"II*\0", "xmp": b"<xmp/>"}
ALPHA = bytes.fromhex("a0a1a2")


def test_literal_bytes_with_transparency_and_metadata() -> None:
    expected = b"".join(
        (
            LITERAL[:8],
            chunk(b"H", bytes.fromhex("ac02 c801 03 08 c0ffee42 25")),
            *(
                chunk(kind, zlib.compress(METADATA[name], 9))
                for kind, name in container.METADATA.items()
            ),
            chunk(b"G", STREAM),
            chunk(b"A", ALPHA),
        )
    )
    assert container.pack(FULL_HEADER, [STREAM], [ALPHA], METADATA).hex() == expected.hex()
    parsed = container.parse(expected)
    assert (parsed.header, parsed.streams, parsed.alphas) == (FULL_HEADER, [STREAM], [ALPHA])
    assert parsed.metadata == METADATA


def test_bad_metadata_and_transparency() -> None:
    start, group = LITERAL[:25], LITERAL[25:]
    packed = zlib.compress(b"profile")
    for payload, message in (
        (b"no zlib", "icc chunk cannot be unpacked"),
        (packed[:-3], "not exactly one zlib stream"),
        (packed + b"x", "not exactly one zlib stream"),
    ):
        with pytest.raises(CorruptFile, match=message):
            container.parse(start + chunk(b"i", payload) + group)
    with pytest.raises(CorruptFile, match="a second one, or comes after"):
        container.parse(start + chunk(b"x", packed) * 2 + group)
    with pytest.raises(CorruptFile, match="a second one, or comes after"):
        container.parse(start + group + chunk(b"e", packed))
    with pytest.raises(CorruptFile, match="'G' is the chunk expected of group 0, not 'A'"):
        container.parse(start + chunk(b"A", ALPHA) + group)
    full = container.pack(FULL_HEADER, [STREAM], [ALPHA])
    with pytest.raises(TruncatedFile, match="2 group chunks expected, 1 found"):
        container.parse(full[: -len(chunk(b"A", ALPHA))])
    with pytest.raises(ValueError):
        container.pack(FULL_HEADER, [STREAM])


def test_metadata_cannot_unpack_without_bound() -> None:
    limit = container.MAX_METADATA
    bomb = zlib.compress(bytes(limit + 1), 9)  # 16 KB
    body = b"i" + varint(len(bomb)) + bomb
    data = LITERAL[:25] + body + zlib.crc32(body).to_bytes(4, "little") + LITERAL[25:]
    with pytest.raises(LimitExceeded, match="unpacks to more than"):
        container.parse(data)
    with pytest.raises(LimitExceeded, match="bytes of exif exceed"):
        container.pack(HEADER, [STREAM], metadata={"exif": bytes(limit + 1)})
