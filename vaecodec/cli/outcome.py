"""What became of many files: said as it happens, and in a report."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import vaecodec
from vaecodec.cli.report import notice, say
from vaecodec.files import STANDARD_STREAM


class Outcomes:
    """Every file's outcome, as one JSON object each, and totals."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json, self._quiet = as_json, quiet
        self._files: list[dict[str, Any]] = []
        self._started = time.perf_counter()
        self._pixels = self._bytes = self._input_bytes = 0
        self.failures = 0
        self._skipped = 0

    def skip(self, pairs: Sequence[tuple[Path, Path]], total: int) -> None:
        """Those that have an output, of so many in all."""
        self._skipped = len(pairs)
        for source, target in pairs:
            self._files.append({"input": str(source), "output": str(target), "skipped": True})
        if pairs and not self._quiet:
            notice(f"{len(pairs)} of {total} files have an output already")

    def written(
        self, source: Path, target: Path, size: int, pixels: int, notices: Sequence[str]
    ) -> None:
        """An output of so many bytes."""
        fields: dict[str, Any] = {"input": str(source), "output": str(target)}
        if source != STANDARD_STREAM and source.is_file():
            fields["input_bytes"] = source.stat().st_size
        fields |= {"bytes": size, "pixels": pixels, "notices": list(notices)}
        if self._as_json and not self._quiet:
            _say(fields)
        self._pixels += pixels
        self._bytes += size
        self._input_bytes += fields.get("input_bytes", 0)
        self._files.append(fields)

    def failed(self, source: Path, message: str) -> None:
        """An input without an output, and why."""
        self.failures += 1
        fields = {"input": str(source), "error": message}
        self._files.append(fields)
        if self._as_json:
            _say(fields)
        else:
            notice(message)

    def so_far(self, source: Path) -> str:
        """A line for the progress bar: how fast, how much smaller, and the file at hand."""
        saved = self._input_bytes - self._bytes
        parts = [f"{self._pixels / 1e6 / self._seconds():.1f} MP/s"] if self._pixels else []
        parts += [f"{saved / 1e6:.1f} MB saved"] if saved > 0 else []
        return "  ".join([*parts, str(source)])

    def report(self) -> bytes:
        """All of it as JSON."""
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
        report = {"vaecodec": vaecodec.__version__, "totals": totals, "files": self._files}
        return (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode(
            "utf-8", "backslashreplace"
        )

    def _seconds(self) -> float:
        return max(time.perf_counter() - self._started, 1e-9)


def _say(fields: dict[str, Any]) -> None:
    """One line on standard output."""
    say(json.dumps(fields, ensure_ascii=False))
