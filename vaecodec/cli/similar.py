"""`vaecodec similar`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bitstream.chunks import SIGNATURE
from bitstream.errors import VaeError
from vaecodec.cli import options
from vaecodec.cli.messages import ProgressBar, notice, say
from vaecodec.files import STANDARD_STREAM, expand, source_of
from vaecodec.parallel import FAILURES, THREADS_AT_MOST
from vaecodec.sources import NamedBytes, read_source

if TYPE_CHECKING:
    import numpy as np

    from vaecodec.codec import Codec
    from vaecodec.uses.index import Index


class Likeness(click.FloatRange):
    """From -1 to 1."""

    def __init__(self) -> None:
        super().__init__(-1, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        likeness = float(super().convert(value, param, ctx))
        if math.isnan(likeness):
            raise click.BadParameter("a number from -1 to 1 was expected, not nan")
        return likeness


@click.command("similar")
@options.inputs
@click.option(
    "--to",
    type=options.PATH,
    metavar="PICTURE",
    help="List the files most like this one: a .vae file, any picture, or - for standard input.",
)
@click.option("--duplicates", is_flag=True, help="List groups of files that hold the same photograph.")
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
    type=Likeness(),
    metavar="S",
    help="List only files of this similarity or more (1: the same). [default: -1, with --duplicates "
    "0.82]",
)
@click.option(
    "--index",
    type=options.PATH,
    metavar="FILE",
    help="Keep embeddings in this file, so that only new and changed files are embedded.",
)
@options.recursive("Search subfolders as well.")
@options.model
@options.device
@click.option("--quiet", is_flag=True, help="Print only the list and what went wrong.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON object per line: a file, a group or an error."
)
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

    INPUT: .vae files, folders or glob patterns. A file that is named twice, or linked to, counts once.

    Examples:

    \b
        vaecodec similar photos/ --to holiday.jpg
        vaecodec similar photos/ --duplicates
    """
    if (to is None) == (not duplicates):
        raise click.UsageError("give either --to PICTURE or --duplicates")
    if "" in (to, index):
        raise VaeError("a name of a file is empty")
    if str(STANDARD_STREAM) in (*inputs, index):
        raise VaeError("files are needed here, not standard input or output").in_file("-")
    import numpy as np

    from vaecodec.codec import Codec
    from vaecodec.pictures.reading import set_limit_of_pillow
    from vaecodec.uses import similar
    from vaecodec.uses.embedding import embed
    from vaecodec.uses.index import Index

    set_limit_of_pillow()
    codec = Codec(model, device)
    found = [each.path for each in expand(inputs, {".vae"}, recursive=recursive)]
    if not found:
        notice("the folders given hold no .vae file")
        return 1
    kept_in = None if index is None else Index(Path(index), codec.entry.id)
    if to is not None:
        wanted = embed(_as_vae(to, codec), codec=codec)
    paths = _distinct(found, None if to is None else Path(to))
    kept, failures = _embedded(paths, codec, kept_in, quiet=quiet, as_json=as_json)
    if not kept:
        if not failures and not quiet:
            notice("there is no other .vae file")
        return 1 if failures else 0
    paths, vectors = list(kept), np.array(list(kept.values()))
    if to is not None:
        least = -1.0 if at_least is None else at_least
        matches = similar.nearest(vectors, wanted, count, least)
        for number, similarity in matches:
            fields = {"file": str(paths[number]), "similarity": round(similarity, 4)}
            say(json.dumps(fields) if as_json else f"{similarity:6.3f}  {paths[number]}")
        outcome = "" if matches else "none is so similar"
    else:
        least = similar.SAME if at_least is None else at_least
        groups = similar.duplicates(vectors, least)
        for numbers in groups:
            names = [str(paths[number]) for number in numbers]
            say(json.dumps({"files": names}) if as_json else "\n".join((*names, "")))
        outcome = "" if groups else "no two are similar"
    if outcome and not quiet:
        notice(f"of {len(paths)} files {outcome}")
    return 1 if failures else 0


def _as_vae(picture: str, codec: Codec) -> NamedBytes:
    """The bytes of a `.vae` file, that of the picture if it is none."""
    data = NamedBytes(read_source(source_of(Path(picture)))[0], picture)
    if data.startswith(SIGNATURE):
        return data
    return NamedBytes(codec.encode(data, lossless=False), picture)


def _distinct(paths: list[Path], but: Path | None) -> list[Path]:
    """Every file once, whatever it is called, and without the file `but`."""
    seen: set[tuple[int, int]] = set()
    distinct = []
    for path in ([] if but is None else [but]) + paths:
        try:
            status = path.stat()
        except OSError:  # which is said when it is read
            distinct += [path] if path is not but else []
            continue
        if (status.st_dev, status.st_ino) not in seen and path is not but:
            distinct.append(path)
        seen.add((status.st_dev, status.st_ino))
    return distinct


def _embedded(
    paths: list[Path], codec: Codec, index: Index | None, *, quiet: bool, as_json: bool
) -> tuple[dict[Path, np.ndarray], int]:
    """Embeddings of the files that have one, and how many have none; what is wrong is said."""
    from vaecodec.cores import usable_cores
    from vaecodec.uses import similar

    found = {path: None if index is None else index.find(path) for path in paths}
    new = [path for path, vector in found.items() if vector is None]
    jobs = max(1, min(usable_cores(), THREADS_AT_MOST, len(new)))
    if index is not None:
        index.write()  # what prevents it is known before any work is done
    try:
        with ProgressBar(len(new), "files", silent=quiet) as bar:
            embedded = similar.embeddings(new, codec, jobs)
            for number, (path, vector) in enumerate(zip(new, embedded, strict=True)):
                bar.update(number, str(path))
                if isinstance(vector, FAILURES):
                    failure = {"file": str(path), "error": str(vector)}
                    say(json.dumps(failure)) if as_json else notice(str(vector))
                    continue
                found[path] = vector
                if index is not None:
                    index.add(path, vector)
    finally:  # what an interrupt leaves is not done again
        if index is not None:
            index.write()
    kept = {path: vector for path, vector in found.items() if vector is not None}
    return kept, len(found) - len(kept)
