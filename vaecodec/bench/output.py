"""Write the files of a benchmark: results as JSON and CSV, plots, and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bitstream.errors import VaeError
from vaecodec.bench import plots
from vaecodec.bench.cache import NAME
from vaecodec.bench.curves import References
from vaecodec.bench.matched import Match, cut, side
from vaecodec.bench.report import report
from vaecodec.bench.results import Results
from vaecodec.bench.run import Source, read_samples
from vaecodec.files import write_whole


def prepare(folder: Path) -> None:
    """Make `folder`; an existing one must be empty or of an earlier run. Raises VaeError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not (folder / NAME).is_file():
            raise VaeError(f"{folder}: holds other files; choose an empty or a new folder")
    except OSError as error:
        raise VaeError(f"{folder}: cannot be written ({error.strerror})") from error


def write(
    folder: Path,
    results: Results,
    pictures: Sequence[Source],
    matches: Mapping[str, Mapping[str, Match]],
    *,
    bpp: float,
    anchor: str,
    references: References,
    interpolation: str,
) -> None:
    """Write (or replace) all files in `folder`. `pictures`: as from `vaecodec.bench.run.readable`."""

    def put(name: str, data: bytes) -> None:
        write_whole(folder / name, data, force=True)

    put("results.json", results.to_json())
    put("results.csv", results.to_csv())
    figures = {f"rd-{m}": plots.rate_distortion(results, m, references) for m in results.metrics}
    if anchor in results.codecs:
        metric = next(iter(results.metrics))
        figures["speed"] = plots.speed(results, anchor, metric, interpolation)
    for name, figure in figures.items():
        for form in ("png", "svg"):
            put(f"{name}.{form}", plots.render(figure, form))
    pixels = side(len(pictures), len(results.codecs))
    originals = {p.name: cut(read_samples(p.path), pixels) for p in pictures if p.name in matches}
    html = report(
        results,
        anchor=anchor,
        references=references,
        interpolation=interpolation,
        originals=originals,
        matches=matches,
        bpp=bpp,
    )
    put("report.html", html)
