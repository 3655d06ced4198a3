"""The codec: pictures to the bytes of `.vae` files and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image

from bitstream import container
from bitstream.container import Container, Header
from bitstream.errors import VaeError
from bitstream.recovery import salvage
from vaecodec import decoding, encoding
from vaecodec.geometry import Rectangle
from vaecodec.model import registry
from vaecodec.model.load import LoadedModel, load_model
from vaecodec.model.registry import ModelEntry
from vaecodec.pictures import alpha, finishing, reading
from vaecodec.pictures import lossless as exact
from vaecodec.pictures.reading import ImageLike, Picture
from vaecodec.quality import DEFAULT_EFFORT, DEFAULT_QUALITY, check_effort, level_of

SHRINKS = (1, 2, 4, 8)
#: Drawings are stored without loss if that takes at most this many times the bytes.
MORE_IF_EXACT = 1.25
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
    for the default; a size or None leaves the tune to `encode`. `device`: "auto", "cpu", "cuda" or a
    torch device. Weights are loaded on first use. Raises UnknownModel or VaeError.
    """

    def __init__(self, model: str | None = None, device: str | torch.device | None = None) -> None:
        self.device = pick_device(device)
        self._name = model
        self.entry = registry.find(model)
        self._loaded: dict[bytes, LoadedModel] = {}

    def _model(self, model_id: bytes | None = None) -> LoadedModel:
        if model_id is None or model_id == self.entry.id:
            return self._load(self.entry)
        return self._load(registry.find_id(model_id))

    def _load(self, entry: ModelEntry) -> LoadedModel:
        if entry.id not in self._loaded:
            self._loaded[entry.id] = load_model(entry, self.device)
        return self._loaded[entry.id]

    def encode(
        self,
        image: ImageLike,
        quality: int = DEFAULT_QUALITY,
        *,
        effort: int = DEFAULT_EFFORT,
        tune: str | None = None,
        lossless: bool | None = None,
        strip: bool = False,
    ) -> bytes:
        """The bytes of a `.vae` file.

        `image`: a PIL image, a path, or a uint8 array (H x W grey, or H x W x 2 with alpha, 3 RGB, 4
        RGBA). `quality`: 1..100; transparency is exact at all. `effort`: rounds of search for a better
        trade of size for quality, 0 (fastest) to MAX_EFFORT; each takes two to three times as long as
        encoding without. `tune`: "visual" weighs distortion as people see it, "psnr" as squared error;
        None is the model's own, by default the first. `lossless`: store the picture without loss,
        whatever the quality; None does so for drawings and screenshots where the file is smaller, or
        hardly larger, and where nothing else will do; False never.
        `strip`: leave out colour profile, EXIF and XMP. Raises BadImage or VaeError (the latter also
        for another tune than the model's).
        """
        return self.encode_batch(
            [image], quality, effort=effort, tune=tune, lossless=lossless, strip=strip
        )[0]

    def decode(
        self,
        data: bytes,
        *,
        max_pixels: int = container.MAX_PIXELS,
        region: tuple[int, int, int, int] | None = None,
        shrink: int = 1,
        recover: bool = False,
    ) -> Image.Image:
        """The picture in the bytes of a `.vae` file, of mode "RGB", "L", "RGBA" or "LA"; its `info` has
        "icc_profile", "exif" and "xmp" where the file does.

        `max_pixels`: larger pictures are refused before anything is allocated. `region`: left, top,
        width and height in pixels of the only part wanted; groups outside it are not decoded. `shrink`:
        1, 2, 4 or 8, average so many samples along each axis into one. `recover`: decode what is intact
        of a damaged file and fill in lost groups from their neighbours; `info` then has "damage", a
        sentence, and "lost", the rectangles filled in as (left, top, width, height). Raises
        NotAVaeFile, UnsupportedVersion, UnknownModel, CorruptFile, TruncatedFile, LimitExceeded, or
        VaeError for a region or shrinking that cannot be.
        """
        if shrink not in SHRINKS:
            raise VaeError(f"shrink must be one of {SHRINKS}, not {shrink!r}")
        file = salvage(data, max_pixels) if recover else container.parse(data, max_pixels)
        image = self._decode([file], _rectangle(region, file.header), recover)[0]
        return image.reduce(shrink) if shrink > 1 else image

    def encode_batch(
        self,
        batch: Sequence[ImageLike],
        quality: int = DEFAULT_QUALITY,
        *,
        effort: int = DEFAULT_EFFORT,
        tune: str | None = None,
        lossless: bool | None = None,
        strip: bool = False,
    ) -> list[bytes]:
        """Encode many pictures as `encode` does; those of equal size pass the networks together."""
        level = level_of(quality)
        check_effort(effort)
        own = tune in (None, self.entry.tune)
        entry = self.entry if own else registry.find(self._name, tune)
        pictures = [reading.to_picture(image) for image in batch]
        if strip:
            pictures = [picture.stripped() for picture in pictures]
        if lossless:
            return [_without_loss(picture) for picture in pictures]
        out: list[bytes] = [b""] * len(batch)
        for chosen in _batches([picture.samples.shape for picture in pictures], BATCH_PIXELS):
            members = [pictures[i] for i in chosen]
            encoded = encoding.encode(self._load(entry), _stacked(members), level, effort)
            for i, picture, item in zip(chosen, members, encoded, strict=True):
                out[i] = _with_loss(picture, item.streams, entry.id, level)
                if lossless is None:
                    out[i] = _exact_if_better(picture, out[i], item.sound)
        return out

    def decode_batch(
        self, batch: Sequence[bytes], *, max_pixels: int = container.MAX_PIXELS
    ) -> list[Image.Image]:
        """Decode many files; those of equal size, model and level pass the networks together."""
        parsed = [container.parse(data, max_pixels) for data in batch]
        headers = [c.header for c in parsed]
        keys = [(h.height, h.width, h.colour, h.model_id, h.level) for h in headers]
        out: dict[int, Image.Image] = {}
        for chosen in _batches(keys, BATCH_PIXELS):
            whole = _rectangle(None, headers[chosen[0]])
            out |= zip(chosen, self._decode([parsed[i] for i in chosen], whole), strict=True)
        return [out[i] for i in range(len(batch))]

    def decode_symbols(self, data: bytes, *, max_pixels: int = container.MAX_PIXELS) -> np.ndarray:
        """The symbols of a file's latent, what every decoder must agree on to the last bit: int32,
        H/16 x W/16 x M (rounded up). Raises as `decode`, and VaeError where the picture is stored
        without loss."""
        parsed = container.parse(data, max_pixels)
        if parsed.header.lossless:
            raise VaeError("the picture is stored without loss and has no latent")
        return decoding.decode_symbols(self._model(parsed.header.model_id), parsed)

    def _decode(
        self, files: list[Container], region: Rectangle, recover: bool = False
    ) -> list[Image.Image]:
        """Pictures of files equal in header, within `region` in pixels. `recover`: of one."""
        if files[0].header.lossless:
            return [finishing.without_loss(file, region) for file in files]
        model = self._model(files[0].header.model_id)
        decoded = decoding.decode(model, files, region, recover=recover)
        return [
            finishing.with_loss(file, picture.samples, picture.alpha, picture.lost)
            for file, picture in zip(files, decoded, strict=True)
        ]


