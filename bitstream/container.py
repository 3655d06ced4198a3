"""The container: signature, header chunk, one chunk per group of latents (or one, without loss).

    signature  89 56 41 45 0D 0A 1A        non-ASCII byte, "VAE", a line ending and ^Z, as in PNG
    version    01
    chunk*     type (1 byte) | length (varint) | payload | CRC-32 of all before it in the chunk

An uppercase type is critical: a reader that does not know it must refuse the file. A lowercase type
is ancillary: it may be skipped. Integers are little-endian, varints are LEB128.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from bitstream.errors import (
    CorruptFile,
    LimitExceeded,
    NotAVaeFile,
    TruncatedFile,
    UnsupportedVersion,
    VaeError,
)

SIGNATURE = b"\x89VAE\r\n\x1a"
VERSION = 1

#: Pixels along a group's side: a group is 64 x 64 latent positions of 16 x 16 pixels.
GROUP_PIXELS = 1024
MAX_SIDE = 2**31 - 1
MAX_PIXELS = 2**28

#: In place of a model id: the picture is stored without loss.
NO_MODEL = bytes(4)

GREY, RGB = 0, 1
COLOURS = {GREY: "grey", RGB: "RGB"}
_LEVELS = 64
_VARINT_BYTES = 5


@dataclass(frozen=True)
class Header:
    """What the header chunk says, group lengths aside.

    `width`, `height`: pixels, 1..2^31 - 1. `colour`: GREY or RGB. `depth`: bits per sample (8).
    `model_id`: 4 bytes, or NO_MODEL. `level`: quality level, 0..63; 0 without a model.
    """

    width: int
    height: int
    colour: int
    depth: int
    model_id: bytes
    level: int

    @property
    def lossless(self) -> bool:
        """Whether the picture is stored without loss, in one chunk and no groups."""
        return self.model_id == NO_MODEL

    @property
    def group_count(self) -> int:
        """How many streams hold the picture."""
        if self.lossless:
            return 1
        return -(-self.height // GROUP_PIXELS) * -(-self.width // GROUP_PIXELS)


@dataclass(frozen=True)
class Container:
    """A parsed file: the header, and the stream of every group in raster order (of the whole picture,
    if it is stored without loss)."""

    header: Header
    streams: list[bytes]
    version: int = VERSION


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, offset: int, what: str) -> tuple[int, int]:
    value = 0
    for i in range(_VARINT_BYTES):
        if offset + i >= len(data):
            raise TruncatedFile(f"the file ends inside {what}, after {len(data)} bytes")
        byte = data[offset + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            if byte == 0 and i > 0:
                raise CorruptFile(f"{what} is not written in its shortest form")
            return value, offset + i + 1
    raise CorruptFile(f"{what} is longer than {_VARINT_BYTES} bytes")


def _chunk(kind: bytes, payload: bytes) -> bytes:
    body = kind + _varint(len(payload)) + payload
    return body + zlib.crc32(body).to_bytes(4, "little")


def pack(header: Header, streams: list[bytes]) -> bytes:
    """Return the bytes of a file. `streams`: as in `Container`."""
    if len(streams) != header.group_count:
        raise ValueError(f"{header.group_count} group streams expected, {len(streams)} given")
    payload = b"".join(
        (
            _varint(header.width),
            _varint(header.height),
            bytes((header.colour, header.depth)),
            header.model_id,
            bytes((header.level,)),
            # Lets a reader find every group without walking the chunks; one group needs no map.
            b"".join(_varint(len(s)) for s in streams) if len(streams) > 1 else b"",
        )
    )
    kind = b"L" if header.lossless else b"G"
    chunks = [_chunk(b"H", payload), *(_chunk(kind, stream) for stream in streams)]
    return SIGNATURE + bytes((VERSION,)) + b"".join(chunks)


def _check_signature(data: bytes) -> None:
    start = data[: len(SIGNATURE)]
    if not start:
        raise NotAVaeFile("the file is empty")
    if start != SIGNATURE[: len(start)]:
        if start[:4] == SIGNATURE[:4]:
            raise CorruptFile("the file was altered by a transfer in text mode")
        raise NotAVaeFile(
            f"not a .vae file: the signature {SIGNATURE.hex(' ')} was expected, "
            f"{start.hex(' ')} was found"
        )
    if len(data) < len(SIGNATURE) + 1:
        raise TruncatedFile(f"the file ends inside its signature, after {len(data)} bytes")
    version = data[len(SIGNATURE)]
    if version > VERSION:
        raise UnsupportedVersion(
            f"the file has format version {version}, this vaecodec reads versions up to {VERSION}"
        )
    if version == 0:
        raise CorruptFile("format version 0 does not exist")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Type, payload and whether the checksum is right, chunk by chunk."""
    offset = len(SIGNATURE) + 1
    while offset < len(data):
        start, kind = offset, data[offset : offset + 1]
        if not kind.isalpha():
            raise CorruptFile(f"a chunk at byte {start} has the invalid type {kind!r}")
        length, offset = _read_varint(data, offset + 1, f"the length of the chunk at byte {start}")
        end = offset + length + 4
        if end > len(data):
            raise TruncatedFile(
                f"the chunk {kind.decode()!r} at byte {start} needs {end - start} bytes, "
                f"{len(data) - start} are left"
            )
        body = data[start : end - 4]
        intact = zlib.crc32(body) == int.from_bytes(data[end - 4 : end], "little")
        yield kind, data[offset : end - 4], intact
        offset = end


