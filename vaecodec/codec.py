"""The codec: pictures to the bytes of `.vae` files and back."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from PIL import Image

from bitstream import container
from bitstream.container import Container, Header
from bitstream.errors import BadType, BadValue, VaeError
from bitstream.recovery import salvage
from vaecodec import bulk, decoding, encoding, targets
from vaecodec.bulk import OnError, Steps
from vaecodec.encoding import Encoded, Prepared
from vaecodec.entropy_processes import EntropyProcesses
from vaecodec.geometry import Rectangle, whole_positions
from vaecodec.model import registry
from vaecodec.model.load import LoadedModel, load_model
from vaecodec.model.registry import ModelEntry
from vaecodec.model.restoring import load_restoring
from vaecodec.parallel import MAX_PROCESSES
from vaecodec.pictures import finishing, packing, reading
from vaecodec.pictures.reading import ImageLike
from vaecodec.quality import (
    DEFAULT_EFFORT,
    DEFAULT_QUALITY,
    EncodeOptions,
    Setting,
    Target,
    check_flag,
    check_tune,
    check_whole,
    chosen_target,
    level_of,
    told,
)
from vaecodec.sources import Source, announced_pixels, naming, read_source, taken
from vaecodec.targets import Trials

#: How many samples along each axis `decode` can average into one.
REDUCTIONS = (1, 2, 4, 8)
#: What errors about memory of the host and of CUDA's libraries say; PyTorch has no type for them.
_NO_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED")


def pick_device(device: str | torch.device | None) -> torch.device:
    """The device named; for None or "auto", CUDA if there is one, else the CPU. Raises VaeError for a
    device that is absent."""
    if device is None or device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not isinstance(device, (str, torch.device)):
        raise BadType(f"a device is named by a string, not {type(device).__name__}")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise BadValue(f"there is no device {device!r}; use auto, cpu or cuda") from error
    if chosen.type not in ("cpu", "cuda"):
        raise BadValue(f"the device {device!r} is not supported; use auto, cpu or cuda")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise VaeError("device cuda was asked for, but PyTorch finds no CUDA device here")
    if (chosen.index or 0) >= max(1, torch.cuda.device_count()):
        raise VaeError(f"there is no device {chosen}, but {torch.cuda.device_count()} of them")
    return chosen


class Codec:
    """Encodes with one model, decodes the files of any, and keeps loaded weights.

    - `model`: a name listed by `vaecodec models`, a size, a path to a `.safetensors` file, or None for
      the default; with a size or None, `encode` chooses the tune.
    - `device`: "auto", "cpu", "cuda" or a torch device.
    - `entropy_processes`: number of processes that code symbols alongside the networks, 0 (the
      default) to 61. With a GPU, use about as many as there are cores; on the CPU they gain nothing.
      Each takes 260 MB, and a script that asks for them needs its `if __name__ == "__main__":`. In
      daemonic processes, such as a DataLoader's workers, which cannot start others, there are none.

    Weights are loaded on first use. Raises UnknownModel, BadValue, BadType or VaeError.

    One Codec may be used from several threads, and (on the CPU) in forked processes, whose networks
    then run on one thread each. A pickled Codec carries its model and device, but neither weights nor
    processes.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        device: str | torch.device | None = None,
        *,
        entropy_processes: int = 0,
    ) -> None:
        entropy_processes = check_whole("entropy_processes", entropy_processes, 0, MAX_PROCESSES)
        self.device = pick_device(device)
        self._processes = EntropyProcesses(entropy_processes) if entropy_processes else None
        self._name = model
        self.entry = registry.find(model)
        self._loaded: dict[bytes, LoadedModel] = {}
        self._lock = threading.Lock()
        _codecs.add(self)

    def __reduce__(self) -> tuple[object, ...]:
        return Codec, (self._name, self.device)

    def loaded(self, model_id: bytes | None = None) -> LoadedModel:
        """The networks of the model with this id, by default of the codec's own. Raises
        UnknownModel."""
        return self._load(self.entry if model_id is None else self.entry_of(model_id))

    def entry_of(self, model_id: bytes) -> ModelEntry:
        """The model with this id: the codec's own or an installed one. Raises UnknownModel."""
        return self.entry if model_id == self.entry.id else registry.find_id(model_id)

    def _load(self, entry: ModelEntry, *, restoring: bool = False) -> LoadedModel:
        with self._lock:
            if entry.id not in self._loaded:
                model = load_model(entry, self.device)
                if self._processes is not None:
                    model.coding = self._processes.of(entry, model.symbols)
                self._loaded[entry.id] = model
            model = self._loaded[entry.id]
            if restoring and model.restoring is None:
                with _memory_errors():
                    model.restoring = load_restoring(entry, model.config, self.device)
            return model

    def encode(
        self,
        image: ImageLike,
        quality: int = DEFAULT_QUALITY,
        *,
        effort: int = DEFAULT_EFFORT,
        tune: str | None = None,
        lossless: bool | None = None,
        strip: bool = False,
        denoise: float | str | None = None,
        deblock: float | str | None = None,
        target_size: int | None = None,
        target_bpp: float | None = None,
        target_psnr: float | None = None,
        target_ssimulacra2: float | None = None,
    ) -> bytes:
        """Encode a picture to the bytes of a `.vae` file.

        - `image`: a path, a file object or the bytes of a picture file; a PIL image; a uint8 array
          (H x W grey, H x W x 2 grey with alpha, H x W x 3 RGB or H x W x 4 RGBA); a torch tensor
          (C x H x W, uint8 or float 0..1).
        - `quality`: 1..100, by default 60; transparency is exact at every quality.
        - `effort`: rounds of search for a better trade-off between size and quality, 0 (fastest, the
          default) to 32; each takes three to six times as long as encoding without search.
        - `tune`: "visual" weighs distortion as people see it, "psnr" as squared error; None means the
          model's own, by default "visual".
        - `lossless`: True stores the picture without loss, whatever the quality; False never does;
          None does so for drawings and screenshots if the file is smaller or hardly larger, and where
          nothing else will do.
        - `strip`: leave out colour profile, EXIF and XMP.
        - `denoise`: encode the picture as it was without noise of this standard deviation (above 0, at
          most 50, on the scale 0..255), or "auto" to find it.
        - `deblock`: encode the picture as it was before JPEG compression of this quality (10 to 99, as
          libjpeg counts), or "auto" for that of its file, which leaves a picture from any other kind of
          file as it is.

        At most one target may take the place of `quality`, which then has no effect:

        - `target_size` (bytes) or `target_bpp` (bits per pixel): the best file that is no larger; it
          usually has 96 % of that size or more, unless the best quality takes less;
        - `target_psnr` (dB) or `target_ssimulacra2` (points): the lowest level that reaches it; unless
          `lossless` is False, a file without loss if none does.

        Raises BadImage or VaeError (the latter also for a tune other than the model's, for a target
        that cannot be met, and for a picture that would be destroyed in part and is too large to be
        stored without loss). `denoise` and `deblock` cannot be combined with `effort`, `lossless` or a
        target of quality, which ask for the picture as it is.
        """
        level = level_of(quality)
        options = EncodeOptions(
            effort=effort,
            tune=tune,
            lossless=lossless,
            strip=strip,
            denoise=denoise,
            deblock=deblock,
        )
        target = chosen_target(
            size=target_size, bpp=target_bpp, psnr=target_psnr, ssimulacra2=target_ssimulacra2
        )
        if target is None:
            return next(self._files([image], level, options, "raise"))
        return self._meeting(image, target, options)

    def decode(
        self,
        source: Source,
        *,
        max_pixels: int = container.MAX_PIXELS,
        box: tuple[int, int, int, int] | None = None,
        reduce: int = 1,
        recover: bool = False,
    ) -> Image.Image:
        """Decode a `.vae` file to a picture of mode "RGB", "L", "RGBA" or "LA", whose `info` has
        "icc_profile", "exif" and "xmp" if the file does.

        - `source`: the path of the file, its bytes, or a file object, read from its current position.
        - `max_pixels`: larger pictures are refused before anything is allocated; by default those above
          2^28 pixels.
        - `box`: left, upper, right and lower edge, in pixels, of the part to decode, as in
          `PIL.Image.Image.crop`; groups outside it are not decoded.
        - `reduce`: 1, 2, 4 or 8; average this many samples along each axis into one.
        - `recover`: decode what is intact of a damaged file and fill in lost groups from their
          neighbours; `info` then has "damage", a sentence, and "lost", the boxes that are filled in, in
          pixels of the picture returned.

        Raises NotAVaeFile, UnsupportedVersion, UnknownModel, CorruptFile, TruncatedFile, LimitExceeded,
        BadValue or BadType; VaeError for a file that cannot be read.
        """
        check_flag("recover", recover)
        reduce = check_reduce(reduce)
        max_pixels = check_whole("max_pixels", max_pixels, 1, sys.maxsize)
        data, name = read_source(source)
        with naming(name), self.own_settings():
            file = salvage(data, max_pixels) if recover else container.parse(data, max_pixels)
            region = _rectangle(box, file.header)
            image = self._images([file], region, recover)[0]
        return finishing.reduced(image, reduce) if reduce > 1 else image

    def encode_batch(
        self,
        batch: Iterable[ImageLike],
        quality: int = DEFAULT_QUALITY,
        *,
        effort: int = DEFAULT_EFFORT,
        tune: str | None = None,
        lossless: bool | None = None,
        strip: bool = False,
        denoise: float | str | None = None,
        deblock: float | str | None = None,
        on_error: OnError = "raise",
    ) -> list[Any]:
        """Encode many pictures as `encode` does, several at a time, but without its targets, which give
        each picture a quality of its own.

        - `batch`: pictures, or one array or tensor of them all (N x H x W x C or N x C x H x W).
        - `on_error`: "raise" the first error, or "return" each error in place of its file.
        """
        many = self.encode_many(
            bulk.members(batch, "pictures"),
            quality,
            effort=effort,
            tune=tune,
            lossless=lossless,
            strip=strip,
            denoise=denoise,
            deblock=deblock,
            on_error=on_error,
        )
        return list(many)

    def encode_many(
        self,
        images: Iterable[ImageLike],
        quality: int = DEFAULT_QUALITY,
        *,
        effort: int = DEFAULT_EFFORT,
        tune: str | None = None,
        lossless: bool | None = None,
        strip: bool = False,
        denoise: float | str | None = None,
        deblock: float | str | None = None,
        on_error: OnError = "raise",
    ) -> Iterator[Any]:
        """Encode any number of pictures, yielding their files in order; see `encode_batch`.

        Pictures are taken from `images` as they are needed, a few ahead of the file asked for; with a
        GPU, two windows of 32 pictures or 34 megapixels per thread, twelve windows at most.
        """
        options = EncodeOptions(
            effort=effort,
            tune=tune,
            lossless=lossless,
            strip=strip,
            denoise=denoise,
            deblock=deblock,
        )
        return self._files(images, level_of(quality), options, on_error)

    def of_tune(self, tune: str | None) -> ModelEntry:
        """The model that `encode` takes for `tune`."""
        if tune is not None:
            check_tune(tune)
        own = tune in (None, self.entry.tune)
        return self.entry if own else registry.find(self._name, tune)

    def _files(
        self, images: Iterable[ImageLike], level: int, options: EncodeOptions, on_error: OnError
    ) -> Iterator[Any]:
        """The files of pictures, in order."""
        entry = self.of_tune(options.tune)

        def encode(items: Sequence[Prepared]) -> list[bytes]:
            # Of several nobody knows whose error it is: they are tried again one by one.
            with naming(items[0].picture.name if len(items) == 1 else None):
                if options.lossless:
                    return [packing.without_loss(item.picture) for item in items]
                encoded = self._encoded(items, entry, Setting(level=level), options)
                if options.lossless is None:
                    pairs = zip(items, encoded, strict=True)
                    return [encoding.exact_if_better(item, found) for item, found in pairs]
                return [found.file for found in encoded]

        steps = Steps(
            take=reading.taken,
            pixels=reading.announced_pixels,
            read=lambda image: encoding.prepare(image, options),
            shape=Prepared.shape,
            work=encode,
        )
        return bulk.each(bulk.several(images, "pictures"), steps, self.device, on_error)

    def _meeting(self, image: ImageLike, target: Target, options: EncodeOptions) -> bytes:
        """The file of a picture that meets a target."""
        target.check_beside(options)
        entry, item = self.of_tune(options.tune), encoding.prepare(image, options)
        trials = Trials(
            encode=lambda setting: self._encoded([item], entry, setting, options)[0],
            decode=lambda file: np.asarray(self.decode(file, max_pixels=sys.maxsize)),
        )
        with naming(item.picture.name):
            return targets.meet(target, item, options.lossless, entry.id, trials)

    def _encoded(
        self, items: Sequence[Prepared], entry: ModelEntry, setting: Setting, options: EncodeOptions
    ) -> list[Encoded]:
        """Pictures of one shape, encoded with loss."""
        model = self._load(entry, restoring=items[0].degradation is not None)
        with self.own_settings():
            return encoding.encode(model, items, setting, options.effort, entry.id)

    def decode_batch(
        self,
        batch: Iterable[Source],
        *,
        max_pixels: int = container.MAX_PIXELS,
        on_error: OnError = "raise",
        as_tensor: bool = False,
    ) -> list[Any]:
        """Decode many files as `decode` does, several at a time.

        - `on_error`: "raise" the first error, or "return" each error in place of its picture.
        - `as_tensor`: return tensors, uint8, C x H x W (C is 1 for grey, 3 for RGB, and one more with
          transparency), on the device of the codec, instead of PIL images.
        """
        files = bulk.members(batch, "files")
        return list(
            self.decode_many(files, max_pixels=max_pixels, on_error=on_error, as_tensor=as_tensor)
        )

    def decode_many(
        self,
        sources: Iterable[Source],
        *,
        max_pixels: int = container.MAX_PIXELS,
        on_error: OnError = "raise",
        as_tensor: bool = False,
    ) -> Iterator[Any]:
        """Decode any number of files, yielding their pictures in order; see `decode_batch`.

        Files are taken from `sources` as they are needed, a few ahead of the picture asked for; with a
        GPU, two windows of 32 files or 34 megapixels per thread, twelve windows at most.
        """
        max_pixels = check_whole("max_pixels", max_pixels, 1, sys.maxsize)
        check_flag("as_tensor", as_tensor)

        def read(source: Source) -> _Parsed:
            data, name = read_source(source)
            with naming(name):
                return _Parsed(name=name, file=container.parse(data, max_pixels))

        def decode(parsed: Sequence[_Parsed]) -> Sequence[Image.Image | torch.Tensor]:
            files = [each.file for each in parsed]
            # Of several nobody knows whose error it is: they are tried again one by one.
            name = parsed[0].name if len(parsed) == 1 else None
            with naming(name), self.own_settings():
                return self._tensors(files) if as_tensor else self._images(files)

        steps = Steps(take=taken, pixels=announced_pixels, read=read, shape=_Parsed.shape, work=decode)
        return bulk.each(bulk.several(sources, "files"), steps, self.device, on_error)

    def decode_symbols(self, source: Source, *, max_pixels: int = container.MAX_PIXELS) -> np.ndarray:
        """The symbols of a file's latent, on which all decoders must agree to the last bit: int32,
        H/16 x W/16 x M (rounded up). Raises what `decode` raises, and VaeError if the picture is stored
        without loss."""
        max_pixels = check_whole("max_pixels", max_pixels, 1, sys.maxsize)
        data, name = read_source(source)
        with naming(name), self.own_settings():
            parsed = container.parse(data, max_pixels)
            decoding.check_latent(parsed.header)
            return decoding.decode_symbols(self.loaded(parsed.header.model_id), parsed)

    @contextlib.contextmanager
    def own_settings(self) -> Iterator[None]:
        """Shield work from the caller's autocast and inference mode, and turn torch's errors about
        memory into MemoryError."""
        with (
            _memory_errors(),
            torch.inference_mode(False),
            torch.autocast(self.device.type, enabled=False),
            torch.autocast("cpu", enabled=False),  # symbols are decoded there
        ):
            yield

    def _images(
        self, files: Sequence[Container], region: Rectangle | None = None, recover: bool = False
    ) -> list[Image.Image]:
        """Pictures of files that can be decoded together (`_Parsed.shape`), or of one what lies within
        `region`, in pixels. `recover`: of one."""
        regions = [_whole(file) if region is None else region for file in files]
        if files[0].header.lossless:
            return [finishing.without_loss(*each) for each in zip(files, regions, strict=True)]
        model = self.loaded(files[0].header.model_id)
        decoded = decoding.decode(model, files, region, recover=recover)
        return [
            finishing.with_loss(file, part, picture.samples, picture.alpha, picture.lost)
            for file, part, picture in zip(files, regions, decoded, strict=True)
        ]

    def _tensors(self, files: Sequence[Container]) -> list[torch.Tensor]:
        """The same as tensors on the device."""
        if files[0].header.lossless:
            images = [finishing.without_loss(file, _whole(file)) for file in files]
            return [finishing.as_tensor(np.array(image)).to(self.device) for image in images]
        model = self.loaded(files[0].header.model_id)
        decoded = decoding.decode(model, files)
        return [finishing.as_tensor(picture.samples, picture.alpha) for picture in decoded]


