"""From parsed files to samples: the path of every file through the decoder.

Group by group: entropy decoding, driven by scale indices (`vaecodec.model.symbols`), and adding the
means (`vaecodec.model.latents`); then, again group by group, synthesis from the latents and their
surroundings (`vaecodec.model.load`). Transparency has its own streams (`vaecodec.pictures.alpha`). Lost
groups are filled in from their neighbours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bitstream.container import Container, Header
from bitstream.errors import CorruptFile, VaeError
from vaecodec.geometry import (
    LATENT_STRIDE,
    Rectangle,
    groups,
    latent_size,
    pixel_groups,
    whole_positions,
)
from vaecodec.model.load import LoadedModel
from vaecodec.model.symbols import Stream, Symbols
from vaecodec.pictures import alpha
from vaecodec.pictures.inpaint import fill


@dataclass(frozen=True, kw_only=True)
class DecodedLatents:
    """`values`: float32, N x h x w x M, on the model's device. `failed`: the lost groups (zero in
    `values`), and why they are lost."""

    values: Tensor
    failed: dict[int, CorruptFile]


@dataclass(frozen=True, kw_only=True)
class DecodedPicture:
    """`samples`: uint8, H x W x 3, or H x W if grey, on the model's device. `alpha`: uint8, H x W, or
    None. `lost`: the groups that were filled in, at least in part."""

    samples: Tensor
    alpha: np.ndarray | None
    lost: frozenset[int]


@torch.no_grad()
def decode(
    model: LoadedModel,
    files: Sequence[Container],
    region: Rectangle | None = None,
    *,
    recover: bool = False,
) -> list[DecodedPicture]:
    """Decode `region` (in pixels) of one file, or the whole pictures of several files whose latents
    have equal sizes and that agree in colour, model and level.

    `recover` (one file only): fill in groups that cannot be decoded, and raise CorruptFile only if none
    can. Without it, the first that cannot be decoded raises CorruptFile.
    """
    header = files[0].header
    if any(file.header != header for file in files):  # each is cut to its own size below
        height, width = whole_positions(header.height, header.width)
        header = replace(header, height=height, width=width)
    whole = Rectangle(0, 0, header.height, header.width)
    region = whole if region is None else region
    rows, columns = latent_size(header.height, header.width)
    needed = region.covering(LATENT_STRIDE).widened(model.synthesis_halo, rows, columns)
    latents = decode_latents(model, files, needed, recover=recover)
    if latents.failed and region != whole:
        # What is filled in depends on everything around it.
        picture = decode(model, files, recover=True)[0]
        return [_cut(picture, header, region)]
    decoded = []
    for file, samples in zip(
        files, _synthesised(model, latents.values, needed, header, region), strict=True
    ):
        lost, plane, part = set(latents.failed), None, region
        if file.header != header:
            part = Rectangle(0, 0, file.header.height, file.header.width)
            samples = samples[part.slices()].contiguous()
        if lost:
            samples = _filled(samples, lost, header, part)
        if header.alpha:
            transparency = alpha.decode(file, part, recover=recover)
            plane = transparency.values
            lost |= set(transparency.failed)
        decoded.append(DecodedPicture(samples=samples, alpha=plane, lost=frozenset(lost)))
    return decoded


def _cut(picture: DecodedPicture, header: Header, region: Rectangle) -> DecodedPicture:
    """Cut a region out of a whole picture."""
    inside = {
        number
        for number, group in enumerate(pixel_groups(header.height, header.width))
        if group.intersection(region) is not None
    }
    cut = region.slices()
    return DecodedPicture(
        samples=picture.samples[cut].contiguous(),
        alpha=None if picture.alpha is None else np.ascontiguousarray(picture.alpha[cut]),
        lost=picture.lost & inside,
    )


@torch.no_grad()
def decode_latents(
    model: LoadedModel, files: Sequence[Container], wanted: Rectangle, *, recover: bool = False
) -> DecodedLatents:
    """Decode the latents within `wanted` (latent positions) of files with equal headers. `recover`: as
    in `decode`."""
    header = files[0].header
    reaching = {
        number: (group, part)
        for number, group in enumerate(groups(*latent_size(header.height, header.width)))
        if (part := group.intersection(wanted)) is not None
    }
    # Reject streams too short for their groups before allocating anything of the picture's size.
    failed = {number: CorruptFile(files[0].damage) for number in files[0].lost}
    for number, (group, _) in reaching.items():
        if number not in failed and (error := _too_short(model, files, number, group)) is not None:
            failed[number] = error
            if not recover:
                raise error
    _check_any_left(failed, header)
    channels = model.config.latent_channels
    size = (len(files), wanted.height, wanted.width, channels)
    latent = torch.zeros(size, dtype=torch.float32, device=model.device)
    intact = {number: found for number, found in reaching.items() if number not in failed}
    streams = (_stream(file, number, group) for number, (group, _) in intact.items() for file in files)
    with contextlib.closing(model.coding.decode_each(streams)) as decoded:
        for number, (group, part) in intact.items():
            try:
                symbols = [_named(next(decoded), number) for _ in files]
            except CorruptFile as error:
                if not recover:
                    raise
                failed[number] = error
                continue
            values = model.latents.reconstruct(symbols, header.level)
            latent[:, *part.within(wanted).slices()] = values[:, *part.within(group).slices()]
    _check_any_left(failed, header)
    return DecodedLatents(values=latent, failed=failed)


def check_latent(header: Header) -> None:
    """Raise VaeError if the picture is stored losslessly."""
    if header.lossless:
        raise VaeError("the picture is stored without loss and has no latent")


def whole_latent(model: LoadedModel, file: Container) -> Tensor:
    """Decode the latent of a file, in natural units: float32, H/16 x W/16 x M (rounded up), on the
    model's device."""
    whole = Rectangle(0, 0, *latent_size(file.header.height, file.header.width))
    return decode_latents(model, [file], whole).values[0]


