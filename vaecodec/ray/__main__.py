"""`python -m vaecodec.ray`: a folder of pictures on a cluster, and back."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import click
import ray

from bitstream.errors import VaeError
from vaecodec.cli import options
from vaecodec.cli.main import Group, main
from vaecodec.cli.messages import notice, say
from vaecodec.model import registry
from vaecodec.pictures.saving import LOSSY_FORMATS, format_of
from vaecodec.quality import LOSSY_QUALITY
from vaecodec.ray.inputs import find
from vaecodec.ray.places import address
from vaecodec.ray.running import Pool, convert
from vaecodec.ray.workers import Decoder, Encoder

NAME = "python -m vaecodec.ray"


def _with_pool(command: Callable[..., int]) -> Callable[..., int]:
    """Add the arguments and options for the folders and the workers to a command."""

    @click.argument("source", metavar="SRC")
    @click.argument("folder", metavar="DST")
    @options.force
    @click.option(
        "--concurrency",
        type=click.IntRange(min=1),
        help="Workers at a time. [default: as many as the cluster has room for]",
    )
    @click.option(
        "--num-cpus",
        type=click.FloatRange(min=0, min_open=True),
        default=1,
        show_default=True,
        help="Cores of each worker.",
    )
    @click.option(
        "--num-gpus",
        type=click.FloatRange(min=0),
        default=0,
        show_default=True,
        help="GPUs of each worker, which may be a fraction of one; 0 works on the CPU.",
    )
    @click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        default=8,
        show_default=True,
        help="Files that a worker holds in memory at a time.",
    )
    @functools.wraps(command)
    def with_options(**given: Any) -> int:
        return command(**given)

    return with_options


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def group() -> None:
    """Compress and decompress folders on a Ray cluster.

    The cluster is the one at RAY_ADDRESS, one that already runs on this machine, or one that is started
    on this machine for as long as the command runs.
    """


@group.command("compress")
@_with_pool
@options.quality
@options.effort
@options.tune
@options.lossless
@options.strip
@options.model
def compress(
    source: str,
    folder: str,
    force: bool,
    concurrency: int | None,
    num_cpus: float,
    num_gpus: float,
    batch_size: int,
    model: str | None,
    tune: str | None,
    **given: Any,
) -> int:
    """Compress the pictures in SRC and its subfolders to .vae files in DST.

    SRC and DST are folders that all machines see, or URIs such as s3://bucket/photos. Pictures that
    already have a .vae file are skipped before they are read, so an interrupted run can be resumed.

    Examples:

    \b
        python -m vaecodec.ray compress photos/ small/ -q 60
        python -m vaecodec.ray compress s3://bucket/photos s3://bucket/small --concurrency 64
        python -m vaecodec.ray compress /shared/photos /shared/small --num-gpus 1 --num-cpus 8
    """
    model = _on_all_machines(model)
    registry.find(model, tune)  # a missing model is reported once, before any file
    work = {**given, "model": model, "tune": tune}
    pool = functools.partial(_pool, concurrency, num_cpus, num_gpus, batch_size)
    return _run(source, folder, ".vae", Encoder, work, pool, force=force)


@group.command("decompress")
@_with_pool
@click.option(
    "--format",
    "extension",
    default="png",
    show_default=True,
    metavar="EXT",
    help="Extension of a format that Pillow writes.",
)
@click.option(
    "-q",
    "--quality",
    type=click.IntRange(1, 100),
    default=LOSSY_QUALITY,
    show_default=True,
    help=f"Quality of lossy formats: {', '.join(LOSSY_FORMATS)}.",
)
@options.max_pixels
@options.model
def decompress(
    source: str,
    folder: str,
    force: bool,
    concurrency: int | None,
    num_cpus: float,
    num_gpus: float,
    batch_size: int,
    extension: str,
    model: str | None,
    **given: Any,
) -> int:
    """Turn the .vae files in SRC and its subfolders into pictures in DST.

    SRC and DST are as in compress.

    Examples:

    \b
        python -m vaecodec.ray decompress small/ back/
        python -m vaecodec.ray decompress s3://bucket/small /shared/back --format jpg -q 95
    """
    extension = f".{extension.lower().removeprefix('.')}"
    format_of(extension)
    model = _on_all_machines(model)
    registry.find(model)
    work = {**given, "model": model, "format": extension}
    pool = functools.partial(_pool, concurrency, num_cpus, num_gpus, batch_size)
    return _run(source, folder, extension, Decoder, work, pool, force=force)


def _on_all_machines(model: str | None) -> str | None:
    """A model's name, or the whole path of its file."""
    return address(model) if model is not None and model.endswith(".safetensors") else model


def _pool(size: int | None, num_cpus: float, num_gpus: float, batch_size: int) -> Pool:
    """Of a cluster that is connected."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": num_cpus, "GPU": num_gpus}
    room = [
        min(math.floor(node.get(kind, 0) / count) for kind, count in wanted.items() if count)
        for node in nodes
    ]
    if not any(room):
        wish = f"{num_cpus:g} CPUs and {num_gpus:g} GPUs"
        raise VaeError(f"no machine of the cluster has room for a worker of {wish}")
    size = size or sum(room)
    return Pool(size=size, num_cpus=num_cpus, num_gpus=num_gpus, batch_size=batch_size)


def _run(
    source: str,
    folder: str,
    extension: str,
    worker: type[Encoder | Decoder],
    work: Mapping[str, Any],
    pool: Callable[[], Pool],
    *,
    force: bool,
) -> int:
    """Say what fails as it does, and at the end what has come of all."""
    found = find(source, folder, extension=extension, force=force)
    for text in found.refused:
        notice(text)
    failed = len(found.refused)
    if not found.paths and not failed and not found.existing:
        notice(f"{source}: holds no file to work on")
        return 1
    pictures = pixels = size = 0
    seconds = 0.0
    if found.paths:
        if not ray.is_initialized():
            try:
                ray.init()
            except ConnectionError as error:
                raise VaeError(f"no Ray cluster answers ({error})") from error
        chosen = pool()
        work = {**work, "device": "cuda" if chosen.num_gpus else "cpu"}
        for row in convert(found, folder, worker, work, chosen):
            seconds += row["seconds"]
            if row["error"] is not None:
                notice(row["error"])
                failed += 1
            else:
                pictures, pixels, size = pictures + 1, pixels + row["pixels"], size + row["size"]
    say(f"{pictures} files written: {pixels / 1e6:.1f} megapixels, {size} bytes")
    if seconds:
        say(f"{pixels / 1e6 / seconds:.2f} megapixels per second and worker")
    if found.existing:
        say(f"{found.existing} files had an output already")
    say(f"{failed} files failed")
    return 1 if failed else 0


if __name__ == "__main__":
    main(group, NAME)