@contextlib.contextmanager
def _memory_errors() -> Iterator[None]:
    """Turn torch's errors about memory into MemoryError."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if isinstance(error, torch.OutOfMemoryError) or any(words in text for words in _NO_MEMORY):
            raise MemoryError(text.splitlines()[0]) from error
        raise


def kept_codec(model: str | None, device: str | None, entropy_processes: int = 0) -> Codec:
    """The codec that all calls with these arguments share, from any thread."""
    with _keeping:
        return _kept_codec(model, device, entropy_processes)


_keeping = threading.Lock()
_codecs: weakref.WeakSet[Codec] = weakref.WeakSet()


def _in_forked_process() -> None:
    """Make anew what threads that the fork left behind may hold: a child would wait for it for ever."""
    global _keeping
    torch.set_num_threads(1)  # OpenMP's threads are left behind, too
    _keeping = threading.Lock()
    for codec in _codecs:
        codec._lock = threading.Lock()
        if codec._processes is not None:
            codec._processes.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_process)


@functools.lru_cache(maxsize=4)
def _kept_codec(model: str | None, device: str | None, entropy_processes: int) -> Codec:
    return Codec(model, device, entropy_processes=entropy_processes)


def chosen(codec: Codec | None) -> Codec:
    """`codec`, or the one kept for no arguments if it is None. Raises BadType if it is not a Codec."""
    if codec is not None and not isinstance(codec, Codec):
        raise BadType(f"a Codec was expected, not {codec!r}")
    return kept_codec(None, None) if codec is None else codec


@dataclass(frozen=True, kw_only=True)
class _Parsed:
    """A file and its name, if it has one."""

    name: str | None
    file: Container

    def shape(self) -> tuple[object, ...]:
        """Equal in files that can be decoded together."""
        h = self.file.header
        return *whole_positions(h.height, h.width), h.colour, h.model_id, h.level


def check_reduce(reduce: int) -> int:
    """Return `reduce` as an int. Raises BadValue if it is not one of REDUCTIONS."""
    whole = isinstance(reduce, Integral) and not isinstance(reduce, bool)
    if not whole or reduce not in REDUCTIONS:
        raise BadValue(f"reduce must be one of {REDUCTIONS}, not {told(reduce)}")
    return int(reduce)


def _whole(file: Container) -> Rectangle:
    return Rectangle(0, 0, file.header.height, file.header.width)


def _rectangle(box: tuple[int, int, int, int] | None, header: Header) -> Rectangle:
    """A box (left, upper, right, lower) in pixels; the whole picture if there is none.

    Raises BadType if it is no box, BadValue if it is not within the picture.
    """
    if box is None:
        return Rectangle(0, 0, header.height, header.width)
    if not isinstance(box, Sequence) or isinstance(box, str) or len(box) != 4:
        raise BadType(f"a box is four whole numbers (left, upper, right, lower), not {told(box)}")
    if not all(isinstance(edge, Integral) and not isinstance(edge, bool) for edge in box):
        raise BadType(f"a box is four whole numbers (left, upper, right, lower), not {told(box)}")
    left, upper, right, lower = (int(edge) for edge in box)
    if not (0 <= left < right <= header.width and 0 <= upper < lower <= header.height):
        raise BadValue(
            f"the box {', '.join(map(told, (left, upper, right, lower)))} is empty or not within the "
            f"picture of {header.width} x {header.height}"
        )
    return Rectangle(upper, left, lower, right)
