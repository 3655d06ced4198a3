"""Plots of a run's results, as PNG and SVG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from bitstream.errors import VaeError
from vaecodec.bench.curves import References, bd_rate, mean_curve
from vaecodec.bench.metrics import METRICS
from vaecodec.bench.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colours for the codecs, in the order they are assigned (Okabe and Ito, 2008, and two more).
COLOURS = (
    "#0072b2", "#000000", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c564b",
)  # fmt: skip


def colours(results: Results) -> dict[str, str]:
    """Assign a colour to each codec: vaecodec's models first, then the others, in order."""
    names = sorted(results.codecs, key=lambda name: not name.startswith("vae "))
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def rate_distortion(results: Results, metric: str, references: References) -> Figure:
    """Plot mean curves over bits per pixel, log scale; references dashed and grey."""
    figure = _figure(7, 5)
    axes = figure.axes[0]
    for name, colour in colours(results).items():
        curve = mean_curve(results.rows, name, metric)
        if curve:
            width = 2.2 if name.startswith("vae ") else 1.2
            axes.plot(*zip(*curve, strict=True), "o-", ms=3, lw=width, color=colour, label=name)
    for name, by_metric in references.items():
        if metric in by_metric:
            x, y = zip(*by_metric[metric], strict=True)
            axes.plot(x, y, "--", lw=0.9, color="#999999")
            axes.annotate(f" {name}", (x[-1], y[-1]), fontsize=6, color="#777777", va="center")
    axes.set_xscale("log")
    axes.set_xticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
    axes.set_xlabel("bits per pixel")
    axes.set_ylabel(METRICS[metric].label)
    axes.set_title(f"Means over {len(results.images)} images", fontsize=10)
    axes.legend(fontsize=8, frameon=False)
    return figure


def speed(results: Results, anchor: str, metric: str = "psnr", interpolation: str = "akima") -> Figure:
    """Plot rate saved against `anchor` over encoding (filled) and decoding (hollow) speed, log
    scale."""
    figure = _figure(7, 4.5)
    axes = figure.axes[0]
    anchor_curve = mean_curve(results.rows, anchor, metric)
    for name, colour in colours(results).items():
        try:
            curve = mean_curve(results.rows, name, metric)
            saved = -bd_rate(anchor_curve, curve, interpolation).percent
        except VaeError:
            continue
        encode, decode = results.speeds(name)
        axes.plot([encode, decode], [saved, saved], "-", lw=0.8, color=colour)
        axes.plot([encode], [saved], "o", color=colour, label=name)
        axes.plot([decode], [saved], "o", color=colour, mfc="white")
    axes.set_xscale("log")
    axes.set_xlabel("megapixels per second, encoding (filled) and decoding (hollow)")
    axes.set_ylabel(f"rate saved against {anchor} (%)")
    axes.set_title(f"{results.machine}; {results.jobs} at once", fontsize=8)
    axes.legend(fontsize=8, frameon=False)
    return figure


def render(figure: Figure, form: str) -> bytes:
    """Render to the bytes of a "png" or "svg" file, the same for the same figure."""
    import matplotlib as mpl

    file = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "vaecodec", "svg.fonttype": "none"}):
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(file, format=form, dpi=110, metadata=metadata)
    return file.getvalue()
