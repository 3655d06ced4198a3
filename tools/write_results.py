"""Write docs/results.md from the committed figures in benchmarks/results/.

python tools/write_results.py
"""

from __future__ import annotations

import json
import re
import statistics
import textwrap
from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

from matplotlib.figure import Figure

from bitstream.errors import VaeError
from vaecodec.bench import plots
from vaecodec.bench.curves import RATES, Curve, bd_rate, read_reference
from vaecodec.bench.results import Results, mean_of, read_results
from vaecodec.bench.summary import TUNE_METRICS, Comparison, compare, curves_of, standings
from vaecodec.files import write_whole
from vaecodec.model import registry
from vaecodec.model.registry import ModelEntry
from vaecodec.quality import DEFAULT_EFFORT, TUNES

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
#: Curves published by the CompressAI project, from its repository (BSD-3-Clause-Clear).
REFERENCE = ROOT / "benchmarks" / "reference" / "kodak-published.json"
#: Longest line of prose.
WIDTH = 120
KODAK_OPTIONS = (
    "--codecs", "vae,jpeg,webp,avif,avif-psnr,jxl", "--efforts", "0,4",
    "--metrics", "ssimulacra2,cvvdp,features,psnr,ms-ssim", "--side-by-side", "0", "--jobs", "2",
    "--qualities", "5,10,20,35,50,65,80,95",
    "--qualities", "jpeg=10,22,45,70,88,94", "--qualities", "webp=1,10,25,45,80,91",
    "--qualities", "avif=10,25,40,55,68,78,86", "--qualities", "avif-psnr=10,25,40,55,68,78,86",
    "--qualities", "jxl=5,20,40,60,76,88,94",
)  # fmt: skip


def _models(results: Results) -> dict[str, ModelEntry]:
    """The measured models, at effort 0, by the names of their curves, those tuned for the eye first."""
    names = [c for c in results.codecs if c.startswith("vae ") and " effort " not in c]
    models = {name: registry.find(name.removeprefix("vae ")) for name in names}
    return dict(sorted(models.items(), key=lambda item: list(TUNE_METRICS).index(item[1].tune)))


def _command(results: Results) -> str:
    """The command that produces `results`."""
    models: list[str] = []
    efforts: set[int] = set()
    others: list[str] = []
    for name in results.codecs:
        if name.startswith("vae "):
            model, _, effort = name.removeprefix("vae ").partition(" effort ")
            models.append(model)
            efforts.add(int(effort or DEFAULT_EFFORT))
        else:
            others.append(re.sub(" (speed|effort) ", ":", name))
    return (
        f"vaecodec bench KODAK --codecs {','.join(['vae', *others])} "
        f"--models {','.join(dict.fromkeys(models))} --efforts {','.join(map(str, sorted(efforts)))} "
        f"--metrics {','.join(results.metrics)} --jobs {results.jobs} --out DIR"
        + "".join(f" --qualities {spec}" for spec in _qualities(results))
    )


def _qualities(results: Results) -> list[str]:
    """The values of `--qualities` that measure the same points."""
    specs = {}
    for name in results.codecs:
        codec = "vae" if name.startswith("vae ") else re.sub(" (speed|effort) ", ":", name)
        specs[codec] = ",".join(str(quality) for quality in results.qualities(name))
    return [spec if codec == "vae" else f"{codec}={spec}" for codec, spec in specs.items()]


