"""Write docs/results.md from the committed figures in benchmarks/results/.

python tools/write_results.py
"""

from __future__ import annotations

import json
import re
import statistics
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
KODAK_OPTIONS = (
    "--codecs", "vae,jpeg,webp,avif,avif-psnr,jxl", "--efforts", "0,4",
    "--metrics", "ssimulacra2,cvvdp,features,psnr,ms-ssim", "--side-by-side", "0", "--jobs", "2",
    "--qualities", "5,10,20,35,50,65,80,95",
    "--qualities", "jpeg=10,22,45,70,88,94", "--qualities", "webp=1,10,25,45,80,91",
    "--qualities", "avif=10,25,40,55,68,78,86", "--qualities", "avif-psnr=10,25,40,55,68,78,86",
    "--qualities", "jxl=5,20,40,60,76,88,94",
)  # fmt: skip


def _models(results: Results) -> dict[str, ModelEntry]:
    """The models measured, at effort 0, by the names of their curves; those tuned for the eye first."""
    names = [c for c in results.codecs if c.startswith("vae ") and " effort " not in c]
    models = {name: registry.find(name.removeprefix("vae ")) for name in names}
    return dict(sorted(models.items(), key=lambda item: list(TUNE_METRICS).index(item[1].tune)))


def _command(results: Results) -> str:
    """The command that measures what `results` holds."""
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
    """What `--qualities` is given to measure the same."""
    specs = {}
    for name in results.codecs:
        codec = "vae" if name.startswith("vae ") else re.sub(" (speed|effort) ", ":", name)
        specs[codec] = ",".join(str(quality) for quality in results.qualities(name))
    return [spec if codec == "vae" else f"{codec}={spec}" for codec, spec in specs.items()]


