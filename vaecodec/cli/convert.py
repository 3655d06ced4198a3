"""What `compress` and `decompress` share: many files, each turned into one other."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from bitstream.errors import VaeError
from vaecodec import processes
from vaecodec.cli.report import ProgressBar, notice, say
from vaecodec.files import STANDARD_STREAM, check_output, make_parents, write_whole


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How files are written and spoken of: replaced or left out, quietly, as JSON, with the times of
    their inputs, so many at a time."""

    force: bool
    skip_existing: bool
    quiet: bool
    as_json: bool
    keep_times: bool
    jobs: int


@dataclass(frozen=True, kw_only=True)
class Converted:
    """The bytes of an output, and in words, what the user may want to know of it."""

    data: bytes
    notices: tuple[str, ...] = ()


Pair = tuple[Path, Path]


def convert(pairs: Sequence[Pair], work: Callable[[Pair], Converted], manner: Manner) -> int:
    """Write `work(pair)`, of a source and a target, to the target, for every pair. Exit code 0 only if
    all succeeded.

    Existing outputs are found before any work is done on them. Where two have one output, it is the
    first's that succeeds.
    """
    if not pairs:
        notice("the folders given hold no file to work on")
        return 1
    if manner.force and manner.skip_existing:
        raise click.UsageError("give one of --force and --skip-existing")
    if manner.skip_existing:
        left = [(source, target) for source, target in pairs if not os.path.exists(target)]
        if len(left) < len(pairs) and not manner.quiet:
            notice(f"{len(pairs) - len(left)} of {len(pairs)} files have an output already")
        pairs = left
    streams = any(STANDARD_STREAM in pair for pair in pairs)
    if manner.as_json and any(target == STANDARD_STREAM for _, target in pairs):
        raise click.UsageError("--json and an output on standard output would run into each other")
    if streams and manner.jobs > 1 and len(pairs) > 1:
        raise click.UsageError("standard input or output is none of several --jobs")
    failures = 0
    taken: dict[str, Path] = {}  # by real path: one folder may have several names

    @contextlib.contextmanager
    def telling(source: Path) -> Iterator[None]:
        """What goes wrong with one file is said, and the others go on."""
        nonlocal failures
        try:
            yield
            return
        except VaeError as error:
            message = str(error) if error.filename else f"{source}: {error}"
        except MemoryError:
            message = f"{source}: not enough memory for a picture of this size"
        failures += 1
        if manner.as_json:
            _say(source, error=message)
        else:
            notice(message)

    def checked(some: Sequence[Pair]) -> Iterator[Pair]:
        for source, target in some:
            settled.add(source)
            with telling(source):
                _check(source, target, taken, force=manner.force)
                settled.remove(source)
            if source not in settled:
                bar.update(done, str(source))
                yield source, target

    done = 0
    settled: set[Path] = set()  # what has been written, or is said to have failed
    with ProgressBar(len(pairs), "files", silent=manner.quiet) as bar:
        rest = list(pairs)
        while rest:
            some, rest = _one_of_each_output(rest)
            results = processes.each(checked(some), work, min(manner.jobs, len(some)))
            try:
                for (source, target), result in results:
                    with telling(source):
                        if not isinstance(result, Converted):
                            raise result
                        _write(source, target, result, manner)
                        taken[os.path.realpath(target)] = source
                    done += 1
                    settled.add(source)
                    bar.update(done, str(source))
            except VaeError as error:  # of the processes, not of a file
                for source, _ in (*some, *rest):
                    if source not in settled:
                        with telling(source):
                            raise VaeError(str(error)).in_file(str(source)) from error
                break
    return 1 if failures else 0


def _one_of_each_output(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """The first pair of each output, and the others."""
    firsts: dict[str, Pair] = {}
    others = []
    for pair in pairs:
        if firsts.setdefault(os.path.realpath(pair[1]), pair) is not pair:
            others.append(pair)
    return list(firsts.values()), others


def _check(source: Path, target: Path, taken: Mapping[str, Path], *, force: bool) -> None:
    """Raises VaeError if the output cannot be written."""
    if other := taken.get(os.path.realpath(target)):
        raise VaeError(
            f"its output {target} is already that of {other}; choose another with -o"
        ).in_file(str(source))
    # os.path answers False where pathlib raises: names that are too long.
    if os.path.exists(target) and os.path.exists(source) and source.samefile(target):
        raise VaeError("would be replaced by its own output").in_file(str(source))
    check_output(target, force=force)


def _write(source: Path, target: Path, converted: Converted, manner: Manner) -> None:
    if not manner.quiet and not manner.as_json:
        for text in converted.notices:
            notice(text)
    make_parents(target)
    write_whole(target, converted.data, force=manner.force)
    if manner.keep_times and STANDARD_STREAM not in (source, target):
        try:
            times = source.stat()
            os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
        except OSError as error:
            raise VaeError(f"written, but not with the times of {source} ({error.strerror})").in_file(
                str(target)
            ) from error
    if manner.as_json and not manner.quiet:
        _say(source, output=str(target), bytes=len(converted.data), notices=converted.notices)


def _say(source: Path, **fields: object) -> None:
    """One line of JSON on standard output."""
    say(json.dumps({"input": str(source), **fields}, ensure_ascii=False))
