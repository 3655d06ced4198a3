"""`vaecodec similar`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bitstream.chunks import SIGNATURE
from vaecodec.cli import options
from vaecodec.cli.report import ProgressBar, notice, say
from vaecodec.files import expand
from vaecodec.parallel import FAILURES, THREADS_AT_MOST
from vaecodec.sources import NamedBytes, read_path

if TYPE_CHECKING:
    import numpy as np

    from vaecodec.codec import Codec
    from vaecodec.uses.index import Index


@click.command("similar")
@options.inputs
@click.option(
    "--to",
    type=options.PATH,
    metavar="PICTURE",
    help="List what is most like this one: a .vae file, or any picture.",
)
@click.option("--duplicates", is_flag=True, help="List groups of files that hold one picture.")
@click.option(
    "-n",
    "--count",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="How many to list, with --to.",
)
@click.option(
    "--at-least",
    type=click.FloatRange(-1, 1),
    metavar="S",
    help="List only what is so alike (1: the same). [default: -1, with --duplicates 0.81]",
)
@click.option(
    "--index",
    type=options.PATH,
    metavar="FILE",
    help="Keep embeddings in this file: only new and changed files are embedded.",
)
@options.recursive
@options.model
@options.device
@options.quiet
@options.as_json
def command(
    inputs: tuple[str, ...],
    to: str | None,
    duplicates: bool,
    count: int,
    at_least: float | None,
    index: str | None,
    recursive: bool,
    model: str | None,
    device: str,
    quiet: bool,
    as_json: bool,
) -> int:
    """Find .vae files whose pictures look alike, without decoding them.

    INPUT: .vae files, folders or glob patterns.

    Examples:

    \b
        vaecodec similar photos/ --to holiday.jpg
        vaecodec similar photos/ --duplicates
    """
    if (to is None) == (not duplicates):
        raise click.UsageError("give --to PICTURE, or --duplicates")
    import numpy as np

    from vaecodec.codec import Codec
    from vaecodec.uses import similar
    from vaecodec.uses.embedding import embed
    from vaecodec.uses.index import Index

    codec = Codec(model, device)
    kept_in = None if index is None else Index(Path(index))
    found = [each.path for each in expand(inputs, {".vae"}, recursive=recursive)]
    if to is not None:
        wanted = embed(_as_vae(to, codec), codec=codec)
        found = [path for path in found if os.path.realpath(path) != os.path.realpath(to)]
    kept, failures = _embedded(found, codec, kept_in, quiet=quiet)
    paths, vectors = list(kept), np.array(list(kept.values()))
    if to is not None:
        least = -1.0 if at_least is None else at_least
        for number, alike in similar.nearest(vectors, wanted, count) if paths else ():
            if alike >= least:
                fields = {"file": str(paths[number]), "alike": round(alike, 4)}
                say(json.dumps(fields) if as_json else f"{alike:6.3f}  {paths[number]}")
    elif paths:
        least = similar.SAME if at_least is None else at_least
        for numbers in similar.duplicates(vectors, least):
            names = [str(paths[number]) for number in numbers]
            say(json.dumps({"files": names}) if as_json else "\n".join((*names, "")))
    return 1 if failures else 0


def _as_vae(picture: str, codec: Codec) -> NamedBytes:
    """The bytes of a `.vae` file, that of the picture if it is none."""
    data = read_path(picture)
    if data.startswith(SIGNATURE):
        return NamedBytes(data, picture)
    return NamedBytes(codec.encode(picture, lossless=False), picture)


def _embedded(
    paths: list[Path], codec: Codec, index: Index | None, *, quiet: bool
) -> tuple[dict[Path, np.ndarray], int]:
    """Embeddings of the files that have one, and how many have none; what is wrong is said."""
    from vaecodec.cores import usable_cores
    from vaecodec.uses import similar

    found = {path: None if index is None else index.find(path) for path in paths}
    new = [path for path, vector in found.items() if vector is None]
    jobs = max(1, min(usable_cores(), THREADS_AT_MOST, len(new)))
    try:
        with ProgressBar(len(new), "files", silent=quiet) as bar:
            embedded = similar.embeddings(new, codec, jobs)
            for number, (path, vector) in enumerate(zip(new, embedded, strict=True)):
                bar.update(number, str(path))
                if isinstance(vector, FAILURES):
                    notice(str(vector))
                    continue
                found[path] = vector
                if index is not None:
                    index.add(path, vector)
    finally:  # what an interrupt leaves is not done again
        if index is not None:
            index.write()
    kept = {path: vector for path, vector in found.items() if vector is not None}
    return kept, len(found) - len(kept)
