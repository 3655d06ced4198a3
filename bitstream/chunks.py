"""Signature, version and chunks: the frame of every `.vae` file, whatever it holds.

signature  89 56 41 45 0D 0A 1A        non-ASCII byte, "VAE", a line ending and ^Z, as in PNG
version    01
chunk*     type (1 byte) | length (varint) | payload | CRC-32 of the three fields before it
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from bitstream.errors import CorruptFile, NotAVaeFile, TruncatedFile, UnsupportedVersion

SIGNATURE = b"\x89VAE\r\n\x1a"
VERSION = 1
#: Offset of the first chunk.
START = len(SIGNATURE) + 1

_VARINT_BYTES = 5


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One chunk of a file. `stated`, `found`: its checksum as stored and as computed. `end`: the offset
    after it."""

    kind: bytes
    payload: bytes
    stated: int
    found: int
    end: int

    @property
    def intact(self) -> bool:
        """Whether the checksum matches."""
        return self.stated == self.found

    def check(self, what: str) -> None:
        """Raise CorruptFile if the checksum does not match; `what` names the chunk."""
        if not self.intact:
            raise CorruptFile(
                f"the checksum of {what} is wrong: {self.stated:08x} is stated, {self.found:08x} found"
            )


def varint(value: int) -> bytes:
    """Encode a non-negative integer as unsigned LEB128."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, offset: int, what: str) -> tuple[int, int]:
    """Return the value at `offset` and the offset after it.

    Raises TruncatedFile or CorruptFile, with `what` as the name of the field.
    """
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


def chunk(kind: bytes, payload: bytes) -> bytes:
    """Return the bytes of a chunk."""
    body = kind + varint(len(payload)) + payload
    return body + zlib.crc32(body).to_bytes(4, "little")


def check_signature(data: bytes) -> None:
    """Raise NotAVaeFile, UnsupportedVersion, TruncatedFile or CorruptFile unless `data` begins with a
    signature and version that can be read."""
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


def read_chunk(data: bytes, start: int) -> Chunk:
    """Parse the chunk at offset `start`. Raises TruncatedFile or CorruptFile if none can be there."""
    kind = data[start : start + 1]
    if not kind:
        raise TruncatedFile(f"the file ends where a chunk should begin, after {len(data)} bytes")
    if not kind.isalpha():
        raise CorruptFile(f"a chunk at byte {start} has the invalid type {kind!r}")
    length, offset = read_varint(data, start + 1, f"the length of the chunk at byte {start}")
    end = offset + length + 4
    if end > len(data):
        raise TruncatedFile(
            f"the chunk {kind.decode()!r} at byte {start} needs {end - start} bytes, "
            f"{len(data) - start} are left"
        )
    stated = int.from_bytes(data[end - 4 : end], "little")
    return Chunk(
        kind=kind,
        payload=data[offset : end - 4],
        stated=stated,
        found=zlib.crc32(data[start : end - 4]),
        end=end,
    )


def read_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield all chunks of a file, in order. Raises as `read_chunk` does."""
    offset = START
    while offset < len(data):
        found = read_chunk(data, offset)
        yield found
        offset = found.end
