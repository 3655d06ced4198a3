"""Compare vaecodec, on one picture, with the codecs that browsers support, at the same file size.

What is compared is what is seen: transparent pictures are put over white. Colour profile, EXIF, XMP and
transparency do not count towards the size of any file.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

import vaecodec
from bitstream import container
from bitstream.container import MAX_SIDE
from bitstream.errors import VaeError
from vaecodec import figures
from vaecodec.bench.codecs import other
from vaecodec.bench.codecs.pillow import Pillow
from vaecodec.bench.matched import Coded, largest_within
from vaecodec.bench.run import guarded
from vaecodec.codec import Codec
from vaecodec.model.ssimulacra2 import SMALLEST_SIDE
from vaecodec.pages.assemble import assemble
from vaecodec.pictures import lossless
from vaecodec.pictures.alpha import OPAQUE
from vaecodec.pictures.reading import Picture

#: The other codecs: their names in `vaecodec bench`, and what to call them.
PEERS = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF", "avif-psnr": "AVIF, tune psnr"}
#: A lossless WebP file is tried if a quick one has at most this many times the size allowed.
_WORTH_TRYING = 1.5
#: Longest sides that formats allow, in pixels.
SIDES = {"jpeg": 65500, "webp": 16383}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A file that browsers can show, and its media type."""

    type: str
    data: bytes

    @property
    def url(self) -> str:
        """The file as a data URL."""
        return f"data:{self.type};base64,{base64.b64encode(self.data).decode()}"


@dataclass(frozen=True, kw_only=True)
class Version:
    """A picture as coded by one codec.

    `name`, `settings`: of the codec, in words. `quality`: on the codec's own scale, or "lossless".
    `bytes`: of its file, as the module counts them. `bpp`: bits per pixel. `fits`: whether the file is
    no larger than ours. `psnr`: dB, None if nothing differs. `ssimulacra2`: points, None if left out.
    """

    name: str
    settings: str
    quality: str
    bytes: int
    bpp: float
    fits: bool
    psnr: float | None
    ssimulacra2: float | None
    shown: Shown

    def as_json(self) -> dict[str, object]:
        """The fields, for a page."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**fields, "shown": self.shown.url}


@dataclass(frozen=True, kw_only=True)
class Original:
    """A picture to compare with. `seen`: uint8 H x W x 3, over white if transparent."""

    picture: Picture
    seen: np.ndarray

    @property
    def profile(self) -> bytes:
        """The ICC profile; empty if there is none, or one of grey samples, which are shown as RGB."""
        return b"" if self.picture.grey else self.picture.metadata.get("icc", b"")


def original(picture: Picture) -> Original:
    """Prepare a picture for `own` and `peer` to compare with."""
    return Original(picture=picture, seen=over_white(picture.samples, picture.alpha))


@dataclass(frozen=True, kw_only=True)
class Own:
    """vaecodec's file, with metadata and transparency, and the version of it that is compared."""

    file: bytes
    version: Version


def own(
    source: Original, codec: Codec, *, quality: int, tune: str | None = None, effort: int = 0
) -> Own:
    """Encode with vaecodec. Raises what `Codec.encode` does."""
    file = codec.encode(source.picture, quality, tune=tune, effort=effort)
    decoded = seen_of(codec.decode(file))
    parsed = container.parse(file)
    header = parsed.header
    model = "no model" if header.lossless else codec.entry_of(header.model_id).name
    version = _version(
        source,
        decoded,
        name="vaecodec",
        settings=model + (f", effort {effort}" if effort else ""),
        quality="lossless" if header.lossless else str(quality),
        size=_picture_bytes(parsed, source.seen),
        fits=True,
        shown=shown(decoded, source.profile),
    )
    return Own(file=file, version=version)


def peer(
    source: Original, name: str, size: int, before_each: Callable[[], None] = lambda: None
) -> Version:
    """Encode with one of PEERS to at most `size` bytes. `before_each`: see `largest_within`.

    Raises VaeError if Pillow lacks the format, or the picture is too large for it.
    """
    codec = other(name)
    assert isinstance(codec, Pillow)
    if max(source.seen.shape) > SIDES.get(name, MAX_SIDE):
        raise VaeError(f"{PEERS[name]} has no pictures with a side of more than {SIDES[name]} pixels")
    with guarded(PEERS[name]):
        exact = replace(codec, options={**codec.options, "lossless": True})
        found = _without_loss(source, exact, size) if name == "webp" else None
        if found is not None:
            codec = exact
        else:
            found = largest_within(source.seen, codec, size, codec.ends, before_each)
        seen = found.data
        if source.profile:  # only for display: not part of the size
            profiled = {**codec.options, "icc_profile": source.profile}
            seen = replace(codec, options=profiled).encode(source.seen, found.quality)
        decoded = codec.decode(found.data)
    return _version(
        source,
        decoded,
        name=PEERS[name],
        settings=codec.settings,
        quality="lossless" if codec is exact else str(found.quality),
        size=len(found.data),
        fits=found.fits,
        shown=Shown(type=Image.MIME[codec.format], data=seen),
    )