def decode_symbols(model: LoadedModel, file: Container) -> np.ndarray:
    """Decode the symbols of a file's latent: int32, H/16 x W/16 x M (rounded up)."""
    check_lengths(model, file)
    rows, columns = latent_size(file.header.height, file.header.width)
    out = np.zeros((rows, columns, model.config.latent_channels), dtype=np.int32)
    rectangles = list(groups(rows, columns))
    streams = (_stream(file, number, group) for number, group in enumerate(rectangles))
    for number, found in enumerate(model.coding.decode_each(streams)):
        out[rectangles[number].slices()] = _named(found, number).latent.numpy()
    return out


def check_lengths(model: LoadedModel, file: Container) -> None:
    """Raise CorruptFile if a stream is too short to hold its group."""
    for number, group in enumerate(groups(*latent_size(file.header.height, file.header.width))):
        if (error := _too_short(model, [file], number, group)) is not None:
            raise error


def _too_short(
    model: LoadedModel, files: Sequence[Container], number: int, group: Rectangle
) -> CorruptFile | None:
    """Return an error if a stream is too short to hold its group."""
    least = model.symbols.least_bytes(files[0].header.level, group.height, group.width)
    shortest = min(len(file.streams[number]) for file in files)
    if shortest >= least:
        return None
    return CorruptFile(
        f"group {number}: a stream of {shortest} bytes is too short for it, {least} at least"
    )


def _stream(file: Container, number: int, group: Rectangle) -> Stream:
    return Stream(
        data=file.streams[number], level=file.header.level, rows=group.height, columns=group.width
    )


def _named(found: Symbols | CorruptFile, number: int) -> Symbols:
    """Return the symbols of a group. Raises CorruptFile naming the group if `found` is an error."""
    if isinstance(found, CorruptFile):
        raise CorruptFile(f"group {number}: {found}") from found
    return found


def _check_any_left(failed: Collection[int], header: Header) -> None:
    if len(failed) == header.group_count:
        raise CorruptFile("no group of the picture can be decoded")


def _synthesised(
    model: LoadedModel, latent: Tensor, held: Rectangle, header: Header, region: Rectangle
) -> Tensor:
    """Synthesise samples (uint8, N x H x W x 3, or N x H x W if grey) within `region`. `held`: the
    rectangle that `latent` covers: the region and its surroundings."""
    rows, columns = latent_size(header.height, header.width)
    size = (len(latent), region.height, region.width)
    out = torch.empty(size if header.grey else (*size, 3), dtype=torch.uint8, device=latent.device)
    for group in pixel_groups(header.height, header.width):
        inner = group.intersection(region)
        if inner is None:
            continue
        outer = inner.covering(LATENT_STRIDE).widened(model.synthesis_halo, rows, columns)
        samples = model.synthesise(latent[:, *outer.within(held).slices()], header.level)
        samples = samples[:, *inner.within(outer.scaled(LATENT_STRIDE)).slices()]
        if header.grey:
            samples = samples.mean(dim=3)
        target = out[:, *inner.within(region).slices()]
        target[:] = samples.clamp_(0, 255).round_().to(torch.uint8)
    return out


def _filled(samples: Tensor, lost: Collection[int], header: Header, region: Rectangle) -> Tensor:
    """Fill in the lost groups of `samples` (uint8, H x W x 3, or H x W if grey) from around them."""
    known = np.ones(samples.shape[:2], dtype=bool)
    for number, group in enumerate(pixel_groups(header.height, header.width)):
        part = group.intersection(region)
        if part is not None and number in lost:
            known[part.within(region).slices()] = False
    array = samples.cpu().numpy()
    if header.grey:
        filled = fill(np.repeat(array[:, :, None], 3, axis=2), known)[:, :, 0]
    else:
        filled = fill(array, known)
    return torch.from_numpy(filled.copy()).to(samples.device)