def _standings(results: Results, curve: str, metrics: Sequence[str]) -> list[str]:
    """A model compared with every other format, by the metrics of its tune."""
    table = {metric: standings(results, metric, curve) for metric in metrics}
    cells = [f"BD-rate at equal {metric} | better at equal rate" for metric in metrics]
    lines = [
        f"**{curve.removeprefix('vae ')}** compared with every other format: BD-rate against the best",
        "of the format's curves (named in brackets), and whether the model is better than all of them",
        f"at {len(RATES)} rates from {RATES[0]} to {RATES[-1]} bits per pixel.",
        "",
        f"| | {' | '.join(cells)} |",
        "|---|" + "---:|---|" * len(metrics),
    ]
    for form in dict.fromkeys(form for by_format in table.values() for form in by_format):
        cells = []
        for metric in metrics:
            standing = table[metric].get(form)
            if standing is None:
                cells.append(" | ")
                continue
            where = "at every rate"
            if standing.behind:
                where = "not at " + ", ".join(f"{rate:g}" for rate in standing.behind)
            if len(standing.rates) < len(RATES):
                where += f" (compared: {standing.rates[0]:g} to {standing.rates[-1]:g})"
            cells.append(f"{standing.percent:+.1f} % ({standing.best}) | {where}")
        lines.append(f"| {form} | {' | '.join(cells)} |")
    return [*lines, ""]


def kodak(results: Results, name: str) -> list[str]:
    """The `results.json` of `vaecodec bench` on Kodak. Writes its plots too."""
    models = _models(results)
    leading = {
        curve: [m for m in TUNE_METRICS[model.tune] if m in results.metrics]
        for curve, model in models.items()
    }
    metrics = list(dict.fromkeys([*chain(*leading.values()), *results.metrics]))
    published = {
        f"{curve} (published)": by_metric
        for curve, by_metric in read_reference(REFERENCE).items()
        if curve != "jpeg"
    }
    for metric in metrics:
        few = {"vtm (published)": published["vtm (published)"]} if metric == "psnr" else {}
        _plot(f"kodak-{metric}", plots.rate_distortion(results, metric, few))
    _plot("kodak-speed", plots.speed(results, "jpeg", metrics[0]))
    lines = [f"## {name} on Kodak, {len(results.images)} images", ""]
    for curve, model in models.items():
        hardware = sorted({stage.get("cpu", stage["hardware"]) for stage in model.card["stages"]})
        rising = all(
            a.psnr < b.psnr
            for image in results.images
            for a, b in pairwise(row for row in results.of(curve) if row.image == image)
        )
        lines += [
            *textwrap.wrap(
                f"{model.name}: tune {model.tune}, trained for {model.card['minutes']:.0f} minutes "
                f"({model.card['steps']} steps) on {'; '.join(hardware)}.",
                WIDTH,
            ),
            f"Its PSNR rises with quality on {'every image' if rising else 'NOT every image'}.",
            "",
        ]
    lines += [
        "All values come from real files and are means over the images. Measured on",
        f"{results.machine}, with {results.jobs} jobs at once:",
        "",
        "    " + _command(results),
        "",
    ]
    for curve, own in leading.items():
        for other in results.codecs:
            if other == curve or other.startswith(f"{curve} effort "):
                lines += _standings(results, other, own)
    versus = [(curve, metric) for curve, own in leading.items() for metric in own]
    against = [f"{curve.removeprefix('vae ')} against the curve, {metric}" for curve, metric in versus]
    lines += [
        f"![{metrics[0]} against rate](images/kodak-{metrics[0]}.svg)",
        "",
        "BD-rate of the mean curves against JPEG 4:2:0 (Akima interpolation), and in brackets the mean",
        "of the BD-rates of single images. The last columns give the BD-rate of a model against each",
        "curve, at equal values of the metric named.",
        "",
        f"| curve | {' | '.join([*metrics, *against])} |",
        "|---|" + "---:|" * len([*metrics, *against]),
    ]
    tables = {m: {c.name: c for c in compare(results, m, "jpeg", published)} for m in metrics}
    curves = {metric: curves_of(results, metric, published) for metric in metrics}
    for other in dict.fromkeys(chain(*curves.values())):
        cells = [_compared(tables[metric].get(other)) for metric in metrics]
        cells += [
            "" if other == curve else _bd_rate(curves[metric].get(other), curves[metric][curve])
            for curve, metric in versus
        ]
        lines.append(f"| {other} | " + " | ".join(cells) + " |")
    lines += [""]
    for metric in metrics[1:]:
        lines += [f"![{metric} against rate](images/kodak-{metric}.svg)", ""]
    lines += [
        f"The plot shows speed and the rate saved at equal {metrics[0]}. With several jobs at once,",
        "every codec is slower than alone, especially those that use several threads (vaecodec, AVIF,",
        "JPEG XL). Speeds measured alone are further below.",
        "",
        "![Speed and rate saved](images/kodak-speed.svg)",
        "",
    ]
    for codec, settings in results.codecs.items():
        lines += [f"### {codec}" + ("" if codec.startswith("vae ") else f" ({name})"), "", settings, ""]
        columns = ["quality", "bpp", *metrics, "encode MP/s", "decode MP/s"]
        lines += ["| " + " | ".join(columns) + " |", "|" + "---:|" * len(columns)]
        for quality in results.qualities(codec):
            rows = results.of(codec, quality)
            means = [mean_of(rows, metric) for metric in metrics]
            cells = [
                f"{mean(row.bpp for row in rows):.4f}",
                *("" if m is None else f"{m:.4f}" for m in means),
            ]
            cells += [f"{value:.2f}" for value in results.speeds(codec, quality)]
            lines.append(f"| {quality} | " + " | ".join(cells) + " |")
        lines.append("")
    return lines


