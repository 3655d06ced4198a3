"""The container: header, metadata, and the chunks of every group (a lossless picture has one chunk).

An uppercase type is critical: a reader that does not know it must refuse the file. A lowercase type
is ancillary: it may be skipped. Integers are little-endian, varints are LEB128.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bitstream.chunks import (
    SIGNATURE,
    START,
    VERSION,
    check_signature,
    chunk,
    read_chunks,
    read_varint,
    varint,
)
from bitstream.errors import CorruptFile, LimitExceeded, TruncatedFile, VaeError

T = TypeVar("T")

#: Side of a latent position in pixels, and of a group of 64 x 64 of them.
POSITION_PIXELS = 16
GROUP_PIXELS = 64 * POSITION_PIXELS
MAX_SIDE = 2**31 - 1
MAX_PIXELS = 2**28
#: Whatever the limit, a latent of so many pixels does no harm.
NARROW_PIXELS = 2**20

#: Takes the place of the model id in files that store the picture losslessly.
NO_MODEL = bytes(4)

GREY, RGB, GREY_ALPHA, RGB_ALPHA = range(4)
COLOURS = {GREY: "grey", RGB: "RGB", GREY_ALPHA: "grey with alpha", RGB_ALPHA: "RGB with alpha"}

#: Metadata chunks, each one zlib stream, and the most bytes that one may unpack to.
METADATA = {b"i": "icc", b"e": "exif", b"x": "xmp"}
MAX_METADATA = 2**24

#: Types of the chunks that hold the picture.
GROUP_KINDS = (b"G", b"A", b"L")

#: Quality levels are 0..LEVELS - 1.
LEVELS = 64


@dataclass(frozen=True, kw_only=True)
class Header:
    """Contents of the header chunk, except for group lengths.

    `width`, `height`: pixels, 1..2^31 - 1. `colour`: one of COLOURS. `depth`: bits per sample (8).
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
        """Whether the picture is stored losslessly, in one chunk and without groups."""
        return self.model_id == NO_MODEL

    @property
    def grey(self) -> bool:
        """Whether the picture is grey: red, green and blue are equal."""
        return self.colour in (GREY, GREY_ALPHA)

    @property
    def alpha(self) -> bool:
        """Whether the picture has transparency."""
        return self.colour in (GREY_ALPHA, RGB_ALPHA)

    @property
    def group_count(self) -> int:
        """Number of groups; 1 if the picture is lossless."""
        if self.lossless:
            return 1
        return -(-self.height // GROUP_PIXELS) * -(-self.width // GROUP_PIXELS)

    @property
    def group_kinds(self) -> list[bytes]:
        """Types of the chunks that make up a group, in order."""
        if self.lossless:
            return [b"L"]
        return [b"G", b"A"] if self.alpha else [b"G"]

    @property
    def chunk_count(self) -> int:
        """Number of chunks that hold the picture."""
        return self.group_count * len(self.group_kinds)

    def split(self, payloads: Sequence[T]) -> tuple[list[T], list[T]]:
        """Split items, one per group chunk, by kind: latents (or lossless picture) and transparency."""
        step = len(self.group_kinds)
        return list(payloads[::step]), list(payloads[1::2] if step == 2 else [])


@dataclass(frozen=True, kw_only=True)
class Container:
    """A parsed file: the header, and the stream of every group in raster order (a lossless picture has
    a single stream).

    `alphas`: the transparency of every group, if there is any. `metadata`: whichever of "icc", "exif"
    and "xmp" are present. After a recovery, `damage` says what was wrong, and `lost` and `lost_alphas`
    hold the numbers of the groups whose streams were damaged or missing (they are empty here).
    `trailing`: number of bytes after the last chunk.
    """

    header: Header
    streams: list[bytes]
    alphas: list[bytes] = field(default_factory=list)
    metadata: dict[str, bytes] = field(default_factory=dict)
    version: int = VERSION
    lost: frozenset[int] = frozenset()
    lost_alphas: frozenset[int] = frozenset()
    damage: str = ""
    trailing: int = 0


def pack(
    header: Header,
    streams: Sequence[bytes],
    alphas: Sequence[bytes] = (),
    metadata: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return the bytes of a file. Arguments are as in `Container`; empty metadata is left out."""
    kinds = header.group_kinds
    groups = list(zip(streams, alphas, strict=True)) if len(kinds) == 2 else [(s,) for s in streams]
    if len(groups) != header.group_count:
        raise ValueError(f"{header.group_count} group streams expected, {len(groups)} given")
    payload = b"".join(
        (
            varint(header.width),
            varint(header.height),
            bytes((header.colour, header.depth)),
            header.model_id,
            bytes((header.level,)),
            # Lets a reader find every group without walking the chunks; a single group needs no map.
            b"".join(varint(len(s)) for group in groups for s in group) if len(groups) > 1 else b"",
        )
    )
    chunks = [chunk(b"H", payload)]
    for kind, name in METADATA.items():
        if content := (metadata or {}).get(name):
            if len(content) > MAX_METADATA:
                raise LimitExceeded(f"{len(content)} bytes of {name} exceed the {MAX_METADATA} allowed")
            chunks.append(chunk(kind, zlib.compress(content, 9)))
    for group in groups:
        chunks += [chunk(kind, stream) for kind, stream in zip(kinds, group, strict=True)]
    return SIGNATURE + bytes((VERSION,)) + b"".join(chunks)


def parse_header(payload: bytes, max_pixels: int) -> tuple[Header, list[int]]:
    """Parse the header chunk: return the header, and the lengths of all group chunks if there are two
    or more groups.

    Raises CorruptFile or LimitExceeded.
    """
    width, offset = _field(payload, 0, "the width")
    height, offset = _field(payload, offset, "the height")
    fixed = payload[offset : offset + 7]
    if len(fixed) < 7:
        raise CorruptFile("the header chunk is too short")
    header = Header(
        width=width,
        height=height,
        colour=fixed[0],
        depth=fixed[1],
        model_id=bytes(fixed[2:6]),
        level=fixed[6],
    )
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise CorruptFile(f"the dimensions {width} x {height} are outside 1..{MAX_SIDE}")
    check_size(width, height, max_pixels)
    if header.colour not in COLOURS:
        raise CorruptFile(f"colour mode {header.colour} does not exist")
    if header.depth != 8:
        raise CorruptFile(f"a depth of {header.depth} bits does not exist, only 8")
    if header.level >= LEVELS:
        raise CorruptFile(f"quality level {header.level} is outside 0..{LEVELS - 1}")
    if header.lossless and header.level:
        raise CorruptFile(f"quality level {header.level} without a model")
    offset += 7
    lengths: list[int] = []
    if header.group_count > 1:
        if len(payload) - offset < header.chunk_count:
            raise CorruptFile(f"the header lists fewer than {header.chunk_count} group lengths")
        for _ in range(header.chunk_count):
            length, offset = _field(payload, offset, "a group length")
            lengths.append(length)
    if offset != len(payload):
        raise CorruptFile(f"the header chunk has {len(payload) - offset} bytes too many")
    return header, lengths


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise LimitExceeded if a picture has more than `max_pixels`, or its latent more positions, each
    counted as the pixels that it stands for; latents of up to NARROW_PIXELS are always allowed."""
    text = f"the picture has {width} x {height} pixels"
    if width * height > max_pixels:
        raise LimitExceeded(f"{text}, the limit is {max_pixels} pixels")
    padded = POSITION_PIXELS**2 * -(-width // POSITION_PIXELS) * -(-height // POSITION_PIXELS)
    if padded > max(max_pixels, NARROW_PIXELS):
        raise LimitExceeded(f"{text}, as costly as {padded}, the limit is {max_pixels} pixels")


def announced_pixels(start: bytes) -> int:
    """Return the number of pixels that a file's first bytes (32 suffice) announce, unchecked; 0 if they
    announce none."""
    try:
        check_signature(start)
        _, offset = read_varint(start, START + 1, "the length of the first chunk")
        width, offset = read_varint(start, offset, "the width")
        height, _ = read_varint(start, offset, "the height")
    except VaeError:
        return 0
    return width * height


def _field(payload: bytes, offset: int, what: str) -> tuple[int, int]:
    try:
        return read_varint(payload, offset, what)
    except TruncatedFile as error:  # the chunk is complete, so it was written too short
        raise CorruptFile(f"the header chunk ends inside {what}") from error


def unpack_metadata(name: str, payload: bytes) -> bytes:
    """Decompress a metadata chunk. Raises CorruptFile or LimitExceeded."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(payload, MAX_METADATA)
    except zlib.error as error:
        raise CorruptFile(f"the {name} chunk cannot be unpacked ({error})") from error
    if unpacker.unconsumed_tail:
        raise LimitExceeded(f"the {name} chunk unpacks to more than {MAX_METADATA} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise CorruptFile(f"the {name} chunk is not exactly one zlib stream")
    return content


def check_known(kind: bytes) -> None:
    """Raise CorruptFile if chunks of an upper-case type, which must be understood, are not."""
    if kind not in (b"H", *GROUP_KINDS):
        raise CorruptFile(f"chunk {kind.decode()!r} is required but unknown to this vaecodec")


def parse(data: bytes, max_pixels: int = MAX_PIXELS, *, head_only: bool = False) -> Container:
    """Parse a file. `head_only`: stop where the picture begins, and leave `streams` empty.

    Raises NotAVaeFile, UnsupportedVersion, TruncatedFile, CorruptFile or LimitExceeded. Allocates no
    more than a small multiple of `len(data)` + MAX_METADATA.
    """
    data = bytes(data)
    check_signature(data)
    chunks = read_chunks(data)
    head = next(chunks, None)
    if head is None:
        raise TruncatedFile(f"the file ends before its header, after {len(data)} bytes")
    if head.kind != b"H":
        raise CorruptFile(f"the first chunk is {head.kind.decode()!r}, not the header 'H'")
    head.check("the header")
    header, lengths = parse_header(head.payload, max_pixels)
    kinds = header.group_kinds
    metadata: dict[str, bytes] = {}
    groups: list[bytes] = []
    end = head.end
    while True:
        try:
            found = next(chunks, None)
        except CorruptFile:
            if len(groups) < header.chunk_count:
                raise
            break  # the picture is complete: what follows is not part of the file
        if found is None:
            break
        end, kind = found.end, found.kind
        if kind in GROUP_KINDS and head_only:
            break
        if kind in GROUP_KINDS:
            number, part = divmod(len(groups), len(kinds))
            found.check(f"group {number}")
            if kind != kinds[part]:
                raise CorruptFile(
                    f"{kinds[part].decode()!r} is the chunk expected of group {number}, "
                    f"not {kind.decode()!r}"
                )
            groups.append(found.payload)
            continue
        found.check(f"chunk {kind.decode()!r}")
        if kind == b"H":
            raise CorruptFile("the file has a second header chunk")
        if kind in METADATA:
            name = METADATA[kind]
            if name in metadata or groups:
                raise CorruptFile(f"the {name} chunk is a second one, or comes after a group")
            metadata[name] = unpack_metadata(name, found.payload)
        elif kind.isupper():
            check_known(kind)
    if head_only:
        return Container(header=header, streams=[], metadata=metadata, version=data[len(SIGNATURE)])
    if len(groups) != header.chunk_count:
        error = TruncatedFile if len(groups) < header.chunk_count else CorruptFile
        raise error(f"{header.chunk_count} group chunks expected, {len(groups)} found")
    if lengths and lengths != [len(stream) for stream in groups]:
        raise CorruptFile("the group lengths in the header differ from those of the groups")
    streams, alphas = header.split(groups)
    return Container(
        header=header,
        streams=streams,
        alphas=alphas,
        metadata=metadata,
        version=data[len(SIGNATURE)],
        trailing=len(data) - end,
    )


def model_id_text(model_id: bytes) -> str:
    """Format a model id for people: 8 hexadecimal digits."""
    if len(model_id) != 4:
        raise VaeError(f"a model id has 4 bytes, not {len(model_id)}")
    return model_id.hex()