def _standings(results: Results, curve: str, metrics: Sequence[str]) -> list[str]:
    """A model against every other format by the metrics of its tune."""
    table = {metric: standings(results, metric, curve) for metric in metrics}
    cells = [f"at equal {metric} | better at equal rate" for metric in metrics]
    lines = [
        f"**{curve.removeprefix('vae ')}** against every other format: BD-rate against the format's",
        f"best curve (in brackets), and whether it is better than all of the format's at {len(RATES)}",
        f"rates from {RATES[0]} to {RATES[-1]} bits per pixel.",
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
                where += f" (of {standing.rates[0]:g} to {standing.rates[-1]:g})"
            cells.append(f"{standing.percent:+.1f} % ({standing.best}) | {where}")
        lines.append(f"| {form} | {' | '.join(cells)} |")
    return [*lines, ""]


def kodak(results: Results, name: str) -> list[str]:
    """The `results.json` of `vaecodec bench` over Kodak, and the plots of it, which are written too."""
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
            f"{model.name}: tune {model.tune}, trained for {model.card['minutes']:.0f} minutes, "
            f"{model.card['steps']} steps, on {'; '.join(hardware)}.",
            f"Its PSNR rises with quality on {'every image' if rising else 'NOT every image'}.",
            "",
        ]
    lines += [
        f"Real files, means of per-image values, measured on {results.machine},",
        f"{results.jobs} jobs at once.",
        "",
        "    " + _command(results),
        "",
    ]
    for curve, own in leading.items():
        lines += _standings(results, curve, own)
    versus = [(curve, metric) for curve, own in leading.items() for metric in own]
    against = [f"{curve.removeprefix('vae ')} against it, {metric}" for curve, metric in versus]
    lines += [
        f"![Rate and {metrics[0]}](images/kodak-{metrics[0]}.svg)",
        "",
        "BD-rate against JPEG 4:2:0 (Akima) of the mean curves, and in brackets the mean of the single",
        "images'; the last columns: models against each curve, at equal values of the metric named.",
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
        lines += [f"![Rate and {metric}](images/kodak-{metric}.svg)", ""]
    lines += [
        f"Speeds against rate saved (at equal {metrics[0]}); with several jobs at once each is slower",
        "than alone, more so what works in several threads (vaecodec, AVIF, JPEG XL). Speeds alone are",
        "below.",
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
    """Of `test` against `anchor`; empty where there is none."""
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
    """A `tools/graphics.py` file: dB beyond JPEG at equal size, per picture and quality."""
    rows = figures["rows"]
    qualities = sorted({row["quality"] for row in rows})
    lines = [
        f"## Drawings and text ({name})",
        "",
        figures["model"],
        "",
        "PSNR minus that of a JPEG (4:2:0) of the same size, in dB, per quality; in brackets our PSNR.",
        '"smaller": no JPEG is as small. "exact": stored without loss.',
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
    """A `tools/guards.py` file: what metrics nobody trained on say of the model tuned for the eye."""
    allowed, broken = figures["tolerances"], figures["broken"]
    lines = [
        f"## Guards: {figures['pictures']} held-out training pictures",
        "",
        *(f"- {codec}" for codec in figures["codecs"].values()),
        "",
        f"Measured on {figures['machine']}. BD-rate of the mean curves, by every metric;",
        f"allowed against psnr are {allowed['rate_percent']:+g} %, and by PSNRs "
        f"{allowed['psnr_decibels']:g} dB: {'; '.join(broken) if broken else 'none is broken.'}",
        "",
        "    python tools/guards.py VISUAL PSNR DATA OUT",
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
        "At equal rate `visual` is at worst "
        + " and ".join(f"{value:+.2f} dB by {metric}" for metric, value in worst.items())
        + " from `psnr`.",
        "",
    ]


#: CompressAI's models in the speed suite.
PEERS = ("mbt2018_mean", "cheng2020_anchor")


def speed(figures: dict[str, Any]) -> list[str]:
    """A `tools/record_speed.py` file: megapixels per second, and ratios to CompressAI's models."""
    medians = {row["name"]: row["median_seconds"] for row in figures["rows"]}
    beside = [row for row in figures["rows"] if row["name"].startswith("beside_others_")]
    scaling = [row for row in figures["rows"] if "pixels" in row and row not in beside]
    megapixels = 768 * 512 / 1e6
    lines = [
        f"## Speed ({figures['model']})",
        "",
        "768 x 512 picture, after warm-up, everything included, medians;",
        f"{figures['machine']}, no GPU.",
        "The last columns: the time that CompressAI's models (random weights) take for the same in the",
        "same run, as a multiple. In brackets the quality and, for encoding, the effort.",
        "",
        "    python tools/record_speed.py FILE        # make bench: a short form",
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
        "How it grows at quality 60: with the picture (megapixels in brackets), the threads, and the",
        "number of pictures in a batch (768 x 512 each).",
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
        "Decoding on an idle machine and beside one busy process per core; with PyTorch's threads as",
        "they are by themselves, and as the command line sets them. A batch is of 8 pictures.",
        "",
        "| | ms | MP/s |",
        "|---|---:|---:|",
    ]
    for row in beside:
        seconds, pixels = row["median_seconds"], row.get("pixels", megapixels * 1e6)
        lines.append(f"| {row['name']} | {1000 * seconds:.1f} | {pixels / 1e6 / seconds:.2f} |")
    return [*lines, ""]


def large(figures: dict[str, Any]) -> list[str]:
    """A `tools/large_pictures.py` file."""
    cost = figures["groups"]
    share = (cost["bytes_apart"] - cost["bytes_together"]) / cost["file_bytes"]
    lines = [
        f"## Large pictures ({figures['model']})",
        "",
        f"Measured on {figures['machine']}. Memory: the peak of a process beyond what it had with the",
        "model loaded, the picture itself included (Pillow keeps four bytes a pixel).",
        "",
        "    python tools/large_pictures.py MODEL FILE",
        "",
        "| megapixels | | seconds | memory GiB | of which samples GiB |",
        "|---:|---|---:|---:|---:|",
    ]
    for row in figures["rows"]:
        lines.append(
            f"| {row['megapixels']:.0f} | {row['what']} | {row['seconds']:.1f} | {row['gib']:.2f} "
            f"| {row['pixels_gib']:.2f} |"
        )
    lines += [
        "",
        f"Coding 24 megapixels in {cost['groups']} independent groups costs {share:+.2%} of the file",
        "against one group.",
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
        f"JPEG files of 0.1 to 12 megapixels, {figures['broken']} of them broken, compressed by one",
        "command, which is killed half-way (SIGKILL), and again with `--resume`. Measured on",
        f"{figures['machine']}.",
        "",
        "    python tools/folder_run.py PICTURES WORK FILE",
        "",
        "| | |",
        "|---|---:|",
        f"| files written when it was killed | {killed['written']} |",
        f"| written by the second run | {totals['written']} |",
        f"| written twice | {figures['written_again']} |",
        f"| files whose checksums do not hold | {figures['unreadable']} |",
        f"| said to have failed | {totals['failed']} |",
        f"| megapixels of the second run | {totals['megapixels']:.0f} |",
        f"| megapixels per second | {totals['megapixels_per_second']:.2f} |",
        f"| input, output, MB | {totals['input_bytes'] / 1e6:.0f}, {totals['bytes'] / 1e6:.0f} |",
        f"| resident memory, MiB, second to fourth tenth of the time: median | {early} |",
        f"| last three tenths: median | {late} |",
        f"| at most | {max(memory)} |",
        "",
        *([figures["note"], ""] if "note" in figures else []),
    ]


def fuzz(figures: dict[str, Any]) -> list[str]:
    """A `tools/fuzz/many.py` file."""
    return [
        "## Damaged and hostile files",
        "",
        f"{figures['count']} mutations of {figures['files']} files, seed {figures['seed']}: "
        f"{figures['failures']} crashed, hung or raised anything but a `VaeError`.",
        f"The slowest took {figures['slowest_seconds']:.2f} s of processor time; resident memory grew",
        f"by {figures['memory_growth_mib']} MiB over all of them.",
        "",
        "    python tools/fuzz/many.py",
        "",
        "| came of it | files |",
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
        "A small network learns from random crops by how many right angles a picture is turned",
        f"(Gidaris, Singh and Komodakis, 2018). It is trained on {figures['train']} pictures of",
        f"{side} x {side} and tested on {figures['test']} others, each in all four ways: guessing is",
        "right for 25 %. JPEG files (4:2:0, optimised, progressive) are of the lowest quality whose",
        f"mean SSIMULACRA2 on {figures['sample']} pictures is at least that of the `.vae` files. Both",
        "trainings see the same crops in the same order. Seconds: of the training in an epoch,",
        f"decoding included, the median. {figures['workers']} workers decode, the network runs on",
        f"{threads} thread{'' if threads == 1 else 's'}.",
        f"Measured on {figures['machine']}.",
        *([f"Pictures: {figures['about']}."] if figures["about"] else []),
        "",
        "    python tools/train_classifier.py PICTURES FILE",
        "",
        "| | quality | SSIMULACRA2 | MB read per epoch | seconds per epoch | accuracy after each |",
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
            f"{found['pictures']} pictures; {figures['fitted_to']} others, like these of the",
            "codec's own training data, were fitted to. Unchanged pictures are embedded by",
            f"{first}, changed ones by {model}. *Found*: the nearest is the one that",
            "the changed one was made of. *Alike*: scalar product with it, and what 95 % exceed. Of",
            f"different unchanged pictures, half are below {others['50.0']:.2f}, 99.9 % below",
            f"{others['99.9']:.2f}, all below {others['100.0']:.2f}.",
            "",
            "    python tools/fit_embedding.py DATA SIZE --report FILE",
            "",
            "| | found | alike | 95 % exceed |",
            "|---|---:|---:|---:|",
        ]
        for name, row in found["variants"].items():
            lines.append(
                f"| {name} | {100 * row['found']:.0f} % | {row['alike']:.2f} "
                f"| {row['alike, 5th percentile']:.2f} |"
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
        f"Medians over {figures['pictures']} pictures of 256 x 256: middles of held-out pictures,",
        "coded at a level; variations of each (its hyper-latent, the rest drawn); samples.",
        "Luma of 0..255; *differences*: between neighbours in a row; *slope*: the exponent by which",
        "power falls with spatial frequency, between 1/64 and 1/4 cycles per pixel.",
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
        f"Crops of {side} x {side}, coded at qualities {', '.join(qualities)}; per cent right of:",
        "",
        "- *photographs*: the class that EfficientNet-Lite0 gives a crop, of"
        f" {photographs['classes']} (the most frequent: {most:.0f} %);"
        f" {photographs['training']} crops to train on, {photographs['tested']} of other pictures;",
        f"- *textures*: which of {textures['classes']} kinds a drawn one is;"
        f" {textures['training']} to train on, {textures['tested']} others.",
        "",
        "One training, on files of all qualities.",
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
        f"From a file to the answer, one thread ({figures['machine']}):",
        "",
        "| read | ms | classifier | ms |",
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
        f"Middles (512 x 384) of {figures['pictures']} Kodak pictures with white noise added, or",
        f"after JPEG, encoded at qualities {', '.join(map(str, qualities))}, compared with the",
        "picture before.",
        "*dB*, *points*: PSNR and SSIMULACRA2 above plain encoding, mean over the rates from 0.15 to",
        "1.5 bits per pixel that both reach. Seconds: to denoise and encode, medians. Non-local means:",
        "scikit-image's, in its fast mode.",
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
        "says. PSNR within it, in dB, and in brackets SSIMULACRA2 of the whole picture; means. Last",
        f"the median of the milliseconds, on {figures['machine']}.",
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
    """What is to be said of models that are named in `lines` and no longer shipped."""
    shipped = {entry.name for entry in registry.registered()}
    sizes, tunes = "|".join(registry.PREFERENCE), "|".join(TUNES)
    named = set(re.findall(rf"\b(?:{sizes})-(?:{tunes})-\d+\b", "\n".join(lines)))
    if not (gone := sorted(named - shipped)):
        return []
    return [
        f"Shipped no longer: {', '.join(gone)}. What was measured with such a model holds for its",
        "structure, which is that of the models shipped; rates and likenesses differ a little.",
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
