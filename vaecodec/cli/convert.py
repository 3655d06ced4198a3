"""What `compress` and `decompress` share: many files, each turned into one other."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bitstream.errors import VaeError
from vaecodec import parallel
from vaecodec.cli import options
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


def with_manner(command: Callable[..., int]) -> Callable[..., int]:
    """A command with the options of a Manner, which it is given as `manner`."""

    @options.force
    @options.skip_existing
    @options.quiet
    @options.as_json
    @options.keep_times
    @options.jobs("Files at a time, in processes of their own.")
    @functools.wraps(command)
    def with_options(**given: Any) -> int:
        names = [field.name for field in dataclasses.fields(Manner)]
        return command(manner=Manner(**{name: given.pop(name) for name in names}), **given)

    return with_options


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
    with ProgressBar(len(pairs), "files", silent=manner.quiet) as bar:
        conversion = _Conversion(pairs, manner, bar)
        while firsts := conversion.one_of_each_output():
            try:
                jobs = min(manner.jobs, len(firsts))
                for pair, result in parallel.in_processes(conversion.checked(firsts), work, jobs):
                    conversion.finish(pair, result)
            except parallel.Ended as error:
                conversion.give_up(error)
    return 1 if conversion.failures else 0


class _Conversion:
    """What has come of each file so far."""

    def __init__(self, pairs: Sequence[Pair], manner: Manner, bar: ProgressBar) -> None:
        self._manner, self._bar, self._total = manner, bar, len(pairs)
        self._left = list(pairs)  # of which nothing has come
        self._taken: dict[str, Path] = {}  # by real path: one folder may have several names
        self.failures = 0

    def one_of_each_output(self) -> list[Pair]:
        """Of those that are left, the first for each output."""
        firsts: dict[str, Pair] = {}
        for pair in self._left:
            firsts.setdefault(os.path.realpath(pair[1]), pair)
        return list(firsts.values())

    def checked(self, pairs: Sequence[Pair]) -> Iterator[Pair]:
        """Those of which the output can be written."""
        for source, target in pairs:
            self._bar.update(self._total - len(self._left), str(source))
            failures = self.failures
            with self._telling(source, target):
                self._check(source, target)
            if self.failures == failures:
                yield source, target

    def finish(self, pair: Pair, result: Converted | VaeError | MemoryError) -> None:
        """Write what the work gave, or say what it raised."""
        source, target = pair
        with self._telling(source, target):
            if not isinstance(result, Converted):
                raise result
            _write(source, target, result, self._manner)
            self._taken[os.path.realpath(target)] = source
            self._left.remove(pair)
        self._bar.update(self._total - len(self._left), str(source))

    def give_up(self, error: VaeError) -> None:
        """Say of all that are left that they are not done."""
        for source, target in list(self._left):
            with self._telling(source, target):
                raise VaeError(str(error)).in_file(str(source)) from error

    @contextlib.contextmanager
    def _telling(self, source: Path, target: Path) -> Iterator[None]:
        """What goes wrong with one file is said, and the others go on."""
        try:
            yield
            return
        except VaeError as error:
            message = str(error) if error.filename else f"{source}: {error}"
        except MemoryError:
            message = f"{source}: not enough memory for a picture of this size"
        self.failures += 1
        self._left.remove((source, target))
        if self._manner.as_json:
            _say(source, error=message)
        else:
            notice(message)

    def _check(self, source: Path, target: Path) -> None:
        """Raises VaeError if the output cannot be written."""
        if other := self._taken.get(os.path.realpath(target)):
            raise VaeError(
                f"its output {target} is already that of {other}; choose another with -o"
            ).in_file(str(source))
        # os.path answers False where pathlib raises: names that are too long.
        if os.path.exists(target) and os.path.exists(source) and source.samefile(target):
            raise VaeError("would be replaced by its own output").in_file(str(source))
        check_output(target, force=self._manner.force)


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
