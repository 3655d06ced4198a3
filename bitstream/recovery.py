"""Recovering what is left of a damaged file: every chunk whose checksum is right.

Group chunks are contiguous, and the header of a file with several groups lists all their lengths, so
the chunk after a damaged one can still be found. Lost or inserted bytes shift everything after them;
groups are therefore located from the end of the file as well.
"""

from __future__ import annotations

from contextlib import suppress

from bitstream.chunks import SIGNATURE, START, check_signature, chunk, read_chunk, varint
from bitstream.container import (
    GROUP_KINDS,
    MAX_PIXELS,
    METADATA,
    Container,
    Header,
    check_known,
    parse,
    parse_header,
    unpack_metadata,
)
from bitstream.errors import CorruptFile, LimitExceeded

#: In search of a group, at most so many times the file's bytes are checked, and so many more.
SEARCH, SEARCH_MORE = 16, 2**28
#: Each place where a group could begin counts as so many bytes.
PLACE = 4096


def salvage(data: bytes, max_pixels: int = MAX_PIXELS) -> Container:
    """Parse a file, leaving out what is damaged.

    Raises NotAVaeFile, UnsupportedVersion and LimitExceeded as `parse` does, and CorruptFile if the
    header is damaged or no group is left.
    """
    data = bytes(data)
    try:
        return parse(data, max_pixels)
    except (CorruptFile, LimitExceeded) as error:
        reason = str(error)
    check_signature(data)
    head = read_chunk(data, START)
    if head.kind != b"H" or not head.intact:
        raise CorruptFile(f"nothing can be recovered without the header: {reason}")
    header, lengths = parse_header(head.payload, max_pixels)
    metadata, offset = _metadata(data, head.end)
    if lengths:
        size = sum(_chunk_size(length) for length in lengths)
        forward = _by_lengths(data, offset, header, lengths)
        backward = _by_lengths(data, max(len(data) - size, 0), header, lengths)
        found = [a if a is not None else b for a, b in zip(forward, backward, strict=True)]
    else:
        found = _one_group(data, offset, header)
        if not any(found):
            found = _searched(data, head.end, header)
    streams, alphas = header.split(found)
    lost, lost_alphas = (
        frozenset(i for i, stream in enumerate(part) if stream is None) for part in (streams, alphas)
    )
    if len(lost) == len(streams):
        raise CorruptFile(f"no group of the picture is intact: {reason}")
    return Container(
        header=header,
        streams=[s or b"" for s in streams],
        alphas=[a or b"" for a in alphas],
        metadata=metadata,
        version=data[len(SIGNATURE)],
        lost=lost,
        lost_alphas=lost_alphas,
        damage=reason,
    )


def _metadata(data: bytes, offset: int) -> tuple[dict[str, bytes], int]:
    """Return the intact metadata from `offset` on, and where the groups begin, if that can be told.

    Raises CorruptFile for an intact chunk that must be understood, and is not.
    """
    metadata: dict[str, bytes] = {}
    while offset < len(data):
        try:
            found = read_chunk(data, offset)
        except CorruptFile:
            break
        if found.kind in GROUP_KINDS:
            break
        offset = found.end
        if found.intact and found.kind.isupper():
            check_known(found.kind)
        if found.intact and found.kind in METADATA:
            name = METADATA[found.kind]
            # What cannot be unpacked is lost, but nothing after it.
            with suppress(CorruptFile, LimitExceeded):
                metadata[name] = unpack_metadata(name, found.payload)
    return metadata, offset


def _chunk_size(length: int) -> int:
    """Size of a chunk with a payload of `length` bytes: type, varint, payload, CRC-32."""
    return 1 + len(varint(length)) + length + 4


def _by_lengths(data: bytes, offset: int, header: Header, lengths: list[int]) -> list[bytes | None]:
    """Return the payload of every group chunk, the first being at `offset`; None for damaged ones."""
    kinds = header.group_kinds
    found: list[bytes | None] = []
    for number, length in enumerate(lengths):
        size = _chunk_size(length)
        whole = data[offset : offset + size]
        payload = whole[size - 4 - length : size - 4]
        found.append(payload if whole == chunk(kinds[number % len(kinds)], payload) else None)
        offset += size
    return found


def _searched(data: bytes, offset: int, header: Header) -> list[bytes | None]:
    """Do the same where the length of a chunk before it is damaged: search for an intact group."""
    kind, left = header.group_kinds[0], SEARCH * len(data) + SEARCH_MORE
    start = data.find(kind, offset)
    while start >= 0 and left > 0:
        left -= PLACE
        with suppress(CorruptFile):
            found = read_chunk(data, start)
            left -= found.end - start
            if found.intact:
                return _one_group(data, start, header)
        start = data.find(kind, start + 1)
    return [None] * header.chunk_count


def _one_group(data: bytes, offset: int, header: Header) -> list[bytes | None]:
    """Do the same for a picture of one group, whose header lists no lengths."""
    found: list[bytes | None] = []
    for kind in header.group_kinds:
        try:
            one = read_chunk(data, offset)
        except CorruptFile:
            break
        found.append(one.payload if one.intact and one.kind == kind else None)
        offset = one.end
    return found + [None] * (header.chunk_count - len(found))
