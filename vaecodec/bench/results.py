"""Results of a benchmark run, as JSON and CSV: rows, and the conditions they were measured in."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bitstream.errors import VaeError
from vaecodec.sources import read_path

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image through one codec at one quality.

    `sha256`: of the file, in hexadecimal. `metrics`: by name, None if one does not apply (a picture too
    small, an infinite PSNR). Seconds are wall-clock time.
    """

    image: str
    codec: str
    quality: int
    bytes: int
    sha256: str
    width: int
    height: int
    encode_seconds: float
    decode_seconds: float
    metrics: dict[str, float | None] = field(default_factory=dict)

    @property
    def bpp(self) -> float:
        """Bits per pixel."""
        return 8 * self.bytes / (self.width * self.height)

    @property
    def psnr(self) -> float:
        """In dB, infinite for an exact copy. Raises KeyError if it was not measured."""
        value = self.metrics["psnr"]
        return math.inf if value is None else value


def mean_of(rows: Sequence[Row], metric: str) -> float | None:
    """Mean of a metric; None if a row has no value, or there are no rows."""
    values = [value for row in rows if (value := row.metrics.get(metric)) is not None]
    return sum(values) / len(values) if values and len(values) == len(rows) else None


@dataclass(kw_only=True)
class Results:
    """`machine`: in words. `jobs`: how many ran at once. `codecs`, `metrics`: name -> settings, and
    name -> version. `rows`: one per image, codec and quality."""

    machine: str
    jobs: int
    codecs: dict[str, str]
    metrics: dict[str, str]
    rows: list[Row]

    @property
    def images(self) -> list[str]:
        return list(dict.fromkeys(row.image for row in self.rows))

    def of(self, codec: str, quality: int | None = None) -> list[Row]:
        """Rows of a codec, at one quality or all."""
        return [r for r in self.rows if r.codec == codec and quality in (None, r.quality)]

    def qualities(self, codec: str) -> list[int]:
        """A codec's qualities, in the order they were run."""
        return list(dict.fromkeys(row.quality for row in self.of(codec)))

    def speeds(self, codec: str, quality: int | None = None) -> tuple[float, float]:
        """Megapixels per second of encoding and decoding, over all rows together; NaN without rows."""
        rows = self.of(codec, quality)
        pixels = sum(row.width * row.height for row in rows) / 1e6
        encode, decode = (sum(r.encode_seconds for r in rows), sum(r.decode_seconds for r in rows))
        return (pixels / encode, pixels / decode) if rows else (math.nan, math.nan)

    def to_json(self) -> bytes:
        stored = {"version": VERSION, **asdict(self)}
        lines = ",\n".join(json.dumps(row) for row in stored.pop("rows"))
        head = json.dumps(stored, indent=1)
        return f'{head[:-2]},\n "rows": [\n{lines}\n]\n}}\n'.encode()

    def to_csv(self) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = ("image", "codec", "quality", "bytes", "width", "height", "bpp")
        seconds = ("encode_seconds", "decode_seconds", "sha256")
        writer.writerow([*columns, *self.metrics, *seconds, "settings", "machine", "jobs"])
        for row in self.rows:
            own = [getattr(row, name) for name in columns]
            values = [row.metrics.get(name) for name in self.metrics]
            rest = [getattr(row, name) for name in seconds]
            writer.writerow([*own, *values, *rest, self.codecs[row.codec], self.machine, self.jobs])
        return text.getvalue().encode()


def read_results(path: Path) -> Results:
    """Read what `Results.to_json` wrote. Raises VaeError naming the file."""
    try:
        stored: dict[str, Any] = json.loads(read_path(path))
        if stored.pop("version") != VERSION:
            raise VaeError(f"{path}: results of another version of vaecodec")
        rows = [Row(**row) for row in stored.pop("rows")]
        return Results(**stored, rows=rows)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VaeError(f"{path}: not results of a benchmark ({error!r})") from error
