"""Check whether the model tuned for the eye pays for its metric with others.

    python tools/guards.py VISUAL PSNR DATA OUT [--count N] [--jobs N]

VISUAL, PSNR: two models, names or files. DATA: the folder they were trained on. Its held-out pictures
(their middles, at most `SIDE` wide and high) go through both, and through AVIF with libavif's default
tune, as real files. Prints the figures, writes OUT/guards.json, and exits with 1 if a tolerance is
exceeded. OUT also keeps the measurements for the next run.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from bitstream.errors import VaeError
from vaecodec.bench.cache import NAME, Cache
from vaecodec.bench.codecs import BenchCodec, other
from vaecodec.bench.codecs.vae import Vae
from vaecodec.bench.curves import Curve, bd_rate, leads, mean_curve
from vaecodec.bench.metrics import usable
from vaecodec.bench.output import prepare
from vaecodec.bench.results import Results, Row
from vaecodec.bench.run import readable, run
from vaecodec.files import Input, write_json
from vaecodec.geometry import middle
from vaecodec.train.data import held_out

#: At equal values of any of GUARDS, `visual` may take this many percent more rate than `psnr`.
MAX_RATE = 3.0
#: At no rate may its PSNR, of all samples or of luma, be more than this many dB below that of `psnr`.
MAX_PSNR_LOSS = 1.2
#: At no rate may its mean CIEDE2000 be more than this above that of AVIF.
MAX_COLOUR_LOSS = 0.0

GUARDS = ("ssimulacra2", "cvvdp", "ms-ssim", "ciede2000", "flip", "features")
#: Metrics of squared error, of all samples and of luma.
SQUARED = ("psnr", "psnr-y")
QUALITIES = {
    "visual": (5, 20, 36, 52, 68, 84),
    "psnr": (5, 20, 36, 52, 68, 84),
    "avif": (10, 25, 40, 55, 66, 76),
}
#: Sides of the pictures, in pixels: MS-SSIM needs more than 160.
SIDE, MIN_SIDE = 768, 161
COUNT = 8

Curves = Mapping[str, Mapping[str, Curve]]


def pictures(data: Path, folder: Path, count: int) -> list[Input]:
    """Write the middles of `count` held-out pictures (all, if there are fewer), evenly spread."""
    large = [picture for picture in held_out(data) if min(picture.shape[:2]) >= MIN_SIDE]
    if not large:
        raise VaeError(f"{data}: no held-out picture has {MIN_SIDE} pixels a side or more")
    folder.mkdir(exist_ok=True)
    found = []
    # The middle of each of `count` stretches, so that the ends are no likelier than the rest.
    for number in sorted({(2 * k + 1) * len(large) // (2 * count) for k in range(count)}):
        cut = middle(large[number].shape, SIDE, SIDE)
        path = folder / f"{number:03}.png"
        Image.fromarray(large[number][cut.slices()]).save(path, compress_level=1)
        found.append(Input(path=path, root=folder, of_folder=True))
    return found


def measured(codecs: Mapping[str, BenchCodec], found: list[Input], cache: Cache, jobs: int) -> Results:
    """Run every picture through every codec, named by the keys of `codecs`. Raises VaeError."""

    def failed(text: str) -> None:
        raise VaeError(text)

    images = readable(found, failed)
    rows: list[Row] = []
    for name, codec in codecs.items():
        results = run(
            images, [(codec, QUALITIES[name])], (*SQUARED, *GUARDS),
            cache=cache, jobs=jobs, failed=failed,
            progress=lambda done, total, text: print(f"{done} of {total}: {text}", file=sys.stderr),
        )  # fmt: skip
        rows += [dataclasses.replace(row, codec=name) for row in results.rows]
    settings = {name: f"{codec.name}: {codec.settings}" for name, codec in codecs.items()}
    return Results(
        machine=results.machine, jobs=jobs, codecs=settings, metrics=results.metrics, rows=rows
    )


def rate_more(anchor: Curve, test: Curve) -> float | str:
    """BD-rate in percent, or why there is none."""
    try:
        return round(bd_rate(anchor, test).percent, 2)
    except VaeError as error:
        return str(error)


def judge(results: Results) -> dict[str, Any]:
    """Return figures, and in words what is `broken`. Raises VaeError if no rates can be compared."""
    metrics = (*SQUARED, *GUARDS)
    curves: Curves = {
        name: {metric: mean_curve(results.rows, name, metric) for metric in metrics}
        for name in results.codecs
    }
    bd = {
        f"{test} against {anchor}": {m: rate_more(curves[anchor][m], curves[test][m]) for m in metrics}
        for test, anchor in (("visual", "psnr"), ("visual", "avif"), ("psnr", "avif"))
    }
    decibels = {m: leads(curves["psnr"][m], curves["visual"][m]) for m in SQUARED}
    colour = {
        model: leads(curves["avif"]["ciede2000"], curves[model]["ciede2000"])
        for model in ("visual", "psnr")
    }
    broken = []
    for metric in GUARDS:
        value = bd["visual against psnr"][metric]
        if isinstance(value, str) or value > MAX_RATE:
            text = value if isinstance(value, str) else f"{value:+.1f} % rate against psnr"
            broken.append(f"{metric}: {text}; at most {MAX_RATE:+.1f} % is allowed")
    for metric, by_rate in decibels.items():
        for rate, value in by_rate.items():
            if value < -MAX_PSNR_LOSS:
                text = f"{value:+.2f} dB at {rate} bpp; -{MAX_PSNR_LOSS} dB is allowed"
                broken.append(f"{metric}: {text}")
    for rate, value in colour["visual"].items():
        if value < -MAX_COLOUR_LOSS:
            broken.append(
                f"ciede2000: {-value:+.3f} against AVIF at {rate} bpp; {MAX_COLOUR_LOSS:+} is allowed"
            )
    return {
        "bd_rate": bd,
        "decibels_above_psnr": {
            metric: {str(rate): round(value, 3) for rate, value in by_rate.items()}
            for metric, by_rate in decibels.items()
        },
        "ciede2000_above_avif": {
            model: {str(rate): round(-value, 4) for rate, value in by_rate.items()}
            for model, by_rate in colour.items()
        },
        "broken": broken,
    }


def show(found: Mapping[str, Any]) -> None:
    """Print the figures of `judge`."""
    for pair, by_metric in found["bd_rate"].items():
        print(f"BD-rate, {pair}")
        for metric, value in by_metric.items():
            print(f"  {metric:<14}" + (value if isinstance(value, str) else f"{value:+.1f} %"))
    print("visual beyond psnr, dB, by bits per pixel")
    for metric, by_rate in found["decibels_above_psnr"].items():
        print(f"  {metric:<8}" + ", ".join(f"{rate}: {value:+.2f}" for rate, value in by_rate.items()))
    print("mean CIEDE2000 beyond that of AVIF, by bits per pixel")
    for model, by_rate in found["ciede2000_above_avif"].items():
        print(f"  {model:<8}" + ", ".join(f"{rate}: {value:+.3f}" for rate, value in by_rate.items()))
    for text in found["broken"]:
        print(f"BROKEN: {text}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("visual", metavar="VISUAL")
    parser.add_argument("psnr", metavar="PSNR")
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--count", type=int, default=COUNT, help=f"of pictures, {COUNT} by default")
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args(arguments)
    if given.count < 1:
        raise VaeError(f"--count must be 1 or more, not {given.count}")
    for metric in GUARDS:
        usable(metric)
    codecs: dict[str, BenchCodec] = {
        "visual": Vae(model=given.visual, tune="visual", device="cpu"),
        "psnr": Vae(model=given.psnr, tune="psnr", device="cpu"),
        "avif": other("avif"),
    }
    prepare(given.out)
    found = pictures(given.data, given.out / "pictures", given.count)
    results = measured(codecs, found, Cache(given.out / NAME), given.jobs)
    judged = judge(results)
    show(judged)
    about = {
        "machine": results.machine,
        "pictures": len(results.images),
        "codecs": results.codecs,
        "metrics": results.metrics,
        "tolerances": {
            "rate_percent": MAX_RATE,
            "psnr_decibels": MAX_PSNR_LOSS,
            "ciede2000_above_avif": MAX_COLOUR_LOSS,
        },
    }
    write_json(given.out / "guards.json", about | judged)
    return 1 if judged["broken"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except VaeError as error:
        sys.exit(str(error))
