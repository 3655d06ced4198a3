"""The log of a training stage: log.jsonl, a JSON object per line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from vaecodec.train.workers import Workers

LOG_SECONDS = 15

#: Is told, as training goes on, how many minutes have passed, and what is going on.
Progress = Callable[[float, str], None]


class StageLog:
    """Keeps the time of a stage, and writes its log in the first process; in others it does nothing."""

    def __init__(self, folder: Path, workers: Workers, progress: Progress) -> None:
        self._path, self._workers, self._progress = folder / "log.jsonl", workers, progress
        self._start = self._written = time.monotonic()
        self._crops = 0

    @property
    def minutes(self) -> float:
        """Minutes since the stage began."""
        return (time.monotonic() - self._start) / 60

    def write(self, row: dict[str, object]) -> None:
        """Add a line."""
        if self._workers.first:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def stepped(self, step: int, crops: int, figures: Mapping[str, Tensor]) -> None:
        """Take note of a step in which each process saw `crops` crops. Every LOG_SECONDS its `figures`,
        scalars with a loss among them, are written."""
        self._crops += crops * self._workers.count
        now = time.monotonic()
        if not self._workers.first or now - self._written < LOG_SECONDS:
            return
        found = {name: round(float(value), 4) for name, value in figures.items()}
        speed, minutes = round(self._crops / (now - self._written), 1), round(self.minutes, 2)
        self.write({"step": step, "minutes": minutes, **found, "crops_per_second": speed})
        self._progress(minutes, f"step {step}, loss {found['loss']}")
        self._written, self._crops = now, 0


def reading(progress: Progress) -> Callable[[int], None]:
    """Return what tells `progress` how many pictures have been read."""
    return lambda count: progress(0.0, f"reading pictures: {count}")
