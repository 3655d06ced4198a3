"""What `compress` and `decompress` share: turning many files, each into one other."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bitstream.errors import VaeError
from vaecodec import parallel
from vaecodec.cli import options
from vaecodec.cli.messages import ProgressBar, notice
from vaecodec.cli.outcome import Outcomes, Report, succeeded
from vaecodec.cores import usable_cores
from vaecodec.files import STANDARD_STREAM, check_apart, check_output, make_parents, write_whole

if TYPE_CHECKING:
    from vaecodec.codec import Codec


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How files are written and reported: whether existing ones are replaced or skipped, messages are
    quiet or JSON, there is a report, and outputs keep the times of their inputs; and how many files
    are worked on at a time."""

    force: bool
    resume: bool
    quiet: bool
    as_json: bool
    report: str | None
    keep_times: bool
    jobs: int | None


@dataclass(frozen=True, kw_only=True)
class Converted:
    """The bytes of an output, the number of pixels of its picture, and notices: what the user may want
    to know about it."""

    data: bytes
    pixels: int
    notices: tuple[str, ...] = ()


Pair = tuple[Path, Path]


@dataclass(frozen=True, kw_only=True)
class Work(ABC):
    """What is done with files, in any process: the options of a command."""

    model: str | None
    device: str
    entropy_processes: int = 0

    @property
    def codec(self) -> Codec:
        """The same codec in all threads."""
        from vaecodec.codec import kept_codec

        return kept_codec(self.model, self.device, self.entropy_processes)

    @property
    @abstractmethod
    def together(self) -> bool:
        """Whether pictures may pass through the networks side by side."""

    @abstractmethod
    def pixels(self, pair: Pair) -> int:
        """About how many pixels a picture has, found at little cost."""

    @abstractmethod
    def several(self, pairs: list[Pair]) -> list[Converted | parallel.Failure]:
        """The result of each pair, or what went wrong with it."""


#: With a GPU and at least this many files, entropy coding has a process per core; with fewer files,
#: starting the processes takes longer than they save.
FILES_FOR_PROCESSES = 64


