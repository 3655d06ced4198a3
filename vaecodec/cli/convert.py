"""What `compress` and `decompress` share: many files, each turned into one other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from bitstream.errors import VaeError
from vaecodec.cli.report import for_each, notice, say
from vaecodec.files import STANDARD_STREAM, check_output, write_whole


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How files are written and spoken of: replaced, quietly, as JSON, with the times of their
    inputs."""

    force: bool
    quiet: bool
    as_json: bool
    keep_times: bool


@dataclass(frozen=True, kw_only=True)
class Converted:
    """The bytes of an output, and in words, what the user may want to know of it."""

    data: bytes
    notices: tuple[str, ...] = ()


def convert(
    pairs: list[tuple[Path, Path]], work: Callable[[Path, Path], Converted], manner: Manner
) -> int:
    """Write `work(source, target)` to `target` for every pair. Exit code 0 only if all succeeded.

    Existing outputs are found before any work is done on them.
    """
    if not pairs:
        notice("the folders given hold no file to work on")
        return 1
    if manner.as_json and any(target == STANDARD_STREAM for _, target in pairs):
        raise click.UsageError("--json and an output on standard output would run into each other")
    taken: dict[str, Path] = {}  # by real path: one folder may have several names

    def one(pair: tuple[Path, Path]) -> None:
        source, target = pair
        real = os.path.realpath(target)
        if real in taken:
            raise VaeError(f"its output {target} is already that of {taken[real]}").in_file(str(source))
        # os.path answers False where pathlib raises: names that are too long.
        if os.path.exists(target) and os.path.exists(source) and source.samefile(target):
            raise VaeError("would be replaced by its own output").in_file(str(source))
        check_output(target, force=manner.force)
        converted = work(source, target)
        if not manner.quiet and not manner.as_json:
            for text in converted.notices:
                notice(text)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VaeError(f"cannot be made ({error.strerror})").in_file(str(target.parent)) from error
        write_whole(target, converted.data, force=manner.force)
        taken[real] = source
        if manner.keep_times and STANDARD_STREAM not in pair:
            times = source.stat()
            os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
        if manner.as_json:
            _say(source, output=str(target), bytes=len(converted.data), notices=converted.notices)

    def failed(pair: tuple[Path, Path], message: str) -> None:
        if manner.as_json:
            _say(pair[0], error=message)
        else:
            notice(message)

    return for_each(pairs, one, lambda pair: str(pair[0]), failed, silent=manner.quiet)


def _say(source: Path, **fields: object) -> None:
    """One line of JSON on standard output."""
    say(json.dumps({"input": str(source), **fields}, ensure_ascii=False))