def _bd_rate(anchor: Curve | None, test: Curve) -> str:
    """The BD-rate of `test` against `anchor`; empty if there is none."""
    try:
        return "" if anchor is None else f"{bd_rate(anchor, test).percent:+.1f} %"
    except VaeError:
        return ""


def _compared(c: Comparison | None) -> str:
    if c is None or isinstance(c.of_means, str):
        return ""
    single = f" ({c.per_image:+.1f} %)" if c.images else ""
    return f"{c.of_means.percent:+.1f} %{single}"


def _plot(name: str, figure: Figure) -> None:
    IMAGES.mkdir(exist_ok=True)
    write_whole(IMAGES / f"{name}.svg", plots.render(figure, "svg"), force=True)


def _of(rows: list[dict[str, Any]], image: str) -> list[dict[str, Any]]:
    return sorted((r for r in rows if r["image"] == image), key=lambda r: r["quality"])


def graphics(figures: dict[str, Any], name: str) -> list[str]:
    """A `tools/graphics.py` file: PSNR above JPEG's at equal size, by picture and quality."""
    rows = figures["rows"]
    qualities = sorted({row["quality"] for row in rows})
    lines = [
        f"## Drawings and text ({name})",
        "",
        figures["model"],
        "",
        "PSNR minus that of a JPEG file (4:2:0) of the same size, in dB, by quality; in brackets the",
        'PSNR itself. "smaller": no JPEG file is as small. "exact": stored losslessly.',
        "",
        "    python tools/graphics.py MODEL",
        "",
        "| | " + " | ".join(str(q) for q in qualities) + " |",
        "|---|" + "---:|" * len(qualities),
    ]
    for image in dict.fromkeys(row["image"] for row in rows):
        cells = [
            "exact"
            if row["psnr"] is None
            else f"{row['psnr'] - row['jpeg']:+.1f} ({row['psnr']:.1f})"
            if row["jpeg"]
            else "smaller"
            for row in _of(rows, image)
        ]
        lines.append(f"| {image.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def guards(figures: dict[str, Any]) -> list[str]:
    """A `tools/guards.py` file: how the model tuned for the eye does by other metrics."""
    allowed, broken = figures["tolerances"], figures["broken"]
    lines = [
        f"## Guards: {figures['pictures']} held-out training pictures",
        "",
        *(f"- {codec}" for codec in figures["codecs"].values()),
        "",
        f"Measured on {figures['machine']}. BD-rate of the mean curves, by each metric.",
        f"Against `psnr`, `visual` may need {allowed['rate_percent']:+g} % rate at equal value of any",
        f"metric but the PSNRs, and lose {allowed['psnr_decibels']:g} dB of PSNR at equal rate. "
        f"Limits exceeded: {'; '.join(broken) if broken else 'none.'}",
        "",
        f"    python tools/guards.py VISUAL PSNR DATA OUT --count {figures['pictures']}",
        "",
        "| | " + " | ".join(figures["metrics"]) + " |",
        "|---|" + "---:|" * len(figures["metrics"]),
    ]
    for pair, by_metric in figures["bd_rate"].items():
        values = (by_metric[metric] for metric in figures["metrics"])
        cells = (value if isinstance(value, str) else f"{value:+.1f} %" for value in values)
        lines.append(f"| {pair} | " + " | ".join(cells) + " |")
    worst = {m: min(by_rate.values()) for m, by_rate in figures["decibels_above_psnr"].items()}
    return [
        *lines,
        "",
        "The worst difference between `visual` and `psnr` at equal rate is "
        + " and ".join(f"{value:+.2f} dB by {metric}" for metric, value in worst.items())
        + ".",
        "",
    ]


#: CompressAI's models in the speed suite.
PEERS = ("mbt2018_mean", "cheng2020_anchor")


def speed(figures: dict[str, Any]) -> list[str]:
    """A `tools/record_speed.py` file: times, megapixels per second, ratios to CompressAI's models."""
    medians = {row["name"]: row["median_seconds"] for row in figures["rows"]}
    beside = [row for row in figures["rows"] if row["name"].startswith("beside_others_")]
    scaling = [row for row in figures["rows"] if "pixels" in row and row not in beside]
    megapixels = 768 * 512 / 1e6
    lines = [
        f"## Speed ({figures['model']})",
        "",
        "Median times for a picture of 768 x 512, after warm-up, everything included, on",
        f"{figures['machine']}, without a GPU. The last columns",
        "say how many times as long CompressAI's models (with random weights) take for the same task",
        "in the same run. Numbers in brackets are the quality and, for `vae_encode`, the effort.",
        "",
        "    python tools/record_speed.py FILE        # short form: make bench",
        "",
        "| | ms | MP/s | mbt2018-mean takes | cheng2020-anchor takes |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, seconds in medians.items():
        if name in {row["name"] for row in (*scaling, *beside)}:
            continue
        what = "encode" if "encode" in name else "decode"
        ratios = ["", ""]
        if name.startswith("vae_"):
            peers = [medians.get(f"compressai_{what}[{peer}]") for peer in PEERS]
            ratios = [f"{peer / seconds:.1f} x" if peer else "" for peer in peers]
        cells = [f"{1000 * seconds:.1f}", f"{megapixels / seconds:.2f}", *ratios]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "How times at quality 60 depend on the size of the picture (megapixels in brackets), the",
        "number of threads, and the number of pictures in a batch (768 x 512 each):",
        "",
        "| | ms | MP/s |",
        "|---|---:|---:|",
    ]
    for row in scaling:
        seconds = row["median_seconds"]
        lines.append(f"| {row['name']} | {1000 * seconds:.1f} | {row['pixels'] / 1e6 / seconds:.2f} |")
    if not beside:
        return [*lines, ""]
    lines += [
        "",
        "Decoding on an idle machine and beside one busy process per core, with PyTorch's own thread",
        "settings (as-is) and with those of the command line (settled). A batch has 8 pictures.",
        "",
        "| | ms | MP/s |",
        "|---|---:|---:|",
    ]
    for row in beside:
        seconds, pixels = row["median_seconds"], row.get("pixels", megapixels * 1e6)
        lines.append(f"| {row['name']} | {1000 * seconds:.1f} | {pixels / 1e6 / seconds:.2f} |")
    return [*lines, ""]


def against(figures: dict[str, Any]) -> list[str]:
    """A `tools/speed_against.py` file."""
    lines = [
        f"## Speed against commit {figures['commit']}",
        "",
        *textwrap.wrap(
            f"{figures['about']} Both sides in turn at quality {figures['quality']}, everything "
            f"included, each with its own weights, on {figures['machine']}. Times are medians; in "
            "brackets how many times as fast this version is. Memory is the peak of a process, which "
            "both encodes and decodes.",
            WIDTH,
        ),
        "",
        "    python tools/speed_against.py COMMIT FILE",
        "",
        "| picture | instructions | encode, ms | before | decode, ms | before | MiB | before |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in figures["rows"]:
        here, there = row["here"], row["there"]
        cells = [" x ".join(map(str, row["size"])), row["instructions"]]
        for what in ("encode", "decode"):
            ratio = there[what] / here[what]
            cells += [f"{1000 * here[what]:.0f} ({ratio:.2f} x)", f"{1000 * there[what]:.0f}"]
        cells += [f"{here['mib']:.0f}", f"{there['mib']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Share of the time that is not matrix products (PyTorch's profiler, one thread):",
        "",
        "| picture | instructions | encode | before | decode | before |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in figures["rows"]:
        cells = [" x ".join(map(str, row["size"])), row["instructions"]]
        for what in ("encode_outside_products", "decode_outside_products"):
            cells += [f"{100 * row[side][what]:.0f} %" for side in ("here", "there")]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def large(figures: dict[str, Any]) -> list[str]:
    """A `tools/large_pictures.py` file."""
    cost = figures["groups"]
    share = (cost["bytes_apart"] - cost["bytes_together"]) / cost["file_bytes"]
    lines = [
        f"## Large pictures ({figures['model']})",
        "",
        f"Measured on {figures['machine']}. Memory is the peak of a process above what it held with",
        "the model loaded, and includes the picture itself (Pillow uses four bytes per pixel).",
        "",
        "    python tools/large_pictures.py MODEL FILE",
        "",
        "| megapixels | | seconds | memory, GiB | of which samples, GiB |",
        "|---:|---|---:|---:|---:|",
    ]
    for row in figures["rows"]:
        lines.append(
            f"| {row['megapixels']:.0f} | {row['what']} | {row['seconds']:.1f} | {row['gib']:.2f} "
            f"| {row['pixels_gib']:.2f} |"
        )
    lines += [
        "",
        f"Coding 24 megapixels in {cost['groups']} independent groups instead of one changes the size",
        f"of the file by {share:+.2%}.",
        *([figures["note"]] if "note" in figures else []),
        "",
    ]
    return lines


def folder(figures: dict[str, Any]) -> list[str]:
    """A `tools/folder_run.py` file."""
    killed, resumed = figures["killed"], figures["resumed"]
    totals, memory = resumed["totals"], resumed["memory"]
    # The first tenth loads the weights.
    early, late = (
        int(median(memory[int(a * len(memory)) : int(b * len(memory))]))
        for a, b in ((0.1, 0.4), (0.7, 1.0))
    )
    return [
        f"## A folder of {figures['count']} pictures ({figures['model']})",
        "",
        f"JPEG files of 0.1 to 12 megapixels, {figures['broken']} of them broken, are compressed by a",
        "command that is killed half-way (SIGKILL) and then run again with `--resume`. Measured on",
        f"{figures['machine']}.",
        "",
        "    python tools/folder_run.py PICTURES WORK FILE",
        "",
        "| | |",
        "|---|---:|",
        f"| files written when the first run was killed | {killed['written']} |",
        f"| files written by the second run | {totals['written']} |",
        f"| files written twice | {figures['written_again']} |",
        f"| files that fail their checksums | {figures['unreadable']} |",
        f"| files reported as failed | {totals['failed']} |",
        f"| megapixels in the second run | {totals['megapixels']:.0f} |",
        f"| megapixels per second | {totals['megapixels_per_second']:.2f} |",
        f"| input, output, MB | {totals['input_bytes'] / 1e6:.0f}, {totals['bytes'] / 1e6:.0f} |",
        f"| median resident memory from the second to the fourth tenth of the run, MiB | {early} |",
        f"| median resident memory in the last three tenths, MiB | {late} |",
        f"| peak of resident memory, MiB | {max(memory)} |",
        "",
        *([figures["note"], ""] if "note" in figures else []),
    ]


def fuzz(figures: dict[str, Any]) -> list[str]:
    """A `tools/fuzz/many.py` file."""
    return [
        "## Damaged and hostile files",
        "",
        f"Of {figures['count']} mutations of {figures['files']} files (seed {figures['seed']}), "
        f"{figures['failures']} crashed, hung or raised anything but a `VaeError`.",
        f"The slowest took {figures['slowest_seconds']:.2f} s of processor time; resident memory grew",
        f"by {figures['memory_growth_mib']} MiB over the whole run.",
        "",
        "    python tools/fuzz/many.py",
        "",
        "| outcome | files |",
        "|---|---:|",
        *(f"| {name} | {count} |" for name, count in figures["outcomes"].items()),
        "",
    ]


def classifier(figures: dict[str, Any]) -> list[str]:
    """A `tools/train_classifier.py` file."""
    side, threads = figures["side"], figures["threads"]
    lines = [
        f"## Training from .vae and from JPEG files ({figures['model']})",
        "",
        "From random crops, a small network learns by how many right angles a picture is turned",
        f"(Gidaris, Singh and Komodakis, 2018). It is trained on {figures['train']} pictures of",
        f"{side} x {side} and tested on {figures['test']} others, each in all four orientations, so",
        "guessing is right 25 % of the time. The JPEG files (4:2:0, optimised, progressive) have the",
        f"lowest quality at which the mean SSIMULACRA2 of {figures['sample']} pictures is at least",
        "that of the `.vae` files. Both trainings see the same crops in the same order. The time per",
        f"epoch is the median and includes decoding. {figures['workers']} workers decode; the network",
        f"runs on {threads} thread{'' if threads == 1 else 's'}.",
        f"Measured on {figures['machine']}.",
        *([f"Pictures: {figures['about']}."] if figures["about"] else []),
        "",
        "    python tools/train_classifier.py PICTURES FILE",
        "",
        "| | quality | SSIMULACRA2 | MB read per epoch | seconds per epoch | accuracy by epoch |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for row in figures["rows"]:
        told = ", ".join(f"{accuracy:.1%}".replace("%", " %") for accuracy in row["accuracies"])
        lines.append(
            f"| {row['format']} | {row['quality']} | {row['ssimulacra2']:.2f} "
            f"| {row['bytes_per_epoch'] / 1e6:.2f} | {median(row['seconds']):.1f} | {told} |"
        )
    return [*lines, ""]


def embedding(figures: dict[str, Any]) -> list[str]:
    """A `tools/fit_embedding.py` file."""
    lines = []
    first = next(iter(figures["models"]))
    for model, found in figures["models"].items():
        others = found["others"]
        lines += [
            f"## Finding a changed picture ({model})",
            "",
            f"Tested on {found['pictures']} pictures after fitting to {figures['fitted_to']} others,",
            "all from the codec's own training data. Unchanged pictures are embedded with",
            f"{first}, changed ones with {model}. *Found*: how often the unchanged picture",
            "nearest to a changed one is its original. *Similarity*: the dot product of the two, its",
            "mean and what 95 % of pictures exceed. Of all pairs of different unchanged pictures, half",
            f"have a similarity below {others['50.0']:.2f} and 99.9 % below {others['99.9']:.2f}; the",
            f"highest is {others['100.0']:.2f}.",
            "",
            "    python tools/fit_embedding.py DATA SIZE --report FILE",
            "",
            "| | found | similarity | 95 % exceed |",
            "|---|---:|---:|---:|",
        ]
        for name, row in found["variants"].items():
            lines.append(
                f"| {name} | {100 * row['found']:.0f} % | {row['similarity']:.2f} "
                f"| {row['similarity, 5th percentile']:.2f} |"
            )
        lines.append("")
    return lines


def samples(figures: dict[str, Any]) -> list[str]:
    """A `tools/sample_statistics.py` file."""
    levels = figures["levels"]
    names = list(next(iter(next(iter(levels.values())).values())))
    lines = [
        f"## Samples beside photographs ({figures['model']})",
        "",
        f"Medians over {figures['pictures']} pictures of 256 x 256. *Photographs* are the middles of",
        "held-out pictures, coded at the level given; *variations* keep the hyper-latent of each of",
        "these, and the rest is drawn; *samples* are drawn entirely. Luma is on a scale of 0..255.",
        "*Differences* are between neighbours in a row; the *slope* is the exponent by which power",
        "falls with spatial frequency, between 1/64 and 1/4 cycles per pixel.",
        "",
        "    python tools/sample_statistics.py DATA MODEL FILE",
        "",
        f"| level | | {' | '.join(names)} |",
        f"|---:|---|{'---:|' * len(names)}",
    ]
    for level, sets in levels.items():
        for of, row in sets.items():
            lines.append(f"| {level} | {of} | {' | '.join(f'{row[name]:.1f}' for name in names)} |")
    return [*lines, ""]


def probe(figures: dict[str, Any]) -> list[str]:
    """A `tools/probe.py` file."""
    photographs, textures = figures["photographs"], figures["textures"]
    qualities = list(next(iter(photographs["accuracy"].values())))
    side, most = figures["side"], 100 * photographs["most_frequent"]
    columns = [f"{task}, {quality}" for task in ("photographs", "textures") for quality in qualities]
    lines = [
        f"## Recognition from latents and from pixels ({figures['model']})",
        "",
        f"Per cent of right answers for crops of {side} x {side}, coded at qualities "
        f"{', '.join(qualities)}:",
        "",
        "- *photographs*: the class that EfficientNet-Lite0 gives a crop, of"
        f" {photographs['classes']} (the most frequent makes up {most:.0f} %);"
        f" {photographs['training']} crops for training, {photographs['tested']} of other pictures for"
        " testing;",
        f"- *textures*: the kind of a drawn texture, of {textures['classes']};"
        f" {textures['training']} for training, {textures['tested']} others for testing.",
        "",
        "Each classifier is trained once, on files of all qualities.",
        "",
        "    python tools/probe.py DATA MODEL FILE",
        "",
        f"| classifier | {' | '.join(columns)} |",
        f"|---|{'---:|' * len(columns)}",
    ]
    for name, row in photographs["accuracy"].items():
        both = [*row.values(), *textures["accuracy"][name].values()]
        lines.append(f"| {name} | {' | '.join(f'{100 * value:.1f}' for value in both)} |")
    lines += [
        "",
        f"Time from file to answer, on one thread ({figures['machine']}):",
        "",
        "| input | ms | classifier | ms |",
        "|---|---:|---|---:|",
    ]
    ms = figures["milliseconds"]
    for read, network in (
        ("latents", "convolutional, of latents"),
        ("pixels", "convolutional, of pixels"),
        ("pixels", "usual network"),
    ):
        lines.append(f"| {read} | {ms[read]:.1f} | {network} | {ms[network]:.1f} |")
    return [*lines, ""]


def restoration(figures: dict[str, Any]) -> list[str]:
    """A `tools/restoration.py` file."""
    models = figures["models"]
    qualities = [row["quality"] for row in _some_curve(models)]
    lines = [
        "## Noise and JPEG undone while encoding",
        "",
        f"Middles (512 x 384) of {figures['pictures']} Kodak pictures, with white noise added or after",
        f"JPEG, are encoded at qualities {', '.join(map(str, qualities))} and compared with the",
        "originals. *dB* and *points* are the gains in PSNR and SSIMULACRA2 over plain encoding,",
        "averaged over the rates from 0.15 to 1.5 bits per pixel that both reach. *Seconds* are median",
        "times to denoise and encode. Non-local means is scikit-image's, in its fast mode.",
        f"Measured on {figures['machine']}.",
        "",
        f"    python tools/restoration.py KODAK FILE --count {figures['pictures']}",
        "",
    ]
    names = " | ".join(f"{model}: dB | points | seconds" for model in models)
    lines += [f"| | | {names} |", f"|---|---|{'---:|---:|---:|' * len(models)}"]
    for what, ways in next(iter(models.values())).items():
        for way in ways:
            rows = [found[what][way] for found in models.values()]
            told = " | ".join(
                f"{_signed(row['psnr above plain'], 2)} | {_signed(row['ssimulacra2 above plain'], 1)} "
                f"| {row['seconds before'] + row['seconds']:.2f}"
                for row in rows
            )
            lines.append(f"| {what} | {way} | {told} |")
    return [*lines, ""]


def repaired(figures: dict[str, Any]) -> list[str]:
    """A `tools/repair.py` file."""
    cases = figures["cases"]
    ways = list(next(iter(cases.values())))
    lines = [
        "## Parts of pictures made new",
        "",
        f"Middles (512 x 384) of {figures['pictures']} Kodak pictures that lost what the first column",
        "says: mean PSNR within the lost area, in dB, and in brackets mean SSIMULACRA2 of the whole",
        f"picture. The last row has median times, on {figures['machine']}.",
        "",
        f"    python tools/repair.py KODAK FILE --count {figures['pictures']}",
        "",
        f"| lost | {' | '.join(ways)} |",
        f"|---|{'---:|' * len(ways)}",
    ]
    for case, found in cases.items():
        told = (f"{found[way]['psnr inside']:.1f} ({found[way]['ssimulacra2']:.0f})" for way in ways)
        lines.append(f"| {case} | {' | '.join(told)} |")
    times = (
        statistics.median(found[way]["seconds"] for found in cases.values()) * 1000 for way in ways
    )
    lines.append(f"| *milliseconds* | {' | '.join(f'{each:.0f}' for each in times)} |")
    return [*lines, ""]


def _signed(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:+.{digits}f}"


def _some_curve(models: dict[str, Any]) -> list[dict[str, Any]]:
    case = next(iter(next(iter(models.values())).values()))
    return list(next(iter(case.values()))["curve"])


def retired(lines: list[str]) -> list[str]:
    """A note on models that are named in `lines` but no longer shipped."""
    shipped = {entry.name for entry in registry.registered()}
    sizes, tunes = "|".join(registry.PREFERENCE), "|".join(TUNES)
    named = set(re.findall(rf"\b(?:{sizes})-(?:{tunes})-\d+\b", "\n".join(lines)))
    if not (gone := sorted(named - shipped)):
        return []
    return [
        f"No longer shipped: {', '.join(gone)}. What was measured with such a model has not been",
        "measured since, and may differ with the shipped ones.",
        "",
    ]


def main() -> None:
    head = [
        "# Results",
        "",
        "Written by `python tools/write_results.py` from `benchmarks/results/`.",
        "",
    ]
    lines: list[str] = []
    for path in sorted(FOLDER.glob("kodak*.json")):
        lines += kodak(read_results(path), path.stem.removeprefix("kodak-"))
    for path in sorted(FOLDER.glob("guards*.json")):
        lines += guards(json.loads(path.read_text()))
    for path in sorted(FOLDER.glob("graphics*.json")):
        lines += graphics(json.loads(path.read_text()), path.stem.removeprefix("graphics-"))
    for path in sorted(FOLDER.glob("speed*.json")):
        lines += speed(json.loads(path.read_text()))
    for path in sorted(FOLDER.glob("against*.json")):
        lines += against(json.loads(path.read_text()))
    for path in sorted(FOLDER.glob("large*.json")):
        lines += large(json.loads(path.read_text()))
    for path in sorted(FOLDER.glob("classifier*.json")):
        lines += classifier(json.loads(path.read_text()))
    for path in sorted(FOLDER.glob("probe*.json")):
        lines += probe(json.loads(path.read_text()))
    for path in sorted(FOLDER.glob("embedding*.json")):
        lines += embedding(json.loads(path.read_text()))
    for path in sorted(FOLDER.glob("samples*.json")):
        lines += samples(json.loads(path.read_text()))
    for path in sorted(FOLDER.glob("restoration*.json")):
        lines += restoration(json.loads(path.read_text()))
    for path in sorted(FOLDER.glob("repair*.json")):
        lines += repaired(json.loads(path.read_text()))
    for path in sorted(FOLDER.glob("folder*.json")):
        lines += folder(json.loads(path.read_text()))
    for path in sorted(FOLDER.glob("fuzz*.json")):
        lines += fuzz(json.loads(path.read_text()))
    (ROOT / "docs" / "results.md").write_text("\n".join(head + retired(lines) + lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