def with_manner(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of a Manner to a command, which receives it as `manner`."""

    @options.force
    @options.resume
    @options.quiet
    @options.as_json
    @options.report
    @options.keep_times
    @options.jobs(
        f"Files at a time. [default: one per core, at most {parallel.THREADS_AT_MOST}]", default=None
    )
    @functools.wraps(command)
    def with_options(**given: Any) -> int:
        names = [field.name for field in dataclasses.fields(Manner)]
        return command(manner=Manner(**{name: given.pop(name) for name in names}), **given)

    return with_options


def convert(pairs: Sequence[Pair], work: Work, manner: Manner) -> int:
    """Write the result of every source to its target. The exit code is 0 only if all succeeded.

    Existing outputs are found before any work is done on them. If several sources have one output, it
    goes to the first that succeeds.
    """
    if manner.force and manner.resume:
        raise click.UsageError("give one of --force and --resume")
    if manner.as_json and any(target == STANDARD_STREAM for _, target in pairs):
        raise click.UsageError("--json and an output on standard output would run into each other")
    outcomes = Outcomes(as_json=manner.as_json, quiet=manner.quiet)
    pairs = list(dict.fromkeys(pairs))  # a file may be named twice
    report = None if manner.report is None else Report(Path(manner.report))
    if report is not None:
        report.check(pairs, force=manner.force, resume=manner.resume)
    former = {} if report is None else report.former
    done = _done(pairs, former) if manner.resume else {}
    outcomes.skip(list(done.values()), len(pairs), former)
    with ExitStack() as stack:
        if report is not None:
            stack.enter_context(report.writing(outcomes))
        if not pairs:
            notice("the folders given hold no file to work on")
            return 1
        skipped = set(done.values())
        left = [pair for pair in pairs if pair not in skipped]
        bar = stack.enter_context(ProgressBar(len(left), "pictures", silent=manner.quiet))
        taken = {output: source for output, (source, _) in done.items()}
        guessed = {output for output, pair in done.items() if not succeeded(former, *pair)}
        _Conversion(left, taken, guessed, manner, outcomes, bar).run(work)
    return 1 if outcomes.failures else 0


def _done(pairs: Sequence[Pair], former: dict[str, dict[str, Any]]) -> dict[str, Pair]:
    """By the real path of each output that is there: the pair that an earlier report (`former`) says it
    is of, else the first that has it."""
    done: dict[str, Pair] = {}
    for pair in sorted(pairs, key=lambda pair: not succeeded(former, *pair)):
        if pair[1] == STANDARD_STREAM:
            continue
        if os.path.exists(pair[1]) and not os.path.isdir(pair[1]):
            done.setdefault(os.path.realpath(pair[1]), pair)
    return done


class _Conversion:
    """Files that are left to convert, and the outputs that have been written, by their real paths: one
    folder may have several names. `guessed`: outputs that were there, and of which nobody said what
    they were made of."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        taken: dict[str, Path],
        guessed: set[str],
        manner: Manner,
        outcomes: Outcomes,
        bar: ProgressBar,
    ) -> None:
        self._manner, self._outcomes, self._bar = manner, outcomes, bar
        self._total, self._left = len(pairs), list(pairs)
        self._taken, self._guessed = taken, guessed

    def run(self, work: Work) -> None:
        while firsts := self._one_of_each_output():
            try:
                for some, results in self._each(firsts, work):
                    together = repeat(results) if isinstance(results, parallel.FAILURES) else results
                    for pair, result in zip(some, together, strict=False):
                        self._finish(pair, result)
            except parallel.Ended as error:
                self._give_up(error)

    def _each(
        self, pairs: Sequence[Pair], work: Work
    ) -> Iterator[tuple[list[Pair], list[Converted | parallel.Failure] | parallel.Failure]]:
        """Threads start at once and share the weights. Many would wait for one another, and processes
        cannot read our standard input."""
        from vaecodec.bulk import window_of, windows
        from vaecodec.codec import pick_device

        device = pick_device(work.device)
        jobs = self._manner.jobs or min(usable_cores(), parallel.THREADS_AT_MOST)
        jobs = min(jobs, len(pairs))
        streams = any(STANDARD_STREAM in pair for pair in pairs)
        in_threads = jobs <= parallel.THREADS_AT_MOST or streams
        # One job is asked for where memory is short.
        together = work.together and jobs > 1
        most = window_of(device, len(pairs), jobs) if together else 1
        some = windows(self._checked(pairs), work.pixels, most)
        if not in_threads:
            return parallel.in_processes(some, work.several, jobs)
        if device.type == "cuda" and jobs > 1 and len(pairs) >= FILES_FOR_PROCESSES:
            work = dataclasses.replace(
                work, entropy_processes=min(usable_cores(), parallel.MAX_PROCESSES)
            )
        return parallel.in_threads(some, work.several, jobs)

    def _one_of_each_output(self) -> list[Pair]:
        """Of those that are left, the first for each output."""
        firsts: dict[str, Pair] = {}
        for pair in self._left:
            firsts.setdefault(os.path.realpath(pair[1]), pair)
        return list(firsts.values())

    def _checked(self, pairs: Sequence[Pair]) -> Iterator[Pair]:
        """Those of which the output can be written."""
        for source, target in pairs:
            self._show(source)
            with self._telling(source, target) as said:
                self._check(source, target)
            if not said:
                yield source, target

    def _finish(self, pair: Pair, result: Converted | parallel.Failure) -> None:
        """Write what the work gave, or say what it raised."""
        source, target = pair
        with self._telling(source, target) as said:
            if not isinstance(result, Converted):
                raise result
            if not self._manner.quiet and not self._manner.as_json:
                for text in result.notices:
                    notice(text)
            _write(source, target, result.data, self._manner)
        if isinstance(result, Converted) and not said:
            self._taken[os.path.realpath(target)] = source
            self._left.remove(pair)
            self._outcomes.written(source, target, len(result.data), result.pixels, result.notices)
        self._show(source)

    def _show(self, source: Path) -> None:
        self._bar.update(self._total - len(self._left), self._outcomes.so_far(source))

    def _give_up(self, error: VaeError) -> None:
        """Say of all that are left that they are not done."""
        for source, target in list(self._left):
            with self._telling(source, target):
                raise VaeError(str(error)).in_file(str(source)) from error

    @contextlib.contextmanager
    def _telling(self, source: Path, target: Path) -> Iterator[list[str]]:
        """What goes wrong with one file is said, and put into the list given, and the others go on."""
        said: list[str] = []
        try:
            yield said
            return
        except VaeError as error:
            said.append(str(error) if error.filename else f"{source}: {error}")
        except MemoryError:
            said.append(f"{source}: not enough memory for a picture of this size")
        self._left.remove((source, target))
        self._outcomes.failed(source, target, said[0])

    def _check(self, source: Path, target: Path) -> None:
        """Raises VaeError if the output cannot be written."""
        output = os.path.realpath(target)
        if other := self._taken.get(output):
            whose = "exists and may be" if output in self._guessed else "is already"
            raise VaeError(
                f"its output {target} {whose} that of {other}; choose another with -o"
            ).in_file(str(source))
        check_apart(source, target)
        check_output(target, force=self._manner.force)


def _write(source: Path, target: Path, data: bytes, manner: Manner) -> None:
    make_parents(target)
    write_whole(target, data, force=manner.force)
    if manner.keep_times and STANDARD_STREAM not in (source, target):
        try:
            times = source.stat()
            os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
        except OSError as error:
            raise VaeError(f"written, but not with the times of {source} ({error.strerror})").in_file(
                str(target)
            ) from error