def _without_loss(source: Original, exact: Pillow, size: int) -> Coded | None:
    """The lossless WebP file, if it is no larger than `size`, as happens with drawings."""
    if len(shown(source.seen).data) > _WORTH_TRYING * size:
        return None
    quality = 100  # how hard the encoder tries
    data = exact.encode(source.seen, quality)
    return Coded(quality=quality, data=data, fits=True) if len(data) <= size else None


def _version(
    source: Original,
    decoded: np.ndarray,
    *,
    name: str,
    settings: str,
    quality: str,
    size: int,
    fits: bool,
    shown: Shown,
) -> Version:
    """Build a Version with the figures of `decoded` (uint8 H x W x 3)."""
    height, width = source.seen.shape[:2]
    pixels = height * width
    measured = pixels <= figures.MEASURED_PIXELS and min(height, width) >= SMALLEST_SIDE
    seen = Picture(samples=source.seen, grey=source.picture.grey)
    decibels = figures.of("psnr", seen, decoded)
    return Version(
        name=name,
        settings=settings,
        quality=quality,
        bytes=size,
        bpp=8 * size / pixels,
        fits=fits,
        psnr=decibels if math.isfinite(decibels) else None,
        ssimulacra2=figures.of("ssimulacra2", seen, decoded) if measured else None,
        shown=shown,
    )


def over_white(samples: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Put `samples` (uint8 H x W x 3) with `alpha` (uint8 H x W, or None) over white."""
    if alpha is None:
        return samples
    share = alpha[:, :, None].astype(np.float32) / OPAQUE
    return np.rint(samples * share + OPAQUE * (1 - share)).astype(np.uint8)


def seen_of(image: Image.Image) -> np.ndarray:
    """Put a decoded picture over white: uint8 H x W x 3."""
    alpha = np.asarray(image.getchannel("A")) if image.mode in ("LA", "RGBA") else None
    return over_white(np.asarray(image.convert("RGB")), alpha)


def shown(samples: np.ndarray, profile: bytes = b"") -> Shown:
    """Store `samples` (uint8 H x W x 3) without loss: as PNG if they are too large for WebP, else as
    WebP. `profile`: ICC."""
    file, image = io.BytesIO(), Image.fromarray(samples)
    webp = max(image.size) <= SIDES["webp"]
    with guarded("the picture cannot be shown"):
        if webp:
            image.save(file, "WEBP", lossless=True, method=0, quality=20, icc_profile=profile)
        else:
            image.save(file, "PNG", compress_level=1, icc_profile=profile or None)
    return Shown(type="image/webp" if webp else "image/png", data=file.getvalue())


def _picture_bytes(parsed: container.Container, seen: np.ndarray) -> int:
    """Size of a `.vae` file without its metadata and transparency. A lossless file has that in the same
    stream as colours: what counts is one of `seen` (uint8 H x W x 3), the picture over white."""
    header, streams = parsed.header, list(parsed.streams)
    if header.alpha:
        header = replace(header, colour=container.GREY if header.grey else container.RGB)
        streams = [lossless.encode(seen)] if header.lossless else streams
    return len(container.pack(header, streams, ()))


def table(versions: Sequence[Version]) -> str:
    """A line per version, for a terminal."""
    lines = [f"{'codec':<16}{'quality':>8}{'bytes':>12}{'bpp':>9}{'PSNR':>9}{'SSIMULACRA2':>13}"]
    for v in versions:
        psnr = "equal" if v.psnr is None else f"{v.psnr:.2f}"
        points = "-" if v.ssimulacra2 is None else f"{v.ssimulacra2:.2f}"
        line = f"{v.name:<16}{v.quality:>8}{v.bytes:>12}{v.bpp:>9.3f}{psnr:>9}{points:>13}"
        lines.append(line if v.fits else f"{line}  (its smallest)")
    return "\n".join(lines)


def notices(picture: Picture) -> list[str]:
    """Sentences to show with a comparison."""
    found = []
    if picture.metadata or picture.alpha is not None:
        found.append("Bytes are without colour profile, EXIF, XMP and transparency.")
    if picture.alpha is not None:
        found.append("What is transparent is compared over white.")
    return found


def page(name: str, source: Original, versions: Sequence[Version]) -> bytes:
    """Build an HTML file that shows a picture called `name` and its versions, ours first."""
    data = {
        "name": name,
        "version": vaecodec.__version__,
        "width": source.seen.shape[1],
        "height": source.seen.shape[0],
        "original": shown(source.seen, source.profile).url,
        "versions": [version.as_json() for version in versions],
        "notices": notices(source.picture),
    }
    return assemble("compare", {"data": data}).html
