"""Make files that are wrong in believable ways: take them apart, change them, and put them together.

Most mutations repair the checksums; otherwise nothing behind them would ever be tested.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from bitstream.chunks import START, chunk, read_chunks, varint
from bitstream.errors import VaeError
from vaecodec.model import registry

ROOT = Path(__file__).parent.parent.parent
#: Larger seeds take long to decode and find nothing more.
MAX_SEED = 4096
#: Id of the model that the files in tests/fuzz name.
CORPUS_MODEL = bytes.fromhex("e8f03010")

Chunks = list[tuple[bytes, bytes]]


def seeds() -> list[bytes]:
    """The conformance files and the corpus, as far as they are small and made of chunks."""
    golden = [path.read_bytes() for path in sorted(ROOT.glob("tests/golden/*.vae"))]
    files = [*golden, *corpus().values()]
    return [data for data in files if len(data) <= MAX_SEED and _has_chunks(data)]


def corpus() -> dict[str, bytes]:
    """What coverage-guided fuzzing found, by file name, renamed to the default model: the one they were
    made with is gone, so nothing behind their headers would be read."""
    current = registry.find(None).id
    return {
        path.name: _renamed(path.read_bytes(), current)
        for path in sorted(ROOT.glob("tests/fuzz/*.vae"))
    }


def _renamed(data: bytes, model: bytes) -> bytes:
    try:
        header = next(read_chunks(data), None)
    except VaeError:
        return data
    if header is None:
        return data
    payload = header.payload.replace(CORPUS_MODEL, model)
    return data[:START] + chunk(header.kind, payload) + data[header.end :]


def _has_chunks(data: bytes) -> bool:
    try:
        return bool(split(data))
    except VaeError:
        return False


def split(data: bytes) -> Chunks:
    """Split a file into types and payloads. Raises VaeError if `data` is not made of chunks."""
    return [(found.kind, found.payload) for found in read_chunks(data)]


def join(start: bytes, chunks: Chunks) -> bytes:
    """Make a file of these chunks, with the right checksums."""
    return start + b"".join(chunk(kind, payload) for kind, payload in chunks)


def mutate_bytes(data: bytes, random: Random) -> bytes:
    """Change, insert, remove, repeat or blank a few bytes."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        place = random.randrange(len(out) + 1)
        length = random.choice((1, 1, 2, 4, 8, 32))
        kind = random.randrange(6)
        if kind == 0 and place < len(out):
            out[place] ^= 1 << random.randrange(8)
        elif kind == 1:
            out[place : place + length] = random.randbytes(length)
        elif kind == 2:
            out[place:place] = random.randbytes(length)
        elif kind == 3:
            del out[place : place + length]
        elif kind == 4:
            out[place:place] = out[place : place + length] * random.choice((1, 2, 50))
        else:
            out[place : place + length] = bytes([random.choice((0, 255))]) * length
    return bytes(out)


def mutate_header(payload: bytes, random: Random) -> bytes:
    """Change dimensions, colour, level or model, or any bytes."""
    offset = 0
    for _ in range(2):
        while offset < len(payload) and payload[offset] & 128:
            offset += 1
        offset += 1
    if offset >= len(payload) or random.random() < 0.3:
        return mutate_bytes(payload, random)
    sides = [varint(random.choice((1, 2, 15, 16, 17, 64, 300, 1025, 2**31))) for _ in range(2)]
    fixed = bytearray(payload[offset:])
    place = random.randrange(len(fixed))
    fixed[place] = random.choice((0, 1, 2, 3, 63, random.randrange(256)))
    which = random.randrange(3)
    front = payload[:offset] if which == 0 else b"".join(sides)
    return front + bytes(payload[offset:] if which == 1 else fixed)


def mutate(data: bytes, others: list[bytes], random: Random) -> bytes:
    """Apply one mutation to the file `data`. `others`: files that parts may come from."""
    kind = random.randrange(10)
    if kind == 0:
        return mutate_bytes(data, random)
    if kind == 1:
        return data[: random.randrange(len(data))]
    start, chunks = data[:START], split(data)
    place = random.randrange(len(chunks))
    name, payload = chunks[place]
    if kind <= 5:
        changed = mutate_header(payload, random) if name == b"H" else mutate_bytes(payload, random)
        chunks[place] = (name, changed)
    elif kind == 6:
        chunks[place] = (name, payload[: random.randrange(len(payload) + 1)])
    elif kind == 7:
        chunks.insert(random.randrange(len(chunks) + 1), random.choice(split(random.choice(others))))
    elif kind == 8:
        del chunks[place]
    else:
        chunks[place] = (random.choice((b"G", b"A", b"L", b"i", b"q", b"Q")), payload)
    return join(start, chunks)
