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
from vaecodec import lossless as exact
from vaecodec.images import ImageLike
from vaecodec.model.config import LATENT_STRIDE
from vaecodec.model.fixed_point import STEP_BITS
from vaecodec.model.load import LoadedModel, load_model
from vaecodec.model.search import refine
from vaecodec.quality import DEFAULT_EFFORT, DEFAULT_QUALITY, check_effort, level_of
from vaecodec.tiling import GROUP, groups

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

    def encode(
        self,
        image: ImageLike,
        quality: int = DEFAULT_QUALITY,
        *,
        effort: int = DEFAULT_EFFORT,
        lossless: bool | None = None,
    ) -> bytes:
        """The bytes of a `.vae` file.

        `image`: a PIL image, a uint8 array (H x W x 3 RGB, or H x W grey) or a path. `quality`:
        1..100. `effort`: rounds of search for a smaller file of the same quality, 0 (fastest) to
        MAX_EFFORT; each takes about twice as long as encoding without. `lossless`: store the picture
        without loss, whatever the quality; None does so where it makes the file smaller (drawings,
        screenshots), False never. Raises BadImage or VaeError.
        """
        return self.encode_batch([image], quality, effort=effort, lossless=lossless)[0]

    def decode(self, data: bytes, *, max_pixels: int = container.MAX_PIXELS) -> Image.Image:
        """The picture in the bytes of a `.vae` file, of mode "RGB" or "L".

        `max_pixels`: larger pictures are refused before anything is allocated. Raises NotAVaeFile,
        UnsupportedVersion, UnknownModel, CorruptFile, TruncatedFile or LimitExceeded.
        """
        return self.decode_batch([data], max_pixels=max_pixels)[0]

    def encode_batch(
        self,
        batch: Sequence[ImageLike],
        quality: int = DEFAULT_QUALITY,
        *,
        effort: int = DEFAULT_EFFORT,
        lossless: bool | None = None,
    ) -> list[bytes]:
        """Encode many pictures as `encode` does; those of equal size pass the networks together."""
        level = level_of(quality)
        check_effort(effort)
        samples = [images.to_samples(image) for image in batch]
        for array, _ in samples:
            if array.shape[0] * array.shape[1] > container.MAX_PIXELS:
                raise LimitExceeded(
                    f"the picture has {array.shape[1]} x {array.shape[0]} pixels, "
                    f"the limit is {container.MAX_PIXELS} pixels"
                )
        if lossless:
            return [_without_loss(*picture) for picture in samples]
        out: list[bytes] = [b""] * len(batch)
        for chosen in _alike([array.shape for array, _ in samples], BATCH_PIXELS):
            first = samples[chosen[0]][0]
            # A large picture is a lot of its own, and not worth a copy.
            pictures = first[None] if len(chosen) == 1 else np.stack([samples[i][0] for i in chosen])
            for i, streams in zip(chosen, self._encode_alike(pictures, level, effort), strict=True):
                height, width, _ = samples[i][0].shape
                header = Header(width, height, samples[i][1], 8, self.entry.id, level)
                out[i] = container.pack(header, streams)
        if lossless is None:
            for i, (array, colour) in enumerate(samples):
                if exact.promising(array):
                    out[i] = min(out[i], _without_loss(array, colour), key=len)
        return out

    @torch.no_grad()
    def _encode_alike(self, pictures: np.ndarray, level: int, effort: int) -> list[list[bytes]]:
        """Streams of all groups for each of N pictures (uint8, N x H x W x 3)."""
        model = self._model()
        rows, columns = _latent_size(pictures.shape[1], pictures.shape[2])
        streams: list[list[bytes]] = [[] for _ in pictures]
        for group in groups(rows, columns):
            wide = group.widened(model.analysis_halo, rows, columns)
            samples = pictures[:, *wide.slices(LATENT_STRIDE)]
            latent, hyper = model.analyse(samples, level)
            inner = group.within(wide)
            row, column = (slice(start, start + GROUP) for start in (inner.top, inner.left))
            hyper = hyper[:, *(slice(s.start // 4, s.stop // 4) for s in (row, column))]
            if effort == 0:
                coded = model.latents.quantise(
                    latent[:, row, column], hyper, level, group.height, group.width
                ).blocks
            else:
                coded = [
                    refine(model, picture, y, z, level, inner, (row, column), effort)
                    for picture, y, z in zip(samples, latent.split(1), hyper.split(1), strict=True)
                ]
            for item, blocks in zip(streams, coded, strict=True):
                item.append(model.latents.encode(blocks))
        return streams

    def decode_batch(
        self, batch: Sequence[bytes], *, max_pixels: int = container.MAX_PIXELS
    ) -> list[Image.Image]:
        """Decode many files; those of equal size, model and level pass the networks together."""
        parsed = [container.parse(data, max_pixels) for data in batch]
        headers = [c.header for c in parsed]
        keys = [(h.height, h.width, h.colour, h.model_id, h.level) for h in headers]
        out: list[Image.Image | None] = [None] * len(batch)
        for chosen in _alike(keys, BATCH_PIXELS):
            if headers[chosen[0]].lossless:
                for i in chosen:
                    out[i] = exact.decode(parsed[i].streams[0], headers[i])
                continue
            pictures = self._decode_alike([parsed[i] for i in chosen])
            for i, picture in zip(chosen, pictures, strict=True):
                out[i] = Image.fromarray(picture)
        return [image for image in out if image is not None]

    def decode_latent(self, data: bytes, *, max_pixels: int = container.MAX_PIXELS) -> np.ndarray:
        """The quantised latent of a file, what every decoder must agree on to the last bit: int32,
        H/16 x W/16 x M (rounded up), in units of 1/64 quantisation step. Raises as `decode`, and
        VaeError where the picture is stored without loss."""
        parsed = container.parse(data, max_pixels)
        if parsed.header.lossless:
            raise VaeError("the picture is stored without loss and has no latent")
        latent = self._latents([parsed])[0]
        return (latent.double() * 2**STEP_BITS).to(torch.int32).cpu().numpy()

    @torch.no_grad()
    def _latents(self, files: list[Container]) -> Tensor:
        """Latents (float32, N x h x w x M, in steps) of files alike but for their streams."""
        header = files[0].header
        model = self._model(header.model_id)
        rows, columns = _latent_size(header.height, header.width)
        channels = model.config.latent_channels
        latent = torch.zeros(len(files), rows, columns, channels, device=self.device)
        for number, group in enumerate(groups(rows, columns)):
            streams = [file.streams[number] for file in files]
            try:
                part = model.latents.decode(streams, header.level, group.height, group.width)
            except CorruptFile as error:
                raise CorruptFile(f"group {number}: {error}") from error
            latent[:, *group.slices()] = part[:, : group.height, : group.width]
        return latent

    @torch.no_grad()
    def _decode_alike(self, files: list[Container]) -> np.ndarray:
        """Pictures (uint8, N x H x W x 3, or N x H x W if grey) of files alike but for streams."""
        header = files[0].header
        model, latent = self._model(header.model_id), self._latents(files)
        rows, columns = latent.shape[1:3]
        grey = header.colour == container.GREY
        size = (len(files), header.height, header.width)
        out = np.empty(size if grey else (*size, 3), dtype=np.uint8)
        for group in groups(rows, columns):
            wide = group.widened(model.synthesis_halo, rows, columns)
            samples = model.synthesise(latent[:, *wide.slices()], header.level)
            samples = samples[:, *group.within(wide).slices(LATENT_STRIDE)]
            if grey:
                samples = samples.mean(dim=3)
            target = out[:, *group.slices(LATENT_STRIDE)]  # the picture may end within a position
            samples = samples[:, : target.shape[1], : target.shape[2]]
            target[:] = samples.clamp(0, 255).round().to(torch.uint8).cpu().numpy()
        return out


def _without_loss(samples: np.ndarray, colour: int) -> bytes:
    height, width, _ = samples.shape
    header = Header(width, height, colour, 8, container.NO_MODEL, 0)
    return container.pack(header, [exact.encode(samples)])


def _latent_size(height: int, width: int) -> tuple[int, int]:
    return -(-height // LATENT_STRIDE), -(-width // LATENT_STRIDE)


def _alike(keys: Iterable[tuple], limit: int) -> Iterator[list[int]]:
    """Indices of items with equal keys (height and width first), in lots of at most `limit` pixels."""
    lots: dict[tuple, list[int]] = {}
    for i, key in enumerate(keys):
        lots.setdefault(key, []).append(i)
    for key, members in lots.items():
        size = max(1, limit // (key[0] * key[1]))
        for start in range(0, len(members), size):
            yield members[start : start + size]
