"""The outcome of many files, told as it happens and in a report."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import vaecodec
from bitstream.errors import VaeError
from vaecodec.cli.messages import notice, say
from vaecodec.files import STANDARD_STREAM, check_output, make_parents, write_whole
from vaecodec.sources import read_path


class Outcomes:
    """Every file's outcome, as one JSON object each, and totals."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json, self._quiet = as_json, quiet
        self._files: list[dict[str, Any]] = []
        self._started = time.perf_counter()
        self._pixels = self._bytes = self._input_bytes = 0
        self.failures = 0
        self._skipped = 0

    def skip(
        self, pairs: Sequence[tuple[Path, Path]], total: int, former: dict[str, dict[str, Any]]
    ) -> None:
        """Record files that already have an output, out of `total`. `former`: what an earlier report
        says of each input."""
        self._skipped = len(pairs)
        for source, target in pairs:
            fields = {"input": str(source), "output": str(target)}
            known = former[str(source)] if succeeded(former, source, target) else {}
            self._record(fields | known | {"skipped": True})
        if pairs and not self._quiet and not self._as_json:
            notice(f"{len(pairs)} of {total} files have an output already")

    def written(
        self, source: Path, target: Path, size: int, pixels: int, notices: Sequence[str]
    ) -> None:
        """Record an output of `size` bytes."""
        fields: dict[str, Any] = {"input": str(source), "output": str(target)}
        if source != STANDARD_STREAM and source.is_file():
            fields["input_bytes"] = source.stat().st_size
        fields |= {"bytes": size, "pixels": pixels, "notices": list(notices)}
        self._pixels += pixels
        self._bytes += size
        self._input_bytes += fields.get("input_bytes", 0)
        self._record(fields)

    def failed(self, source: Path, target: Path, message: str) -> None:
        """Record an input without an output, and why."""
        self.failures += 1
        self._record({"input": str(source), "output": str(target), "error": message})
        if not self._as_json:
            notice(message)

    def _record(self, fields: dict[str, Any]) -> None:
        self._files.append(fields)
        if self._as_json and (not self._quiet or "error" in fields):
            say(json.dumps(fields))

    def so_far(self, source: Path) -> str:
        """A line for the progress bar: the speed, the bytes saved, and the current file."""
        saved = self._input_bytes - self._bytes
        parts = [f"{self._pixels / 1e6 / self._seconds():.1f} MP/s"] if self._pixels else []
        parts += [f"{saved / 1e6:.1f} MB saved"] if saved > 0 else []
        return "  ".join([*parts, str(source)])

    def report(self, *, finished: bool) -> bytes:
        """All outcomes and totals as JSON."""
        seconds = self._seconds()
        totals = {
            "written": len(self._files) - self.failures - self._skipped,
            "failed": self.failures,
            "skipped": self._skipped,
            "input_bytes": self._input_bytes,
            "bytes": self._bytes,
            "megapixels": self._pixels / 1e6,
            "seconds": seconds,
            "megapixels_per_second": self._pixels / 1e6 / seconds,
        }
        report = {
            "vaecodec": vaecodec.__version__,
            "finished": finished,
            "totals": totals,
            "files": self._files,
        }
        return (json.dumps(report, indent=1) + "\n").encode()

    def _seconds(self) -> float:
        return max(time.perf_counter() - self._started, 1e-9)


def succeeded(former: dict[str, dict[str, Any]], source: Path, target: Path) -> bool:
    """Whether an earlier report, by input, says that `target` was made of `source`."""
    known = former.get(str(source), {})
    return known.get("output") == str(target) and "error" not in known


class Report:
    """The file of `--report`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        #: What an earlier run's report says, by input.
        self.former: dict[str, dict[str, Any]] = {}

    def check(self, pairs: Sequence[tuple[Path, Path]], *, force: bool, resume: bool) -> None:
        """Raises VaeError if the file may not be written: because it is one of those worked on, or
        because it exists, without `force` or, for an existing report, `resume`."""
        if self._path == STANDARD_STREAM:
            raise VaeError("a report goes to a file, not to standard output")
        real = os.path.realpath(self._path)
        if any(os.path.realpath(path) == real for pair in pairs for path in pair):
            raise VaeError("a report cannot take the place of an input or an output").in_file(
                str(self._path)
            )
        if resume and os.path.exists(self._path) and not os.path.isdir(self._path):
            self.former = _files_of(self._path)
            return
        check_output(self._path, force=force)

    @contextlib.contextmanager
    def writing(self, outcomes: Outcomes) -> Iterator[None]:
        """Write the report at the beginning, so that what prevents it is known before any work is done,
        and at the end, however the run ends."""
        make_parents(self._path)
        write_whole(self._path, outcomes.report(finished=False), force=True)
        try:
            yield
        except BaseException:
            try:
                write_whole(self._path, outcomes.report(finished=False), force=True)
            except VaeError as error:
                notice(str(error))
            raise
        write_whole(self._path, outcomes.report(finished=True), force=True)


def _files_of(path: Path) -> dict[str, dict[str, Any]]:
    """What a report says of each input. Raises VaeError for what is no report."""
    try:
        report = json.loads(read_path(path))
        return {fields["input"]: fields for fields in report["files"]} if report["totals"] else {}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise VaeError("exists already, and is no report (use --force to replace it)").in_file(
            str(path)
        ) from error