def _parse_header(payload: bytes, max_pixels: int) -> tuple[Header, list[int] | None]:
    width, offset = _read_varint(payload, 0, "the width")
    height, offset = _read_varint(payload, offset, "the height")
    fixed = payload[offset : offset + 7]
    if len(fixed) < 7:
        raise CorruptFile("the header chunk is too short")
    header = Header(width, height, fixed[0], fixed[1], bytes(fixed[2:6]), fixed[6])
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise CorruptFile(f"the dimensions {width} x {height} are outside 1..{MAX_SIDE}")
    if width * height > max_pixels:
        raise LimitExceeded(
            f"the picture has {width} x {height} pixels, the limit is {max_pixels} pixels"
        )
    if header.colour not in COLOURS:
        raise CorruptFile(f"colour mode {header.colour} does not exist")
    if header.depth != 8:
        raise CorruptFile(f"a depth of {header.depth} bits does not exist, only 8")
    if header.level >= _LEVELS:
        raise CorruptFile(f"quality level {header.level} is outside 0..{_LEVELS - 1}")
    offset += 7
    if header.lossless and header.level:
        raise CorruptFile(f"quality level {header.level} without a model")
    count = header.group_count
    if count == 1:
        lengths = None
    else:
        if len(payload) - offset < count:
            raise CorruptFile(f"the header lists fewer than {count} group lengths")
        lengths = []
        for _ in range(count):
            length, offset = _read_varint(payload, offset, "a group length")
            lengths.append(length)
    if offset != len(payload):
        raise CorruptFile(f"the header chunk has {len(payload) - offset} bytes too many")
    return header, lengths


def parse(data: bytes, max_pixels: int = MAX_PIXELS) -> Container:
    """Take a file apart.

    Raises NotAVaeFile, UnsupportedVersion, TruncatedFile, CorruptFile or LimitExceeded. Nothing is
    allocated beyond a small multiple of `len(data)`.
    """
    data = bytes(data)
    _check_signature(data)
    header: Header | None = None
    lengths: list[int] | None = None
    streams: list[bytes] = []
    for kind, payload, intact in _chunks(data):
        if header is None and kind != b"H":
            raise CorruptFile(f"the first chunk is {kind.decode()!r}, not the header 'H'")
        if kind in (b"G", b"L"):
            if not intact:
                raise CorruptFile(f"the checksum of group {len(streams)} is wrong")
            if header is not None and header.lossless != (kind == b"L"):
                raise CorruptFile(f"the header does not announce a chunk {kind.decode()!r}")
            streams.append(payload)
        elif not intact:
            raise CorruptFile(f"the checksum of chunk {kind.decode()!r} is wrong")
        elif kind == b"H":
            if header is not None:
                raise CorruptFile("the file has a second header chunk")
            header, lengths = _parse_header(payload, max_pixels)
        elif kind.isupper():
            raise CorruptFile(f"chunk {kind.decode()!r} is required but unknown to this vaecodec")
    if header is None:
        raise TruncatedFile(f"the file ends before its header, after {len(data)} bytes")
    if len(streams) < header.group_count:
        raise TruncatedFile(f"{header.group_count} groups expected, {len(streams)} found")
    if len(streams) > header.group_count:
        raise CorruptFile(f"{header.group_count} groups expected, {len(streams)} found")
    if lengths is not None and lengths != [len(stream) for stream in streams]:
        raise CorruptFile("the group lengths in the header differ from those of the groups")
    return Container(header, streams, data[len(SIGNATURE)])


def model_id_text(model_id: bytes) -> str:
    """How a model id is written for people: 8 hexadecimal digits."""
    if len(model_id) != 4:
        raise VaeError(f"a model id has 4 bytes, not {len(model_id)}")
    return model_id.hex()