def _stacked(pictures: Sequence[Picture]) -> np.ndarray:
    """Samples to encode (uint8, N x H x W x 3) of pictures of one size."""
    samples = [
        picture.samples
        if picture.alpha is None
        else alpha.smooth_where_hidden(picture.samples, picture.alpha)
        for picture in pictures
    ]
    # A large picture is a batch of its own, and is not copied.
    return samples[0][None] if len(samples) == 1 else np.stack(samples)


def _with_loss(picture: Picture, streams: list[bytes], model_id: bytes, level: int) -> bytes:
    planes = [] if picture.alpha is None else alpha.encode(picture.alpha)
    return container.pack(_header(picture, model_id, level), streams, planes, picture.metadata)


def _exact_if_better(picture: Picture, coded: bytes, sound: bool) -> bytes:
    """The file `coded`, or one without loss if that is hardly larger, or `coded` is not sound."""
    if not sound and exact.fits(*picture.samples.shape[:2]):
        return _without_loss(picture)
    if exact.promising(picture.samples):
        exactly = _without_loss(picture)
        if len(exactly) <= MORE_IF_EXACT * len(coded):
            return exactly
    return coded


def _without_loss(picture: Picture) -> bytes:
    samples = picture.samples
    if picture.alpha is not None:
        samples = np.concatenate((samples, picture.alpha[:, :, None]), axis=2)
    header = _header(picture, container.NO_MODEL, 0)
    return container.pack(header, [exact.encode(samples)], [], picture.metadata)


def _header(picture: Picture, model_id: bytes, level: int) -> Header:
    height, width, _ = picture.samples.shape
    return Header(
        width=width, height=height, colour=picture.colour, depth=8, model_id=model_id, level=level
    )


def _rectangle(region: tuple[int, int, int, int] | None, header: Header) -> Rectangle:
    """A region (left, top, width, height) in pixels; the whole picture if there is none.

    Raises VaeError if it is not within the picture.
    """
    if region is None:
        return Rectangle(0, 0, header.height, header.width)
    left, top, width, height = region
    fits = left + width <= header.width and top + height <= header.height
    if min(left, top) < 0 or min(width, height) < 1 or not fits:
        raise VaeError(
            f"the region of {width} x {height} pixels at {left},{top} is not within the picture of "
            f"{header.width} x {header.height}"
        )
    return Rectangle(top, left, top + height, left + width)


def _batches(keys: Iterable[tuple], limit: int) -> Iterator[list[int]]:
    """Indices of items with equal keys (height and width first), at most `limit` pixels at a time."""
    by_key: dict[tuple, list[int]] = {}
    for i, key in enumerate(keys):
        by_key.setdefault(key, []).append(i)
    for key, members in by_key.items():
        size = max(1, limit // (key[0] * key[1]))
        for start in range(0, len(members), size):
            yield members[start : start + size]
