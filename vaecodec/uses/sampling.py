"""Pictures drawn from the model: what it believes photographs look like.

An entropy decoder that reads random bits produces every symbol as often as its model expects it. So a
sample is what the decoder makes of noise: first the hyper-latent, then, given that, the steps of the
latent, each given those before it. Its symbols, coded again, make a file like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from numbers import Integral

import numpy as np

from bitstream import container, entropy
from bitstream.container import GREY, RGB, Container, Header
from bitstream.errors import BadType, BadValue
from vaecodec import decoding
from vaecodec.codec import Codec, chosen
from vaecodec.geometry import groups, latent_size
from vaecodec.model.load import LoadedModel
from vaecodec.quality import TOP_LEVEL, check_whole
from vaecodec.sources import Source, naming, read_source

DEFAULT_SIZE = (512, 512)
DEFAULT_LEVEL = 20
#: Words more than one per symbol, which is what the least probable symbol takes.
SPARE_WORDS = 64


class _Draws:
    """Symbols block by block, as a decoder gives them: drawn from the tables that code them, but for
    the first block, the hyper-latent, where `kept` has that. What was given is in `blocks`."""

    def __init__(
        self,
        tables: entropy.Tables,
        random: np.random.Generator,
        kept: entropy.Decoder | None,
    ) -> None:
        self._tables, self._random, self._kept = tables, random, kept
        self._supports = np.asarray(tables.supports)
        self.blocks: list[tuple[np.ndarray, np.ndarray]] = []

    def decode(self, indices: np.ndarray) -> np.ndarray:
        if self._kept is not None and not self.blocks:
            symbols = self._kept.decode(indices)
        else:
            symbols = self._noise(len(indices)).decode(indices)
            # An escape says that there is more than the model expects, not what: it is drawn anew.
            while len(beyond := np.flatnonzero(np.abs(symbols) > self._supports[indices])):
                symbols[beyond] = self._noise(len(beyond)).decode(indices[beyond])
        self.blocks.append((symbols, indices))
        return symbols

    def _noise(self, count: int) -> entropy.Decoder:
        words = self._random.integers(1, 2**32, size=count + SPARE_WORDS, dtype=np.uint32)
        return entropy.Decoder(self._tables, words.astype("<u4").tobytes())


def sample(
    size: tuple[int, int] | None = None,
    *,
    level: int | None = None,
    tune: str | None = None,
    like: Source | None = None,
    seed: int = 0,
    count: int = 1,
    codec: Codec | None = None,
) -> Iterator[bytes]:
    """Draw pictures from the model, as `.vae` files, one by one as they are asked for: textures and
    edges, no objects.

    - `size`: width and height in pixels, by default 512 x 512. Groups of 1024 x 1024 pixels are drawn
      independently of each other.
    - `level`: quality level, 0..63, by default 20; at higher levels more of the picture is drawn.
    - `tune`: that of the model, as in `vaecodec.encode`.
    - `like`: a `.vae` file (path, bytes or file object) whose size, level, model and hyper-latent are
      kept; the hyper-latent says how much of what there is where. Only the rest is drawn; transparency
      and metadata are left out.
    - `seed`: a whole number, not negative; the same seed gives the same files on every machine.
    - `count`: how many files.
    - `codec`: the Codec whose model and device to use, by default that of `vaecodec.encode`.

    Raises BadValue or BadType; for a file `like`, what `vaecodec.decode` raises, and VaeError if the
    picture is stored without loss.
    """
    seed = check_whole("seed", seed, 0, 2**63 - 1)
    count = check_whole("count", count, 1, 2**31 - 1)
    codec = chosen(codec)
    if like is None:
        width, height = _checked_size(DEFAULT_SIZE if size is None else size)
        level = check_whole("level", DEFAULT_LEVEL if level is None else level, 0, TOP_LEVEL)
        model_id = codec.of_tune(tune).id
        header = Header(width=width, height=height, colour=RGB, depth=8, model_id=model_id, level=level)
        return _drawn(codec, codec.loaded(model_id), header, None, seed, count)
    if (size, level, tune) != (None, None, None):
        raise BadValue("size, level and tune are those of the file that the pictures are to be like")
    data, name = read_source(like)
    with naming(name):
        file = container.parse(data)
        decoding.check_latent(file.header)
        header = replace(file.header, colour=GREY if file.header.grey else RGB)
        model = codec.loaded(header.model_id)
        decoding.check_lengths(model, file)
        for stream in file.streams:  # what is none is said here, with the name of the file
            entropy.Decoder(model.symbols.tables, stream)
        return _drawn(codec, model, header, file, seed, count)


def _drawn(
    codec: Codec, model: LoadedModel, header: Header, kept: Container | None, seed: int, count: int
) -> Iterator[bytes]:
    rectangles, tables = list(groups(*latent_size(header.height, header.width))), model.symbols.tables
    for number in range(count):
        streams = []
        for group, rectangle in enumerate(rectangles):
            own = np.random.SeedSequence(seed, spawn_key=(number, group))
            random = np.random.default_rng(own)
            hyper = None if kept is None else entropy.Decoder(tables, kept.streams[group])
            draws = _Draws(tables, random, hyper)
            with codec.own_settings():
                model.symbols.read(draws, header.level, rectangle.height, rectangle.width)
            streams.append(entropy.encode(tables, draws.blocks))
        yield container.pack(header, streams)


def _checked_size(size: Sequence[int]) -> tuple[int, int]:
    """Raises BadType or BadValue for what are no width and height, or too many pixels."""
    sides = list(size) if isinstance(size, (Sequence, np.ndarray)) else []
    whole = all(isinstance(side, Integral) and not isinstance(side, bool) for side in sides)
    if len(sides) != 2 or not whole:
        raise BadType(f"a size is two whole numbers (width, height), not {size!r}")
    width, height = (int(side) for side in sides)
    if width < 1 or height < 1 or width * height > container.MAX_PIXELS:
        raise BadValue(f"a size of {width} x {height} is not within 1 .. {container.MAX_PIXELS} pixels")
    return width, height
