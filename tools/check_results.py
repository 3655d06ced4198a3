"""Compute the BD-rates of WebP and AVIF against JPEG over a folder again, without vaecodec's code.

    python tools/check_results.py RESULTS.json FOLDER

Pillow writes the files, scikit-image measures them, and curves are cubic polynomials as in VCEG-M33.
Prints both figures and fails if they are more than LIMIT points apart, or if a file's size differs.
"""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from vaecodec.bench.curves import bd_rate, mean_curve
from vaecodec.bench.results import Results, read_results

LIMIT = 2.0
WRITE: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {"optimize": True, "progressive": True, "subsampling": 2}),
    "webp": ("WEBP", {"method": 6}),
    "avif": ("AVIF", {"subsampling": "4:4:4", "speed": 4}),
}


def curve(results: Results, codec: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Log of the mean bits per pixel, and mean PSNR, per quality."""
    form, options = WRITE[codec]
    rates, decibels = [], []
    for quality in results.qualities(codec):
        bpp, psnr = [], []
        for row in results.of(codec, quality):
            picture = Image.open(folder / row.image).convert("RGB")
            file = io.BytesIO()
            picture.save(file, form, quality=quality, **options)
            if file.tell() != row.bytes:
                raise SystemExit(f"{row.image}: {codec} at {quality} has {file.tell()} bytes here")
            bpp.append(8 * file.tell() / (picture.width * picture.height))
            decoded = np.asarray(Image.open(file).convert("RGB"))
            psnr.append(peak_signal_noise_ratio(np.asarray(picture), decoded))
        rates.append(math.log(float(np.mean(bpp))))
        decibels.append(float(np.mean(psnr)))
    return np.array(rates), np.array(decibels)


def main(path: str, folder: str) -> None:
    results = read_results(Path(path))
    curves = {codec: curve(results, codec, Path(folder)) for codec in WRITE}
    apart = 0.0
    for test in ("webp", "avif"):
        ends, areas = [], []
        for rates, decibels in (curves["jpeg"], curves[test]):
            ends.append((decibels[0], decibels[-1]))
            areas.append(np.polyint(np.polyfit(decibels, rates, 3)))
        low, high = max(e[0] for e in ends), min(e[1] for e in ends)
        means = [(np.polyval(a, high) - np.polyval(a, low)) / (high - low) for a in areas]
        again = 100 * (math.exp(means[1] - means[0]) - 1)
        measured = bd_rate(mean_curve(results.rows, "jpeg"), mean_curve(results.rows, test)).percent
        print(f"{test} against jpeg: {measured:+.2f} % in the results, {again:+.2f} % computed again")
        apart = max(apart, abs(measured - again))
    if apart > LIMIT:
        raise SystemExit(f"more than {LIMIT} points apart")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
