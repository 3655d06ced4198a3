"""The codec: pictures to the bytes of `.vae` files and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bitstream import container
from bitstream.container import Container, Header
from bitstream.errors import CorruptFile, LimitExceeded, VaeError
from vaecodec import images, weights
from vaecodec.images import ImageLike
from vaecodec.model.config import LATENT_STRIDE
from vaecodec.model.fixed_point import STEP_BITS
from vaecodec.model.load import LoadedModel, load_model
from vaecodec.quality import DEFAULT_QUALITY, level_of

#: Latent positions along a group's side.
GROUP = container.GROUP_PIXELS // LATENT_STRIDE
#: Pixels that pass through the transforms at once; bounds the memory of a batch.
BATCH_PIXELS = 2**23


def pick_device(device: str | torch.device | None) -> torch.device:
    """`None` or "auto": CUDA where there is one, else the CPU. Raises VaeError for what is absent."""
    if device is None or device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise VaeError(f"there is no device {device!r}; use auto, cpu or cuda") from error
    if chosen.type not in ("cpu", "cuda"):
        raise VaeError(f"the device {device!r} is not supported; use auto, cpu or cuda")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise VaeError("device cuda was asked for, but PyTorch finds no CUDA device here")
    return chosen


class Codec:
    """Encodes with one model and decodes the files of any; keeps loaded weights.

    `model`: a name as `vaecodec models` lists it, a size, a path to a `.safetensors` file, or None
    for the default. `device`: "auto", "cpu", "cuda" or a torch device. Weights are loaded on first
    use. Raises UnknownModel or VaeError.
    """

    def __init__(self, model: str | None = None, device: str | torch.device | None = None) -> None:
        self.device = pick_device(device)
        self.entry = weights.find(model)
        self._loaded: dict[bytes, LoadedModel] = {}

    def _model(self, model_id: bytes | None = None) -> LoadedModel:
        if model_id is None or model_id == self.entry.id:
            entry = self.entry
        else:
            entry = weights.find_id(model_id)
        if entry.id not in self._loaded:
            self._loaded[entry.id] = load_model(entry, self.device)
        return self._loaded[entry.id]

    def encode(self, image: ImageLike, quality: int = DEFAULT_QUALITY) -> bytes:
        """The bytes of a `.vae` file.

        `image`: a PIL image, a uint8 array (H x W x 3 RGB, or H x W grey) or a path. `quality`:
        1..100. Raises BadImage or VaeError.
        """
        return self.encode_batch([image], quality)[0]

    def decode(self, data: bytes, *, max_pixels: int = container.MAX_PIXELS) -> Image.Image:
        """The picture in the bytes of a `.vae` file, of mode "RGB" or "L".

        `max_pixels`: larger pictures are refused before anything is allocated. Raises NotAVaeFile,
        UnsupportedVersion, UnknownModel, CorruptFile, TruncatedFile or LimitExceeded.
        """
        return self.decode_batch([data], max_pixels=max_pixels)[0]

    def encode_batch(self, batch: Sequence[ImageLike], quality: int = DEFAULT_QUALITY) -> list[bytes]:
        """Encode many pictures at one quality; those of equal size pass the networks together."""
        level = level_of(quality)
        samples = [images.to_samples(image) for image in batch]
        for array, _ in samples:
            if array.shape[0] * array.shape[1] > container.MAX_PIXELS:
                raise LimitExceeded(
                    f"the picture has {array.shape[1]} x {array.shape[0]} pixels, "
                    f"the limit is {container.MAX_PIXELS} pixels"
                )
        out: list[bytes] = [b""] * len(batch)
        for chosen in _alike([array.shape for array, _ in samples], BATCH_PIXELS):
            pictures = np.stack([samples[i][0] for i in chosen])
            for i, streams in zip(chosen, self._encode_alike(pictures, level), strict=True):
                height, width, _ = samples[i][0].shape
                header = Header(width, height, samples[i][1], 8, self.entry.id, level)
                out[i] = container.pack(header, streams)
        return out

    @torch.inference_mode()
    def _encode_alike(self, pictures: np.ndarray, level: int) -> list[list[bytes]]:
        """Streams of all groups for each of N pictures (uint8, N x H x W x 3)."""
        model = self._model()
        latent, hyper = model.analyse(pictures, level)
        rows, columns = (
            -(-pictures.shape[1] // LATENT_STRIDE),
            -(-pictures.shape[2] // LATENT_STRIDE),
        )
        streams: list[list[bytes]] = [[] for _ in pictures]
        for top, left, height, width in _groups(rows, columns):
            coded = model.latents.encode(
                latent[:, top : top + GROUP, left : left + GROUP],
                hyper[:, top // 4 : (top + GROUP) // 4, left // 4 : (left + GROUP) // 4],
                level,
                height,
                width,
            )
            for item, stream in zip(streams, coded, strict=True):
                item.append(stream)
        return streams

    def decode_batch(
        self, batch: Sequence[bytes], *, max_pixels: int = container.MAX_PIXELS
    ) -> list[Image.Image]:
        """Decode many files; those of equal size, model and level pass the networks together."""
        parsed = [container.parse(data, max_pixels) for data in batch]
        keys = [(c.header.height, c.header.width, c.header.model_id, c.header.level) for c in parsed]
        out: list[Image.Image | None] = [None] * len(batch)
        for chosen in _alike(keys, BATCH_PIXELS):
            samples = self._decode_alike([parsed[i] for i in chosen])
            for i, picture in zip(chosen, samples, strict=True):
                out[i] = images.from_samples(picture, parsed[i].header.colour)
        return [image for image in out if image is not None]

    def decode_latent(self, data: bytes, *, max_pixels: int = container.MAX_PIXELS) -> np.ndarray:
        """The quantised latent of a file, what every decoder must agree on to the last bit: int32,
        H/16 x W/16 x M (rounded up), in units of 1/64 quantisation step. Raises as `decode`."""
        latent = self._latents([container.parse(data, max_pixels)])[0]
        return (latent.double() * 2**STEP_BITS).to(torch.int32).cpu().numpy()

    @torch.inference_mode()
    def _latents(self, files: list[Container]) -> Tensor:
        """Latents (float32, N x h x w x M, in steps) of files alike but for their streams."""
        header = files[0].header
        model = self._model(header.model_id)
        rows, columns = -(-header.height // LATENT_STRIDE), -(-header.width // LATENT_STRIDE)
        channels = model.config.latent_channels
        latent = torch.zeros(len(files), rows, columns, channels, device=self.device)
        for number, (top, left, height, width) in enumerate(_groups(rows, columns)):
            streams = [file.streams[number] for file in files]
            try:
                group = model.latents.decode(streams, header.level, height, width)
            except CorruptFile as error:
                raise CorruptFile(f"group {number}: {error}") from error
            latent[:, top : top + height, left : left + width] = group[:, :height, :width]
        return latent

    @torch.inference_mode()
    def _decode_alike(self, files: list[Container]) -> np.ndarray:
        """Samples (float32, N x H x W x 3, 0..255 unclipped) of files alike but for their streams."""
        header = files[0].header
        latent = self._latents(files)
        samples = self._model(header.model_id).synthesise(latent, header.level)
        return samples[:, : header.height, : header.width].cpu().numpy()


def _groups(rows: int, columns: int) -> Iterator[tuple[int, int, int, int]]:
    """Top, left, height and width of every group of a latent, in raster order."""
    for top in range(0, rows, GROUP):
        for left in range(0, columns, GROUP):
            yield top, left, min(GROUP, rows - top), min(GROUP, columns - left)


def _alike(keys: Iterable[tuple], limit: int) -> Iterator[list[int]]:
    """Indices of items with equal keys (height and width first), in lots of at most `limit` pixels."""
    lots: dict[tuple, list[int]] = {}
    for i, key in enumerate(keys):
        lots.setdefault(key, []).append(i)
    for key, members in lots.items():
        size = max(1, limit // (key[0] * key[1]))
        for start in range(0, len(members), size):
            yield members[start : start + size]
