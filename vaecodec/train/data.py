"""Training pictures: decoded once, kept as one flat uint8 tensor, cropped on the device."""

from __future__ import annotations

import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bitstream.errors import VaeError
from vaecodec.cores import usable_cores
from vaecodec.geometry import HYPER_STRIDE
from vaecodec.parallel import FAILURES, in_threads
from vaecodec.sources import read_path
from vaecodec.train.workers import Workers

#: One picture in this many is held out from training, to decide between models.
HOLD_OUT_EVERY = 32
#: Scales at which every picture is kept.
PYRAMID = (1.0, 0.85, 0.7, 0.5)
#: The largest scale at which a lossy source is kept: shrinking removes the traces of its compression,
#: which would leave the high rates nothing to learn from.
LOSSY_PYRAMID_MAX = 0.85
LOSSLESS = {"PNG", "BMP", "TIFF", "PPM"}
EXTENSIONS = {".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".ppm"}


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of every picture file in a folder (and its tar shards), or in a
    shard. Raises VaeError naming what cannot be read."""
    if path.is_file():
        try:
            with tarfile.open(path) as tar:
                for member in tar:
                    stream = tar.extractfile(member) if member.isfile() else None
                    if stream is not None and Path(member.name).suffix.lower() in EXTENSIONS:
                        yield member.name, stream.read()
        except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise VaeError(f"{path}: is no tar file, or damaged ({error})") from error
        return
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() == ".tar":
            yield from members(file)
        elif file.is_file() and file.suffix.lower() in EXTENSIONS:
            yield str(file.relative_to(path)), read_path(file)


def _decode(item: tuple[str, bytes]) -> list[np.ndarray]:
    name, data = item
    try:
        source = Image.open(io.BytesIO(data))
        image = source.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise VaeError(f"{name}: not a readable training picture ({error})") from error
    lossless = source.format in LOSSLESS or data[8:16] == b"WEBPVP8L"
    scales = [s for s in PYRAMID if lossless or s <= LOSSY_PYRAMID_MAX]
    sizes = [(max(round(image.width * s), 1), max(round(image.height * s), 1)) for s in scales]
    levels = [image.resize(size, Image.Resampling.LANCZOS) for size in sizes]
    return [np.asarray(level) for level in levels]


class Pictures:
    """Pictures in one flat tensor, from which `crops` draws without leaving the device."""

    def __init__(self, pixels: Tensor, sizes: Tensor, device: torch.device) -> None:
        """`pixels`: uint8, P x 3, the rows of all pictures in turn. `sizes`: int64, count x 2."""
        lengths = sizes.prod(dim=1)
        self.count = len(sizes)
        self.pixels = pixels.to(device)
        self.sizes = sizes.to(device)
        self.starts = (torch.cumsum(lengths, 0) - lengths).to(device)
        self.device = device

    @staticmethod
    def of(arrays: list[np.ndarray], device: torch.device) -> Pictures:
        """Build from uint8 arrays, H x W x 3, emptying each once copied to halve peak memory."""
        sizes = torch.tensor([array.shape[:2] for array in arrays])
        pixels = torch.empty(int(sizes.prod(dim=1).sum()), 3, dtype=torch.uint8)
        start = 0
        for i, array in enumerate(arrays):
            rows = torch.from_numpy(array.reshape(-1, 3).copy())
            pixels[start : start + len(rows)] = rows
            start += len(rows)
            arrays[i] = np.empty(0)
        return Pictures(pixels, sizes, device)

    def fits(self, side: int) -> bool:
        """Whether any picture has room for crops of `side`."""
        return bool((self.sizes >= side).all(dim=1).any())

    def crops(self, count: int, side: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw `count` random crops, uint8 count x side x side x 3, flipped and transposed at random.

        All positions of a crop in all pictures are equally likely.
        """
        d, g = self.device, generator
        room = (self.sizes - side + 1).clamp(min=0)
        weights = room.prod(dim=1).double()
        picked = torch.searchsorted(
            torch.cumsum(weights, 0),
            torch.rand(count, device=d, dtype=torch.float64, generator=g) * weights.sum(),
        ).clamp(max=self.count - 1)
        corner = (torch.rand(count, 2, device=d, generator=g) * room[picked]).long()
        ramp = torch.arange(side, device=d)
        flip = torch.rand(count, 3, device=d, generator=g) < 0.5
        row = torch.where(flip[:, :1], side - 1 - ramp, ramp)[:, :, None]
        column = torch.where(flip[:, 1:2], side - 1 - ramp, ramp)[:, None, :]
        turn = flip[:, 2, None, None]
        row, column = torch.where(turn, column, row), torch.where(turn, row, column)
        width = self.sizes[picked, 1, None, None]
        index = self.starts[picked, None, None] + (corner[:, :1, None] + row) * width
        return self.pixels[index + corner[:, 1:, None] + column]


def _is_held_out(number: int) -> bool:
    return number % HOLD_OUT_EVERY == HOLD_OUT_EVERY - 1


def held_out(path: Path) -> list[np.ndarray]:
    """Read the held-out pictures that `load` returns, uint8 H x W x 3, without keeping the others.

    Raises VaeError if there are none.
    """
    if not path.exists():
        raise VaeError(f"{path}: no such folder or tar file of training pictures")
    numbered = enumerate(members(path))
    if found := [_decode(member)[-1] for number, member in numbered if _is_held_out(number)]:
        return found
    raise VaeError(f"{path}: has fewer than {HOLD_OUT_EVERY} pictures, one in so many is held out")


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """`pictures`: to train on. `held_out`: uint8 arrays, H x W x 3, and `count`, the number of all
    pictures read: in the first worker only."""

    pictures: Pictures
    held_out: list[np.ndarray] = field(default_factory=list)
    count: int = 0


def load(
    path: Path, device: torch.device, smallest: int, tick: Callable[[int], None] = lambda _: None
) -> TrainingData:
    """Read all pictures of a folder (or tar shard).

    `smallest`: pyramid levels with a side below this are left out. `tick` is told how many pictures
    have been read. Raises VaeError if there is nothing to train on.
    """
    if not path.exists():
        raise VaeError(f"{path}: no such folder or tar file of training pictures")
    train: list[np.ndarray] = []
    held_out: list[np.ndarray] = []
    count = 0
    for _, levels in in_threads(members(path), _decode, usable_cores(), in_order=True):
        if isinstance(levels, FAILURES):
            raise levels
        if _is_held_out(count):
            held_out.append(levels[-1])
        else:
            train += [level for level in levels if min(level.shape[:2]) >= smallest]
        count += 1
        tick(count)
    if not train or not held_out:
        raise VaeError(
            f"{path}: {count} pictures of at least {smallest} pixels a side are too few to train on "
            f"(at least {HOLD_OUT_EVERY} are needed, one in {HOLD_OUT_EVERY} is held out)"
        )
    if all(min(picture.shape[:2]) < HYPER_STRIDE for picture in held_out):
        raise VaeError(
            f"{path}: none of the {len(held_out)} pictures that are held out, at half their size, has "
            f"{HYPER_STRIDE} pixels a side"
        )
    return TrainingData(pictures=Pictures.of(train, device), held_out=held_out, count=count)


def load_once(
    path: Path, workers: Workers, folder: Path, smallest: int, tick: Callable[[int], None]
) -> TrainingData:
    """Read all pictures in the first worker, for all of them: they are in memory once. The others map a
    temporary file in `folder`. Raises as `load` does."""
    data = load(path, workers.device, smallest, tick) if workers.first else None
    if data is not None and workers.count == 1:
        return data
    pictures = _shared(None if data is None else data.pictures, workers, folder)
    return TrainingData(pictures=pictures) if data is None else replace(data, pictures=pictures)


def _shared(pictures: Pictures | None, workers: Workers, folder: Path) -> Pictures:
    """Share the first worker's pictures with the others, which pass None."""
    file = folder / "pictures.partial"
    if pictures is not None:
        try:
            pictures.pixels.cpu().numpy().tofile(file)
        except OSError as error:
            file.unlink(missing_ok=True)
            raise VaeError(
                f"{file}: cannot write the pictures for the other processes ({error})"
            ) from error
    sizes = workers.broadcast(None if pictures is None else pictures.sizes.cpu())
    pixels = torch.from_file(str(file), True, 3 * int(sizes.prod(dim=1).sum()), dtype=torch.uint8)
    workers.wait()
    if workers.first:
        file.unlink()
    return Pictures(pixels.reshape(-1, 3), sizes, workers.device)
