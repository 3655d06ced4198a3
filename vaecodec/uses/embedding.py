"""What a picture looks like, in a few numbers: for finding it again, and others like it.

An embedding starts from statistics of the latent: the mean and spread of every channel over the
picture, and the means of some channels over its quarters. A linear function of these, fitted to
pictures that were shrunk, cut, coded anew, brightened, and coded at other levels, keeps what tells
pictures apart and drops what such changes move (linear discriminant analysis: Fisher, 1936; Rao, 1948).
`tools/fit_embedding.py` fits it.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from bitstream import container
from bitstream.errors import VaeError
from vaecodec.codec import Codec, chosen
from vaecodec.model import registry
from vaecodec.model.registry import ModelEntry
from vaecodec.quality import check_whole
from vaecodec.sources import Source, naming, read_source
from vaecodec.uses.latents import latent_of

FOLDER = registry.FOLDER / "embedding"
#: Numbers that an embedding consists of.
DIMENSIONS = 64
#: How many channels have their means over quarters counted: those that vary most.
LAYOUT_CHANNELS = 48
#: Of a channel that does not vary, in units of its standard deviation over photographs.
LEAST_SPREAD = 0.05


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Maps the statistics of a latent of one model to an embedding: `whiten` (M), one over each
    channel's standard deviation; `mean` (F); `matrix` (F x DIMENSIONS)."""

    whiten: np.ndarray
    mean: np.ndarray
    matrix: np.ndarray

    def __call__(self, latent: np.ndarray) -> np.ndarray:
        """The embedding of `latent`, which is as `latents` returns it: float32, of length one."""
        vector = (statistics(latent, self.whiten) - self.mean) @ self.matrix
        length = np.linalg.norm(vector)
        return (vector / length if length else vector).astype(np.float32)


def path_of(entry: ModelEntry) -> Path:
    """The file of a model's projection."""
    return FOLDER / f"{entry.name}.safetensors"


def projection_of(entry: ModelEntry) -> Projection:
    """The projection of a model. Raises VaeError if it has none."""
    return _projection(path_of(entry))


@functools.lru_cache(maxsize=1)
def fingerprint() -> str:
    """A hash of all projections: embeddings made with others cannot be compared with these."""
    paths = sorted(FOLDER.glob("*.safetensors"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


@functools.lru_cache(maxsize=8)
def _projection(path: Path) -> Projection:
    if not path.is_file():
        raise VaeError(f"the model {path.stem} has no embedding")
    return Projection(**{name: x.astype(np.float32) for name, x in load_file(path).items()})


def statistics(latent: np.ndarray, whiten: np.ndarray) -> np.ndarray:
    """Statistics of a latent (float, h x w x M): its channels' means, the logarithms of their standard
    deviations over the picture, and how the means of its quarters differ: float32, (F,)."""
    y = latent * whiten
    mean = y.mean(axis=(0, 1))
    spread = np.log(LEAST_SPREAD + y.std(axis=(0, 1)))
    varying = np.argsort(whiten, kind="stable")[:LAYOUT_CHANNELS]
    layout = y[..., varying]
    rows, columns = ((slice(0, -(-side // 2)), slice(side // 2, None)) for side in y.shape[:2])
    quarters = [layout[r, c].mean(axis=(0, 1)) - mean[varying] for r in rows for c in columns]
    return np.concatenate((mean, spread, *quarters)).astype(np.float32)


def embed(
    source: Source, *, max_pixels: int = container.MAX_PIXELS, codec: Codec | None = None
) -> np.ndarray:
    """An embedding of the picture of a `.vae` file: what it looks like, as a vector of 64 float32
    numbers, of length one. The scalar product of two embeddings is the similarity of the pictures: 1 is
    the same picture, unrelated ones are around 0.

    - `source`: path, bytes or file object.
    - `max_pixels`: larger pictures are refused.
    - `codec`: the Codec whose models and device to use, by default that of `vaecodec.decode`.

    This takes as long as `latents`; a picture stored without loss is first decoded and coded with loss.
    Raises what `vaecodec.decode` raises, and VaeError for a model that has no embedding.
    """
    max_pixels = check_whole("max_pixels", max_pixels, 1, sys.maxsize)
    codec = chosen(codec)
    data, name = read_source(source)
    with naming(name):
        file = container.parse(data, max_pixels)
        if file.header.lossless:
            image = codec.decode(data, max_pixels=max_pixels)
            file = container.parse(codec.encode(image, lossless=False), max_pixels)
        projection = projection_of(codec.entry_of(file.header.model_id))
        return projection(latent_of(codec, file))
