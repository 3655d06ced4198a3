"""From parsed files to samples, and to what failed: the walk down that every file takes.

Group by group: entropy decoding, driven by the prior (`vaecodec.model.latents`); then, again group by
group, synthesis of the latents and of what surrounds them (`vaecodec.model.load`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bitstream.container import Container
from bitstream.errors import CorruptFile
from vaecodec.geometry import LATENT_STRIDE, Rectangle, groups, latent_size
from vaecodec.model.load import LoadedModel


@dataclass(frozen=True, kw_only=True)
class DecodedLatents:
    """`values`: float32, N x h x w x M, in steps, on the model's device. `failed`: the groups that are
    lost (zero in `values`) and why."""

    values: Tensor
    failed: dict[int, CorruptFile]


@dataclass(frozen=True, kw_only=True)
class DecodedSamples:
    """`values`: uint8, N x H x W x 3, or N x H x W of grey pictures. `failed`: the groups that are lost
    (without meaning in `values`) and why."""

    values: np.ndarray
    failed: dict[int, CorruptFile]


@torch.no_grad()
def decode(
    model: LoadedModel, files: Sequence[Container], region: Rectangle, *, recover: bool = False
) -> DecodedSamples:
    """Samples within `region`, in pixels, of files equal in header.

    `recover`: go on after groups that cannot be decoded, of one file; without, the first raises
    CorruptFile.
    """
    header = files[0].header
    rows, columns = latent_size(header.height, header.width)
    needed = region.covering(LATENT_STRIDE).widened(model.synthesis_halo, rows, columns)
    latents = decode_latents(model, files, needed, recover=recover)
    size = (len(files), region.height, region.width)
    out = np.empty(size if header.grey else (*size, 3), dtype=np.uint8)
    for group in groups(rows, columns):
        inner = group.scaled(LATENT_STRIDE).intersection(region)
        if inner is None:
            continue
        outer = inner.covering(LATENT_STRIDE).widened(model.synthesis_halo, rows, columns)
        samples = model.synthesise(latents.values[:, *outer.within(needed).slices()], header.level)
        samples = samples[:, *inner.within(outer.scaled(LATENT_STRIDE)).slices()]
        if header.grey:
            samples = samples.mean(dim=3)
        target = out[:, *inner.within(region).slices()]
        target[:] = samples.clamp(0, 255).round().to(torch.uint8).cpu().numpy()
    return DecodedSamples(values=out, failed=latents.failed)


@torch.no_grad()
def decode_latents(
    model: LoadedModel, files: Sequence[Container], wanted: Rectangle, *, recover: bool = False
) -> DecodedLatents:
    """Latents within `wanted` (latent positions) of files equal in header. `recover`: see `decode`."""
    header = files[0].header
    channels = model.config.latent_channels
    failed = {number: CorruptFile(files[0].damage) for number in files[0].lost}
    # Streams that cannot hold their groups are found before anything of the picture's size is there.
    parts = {
        number: (group, part)
        for number, group in enumerate(groups(*latent_size(header.height, header.width)))
        if (part := group.intersection(wanted)) is not None and number not in failed
    }
    for number, (group, _) in parts.items():
        least = model.latents.least_bytes(header.level, group.height, group.width)
        shortest = min(len(file.streams[number]) for file in files)
        if shortest < least:
            failed[number] = CorruptFile(
                f"group {number}: a stream of {shortest} bytes is too short for it, {least} at least"
            )
            if not recover:
                raise failed[number]
    if len(failed) == header.group_count:
        raise CorruptFile("no group of the picture can be decoded")
    latent = torch.zeros(len(files), wanted.height, wanted.width, channels, device=model.device)
    for number, (group, part) in parts.items():
        if number in failed:
            continue
        streams = [file.streams[number] for file in files]
        try:
            values = model.latents.decode(streams, header.level, group.height, group.width)
        except CorruptFile as error:
            failed[number] = CorruptFile(f"group {number}: {error}")
            if not recover:
                raise failed[number] from error
            continue
        latent[:, *part.within(wanted).slices()] = values[:, *part.within(group).slices()]
    return DecodedLatents(values=latent, failed=failed)
