"""`vaecodec bench`."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bitstream.errors import VaeError
from vaecodec.cli import options
from vaecodec.cli.messages import ProgressBar, notice, say
from vaecodec.files import Input, expand
from vaecodec.quality import DEFAULT_EFFORT, MAX_EFFORT, TUNES, check_tune

if TYPE_CHECKING:
    from vaecodec.bench.codecs import BenchCodec
    from vaecodec.bench.curves import Curve, References
    from vaecodec.bench.matched import Match
    from vaecodec.bench.results import Results
    from vaecodec.bench.run import Failed, Plan


@click.command("bench")
@click.argument("images", type=options.PATH, metavar="FOLDER...", nargs=-1, required=True)
@click.option(
    "--codecs",
    default="vae,jpeg",
    show_default=True,
    metavar="NAME,...",
    help="Any of vae, jpeg, jpeg-444, webp, avif, avif-psnr, jxl, jpeg2000. avif:6 is AVIF at speed 6, "
    "jxl:9 JPEG XL at effort 9.",
)
@click.option(
    "--external",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE.toml",
    help="A codec given as two command lines (see docs/benchmarks.md).",
)
@click.option("--models", metavar="NAME,...", help="Models of vaecodec; 'all' for every one installed.")
@click.option(
    "--tunes",
    metavar="NAME,...",
    help=f"Tunes of vaecodec ({', '.join(TUNES)}), each as a separate codec. "
    "[default: all, or that of the models named]",
)
@click.option(
    "--efforts",
    default=str(DEFAULT_EFFORT),
    show_default=True,
    metavar="N,...",
    help="Efforts of vaecodec, each as a separate codec.",
)
@click.option(
    "--qualities",
    multiple=True,
    metavar="[CODEC=]Q,...",
    help="Qualities of vaecodec, or of the codec named, from worst to best.",
)
@click.option(
    "--metrics",
    default="ssimulacra2,psnr",
    show_default=True,
    metavar="NAME,...",
    help="Any of psnr, psnr-y, ms-ssim, ssimulacra2, cvvdp, ciede2000, flip, features, lpips.",
)
@click.option(
    "--anchor", metavar="CODEC", help="Curve to compare the others with. [default: jpeg, or the first]"
)
@click.option(
    "--interpolation",
    type=click.Choice(["akima", "pchip"]),
    default="akima",
    show_default=True,
    help="How curves are interpolated for the BD-rate.",
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE.json",
    help="Published curves to compare with.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for CSV, JSON, plots and report.html, and for what an interrupted run resumes from.",
)
@click.option(
    "--side-by-side",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    metavar="BPP",
    help="Bits per pixel at which the report shows pictures side by side; 0 for no pictures.",
)
@options.jobs("Processes at once. More finish sooner, but each is slower, so speeds mean less.")
@options.device
def command(
    images: Sequence[str],
    codecs: str,
    external: Sequence[Path],
    models: str | None,
    tunes: str | None,
    efforts: str,
    qualities: Sequence[str],
    metrics: str,
    anchor: str | None,
    interpolation: str,
    reference: Sequence[Path],
    out: Path | None,
    side_by_side: float,
    jobs: int,
    device: str,
) -> int:
    """Measure rate and distortion of codecs side by side on images.

    FOLDER: folders of images, or single images. Each image goes through every codec as a real file.
    """
    from vaecodec.bench import output
    from vaecodec.bench.cache import NAME, Cache
    from vaecodec.bench.matched import match_all
    from vaecodec.bench.run import readable, run
    from vaecodec.bench.summary import measured_table

    if not math.isfinite(side_by_side):
        raise click.BadParameter("a finite number was expected", param_hint="--side-by-side")
    failures: list[str] = []

    def failed(text: str) -> None:
        failures.append(text)
        notice(text)

    vaes = _vaes(models, tunes, efforts, device) if "vae" in codecs.split(",") else []
    plan = _plan(codecs, external, vaes, qualities, failed)
    measured = _metrics(metrics, failed)
    references = _references(reference, failed)
    names = [codec.name for codec, _ in plan]
    anchor = anchor or ("jpeg" if "jpeg" in names else names[0])
    if anchor not in [*names, *references]:
        raise click.BadParameter(f"no curve is called {anchor!r}", param_hint="--anchor")
    found = _images(images)
    where = ", ".join(images)
    if (
        importlib.util.find_spec("bjontegaard") is None
        or importlib.util.find_spec("matplotlib") is None
    ):
        missing = "BD-rates and plots need the extra: pip install 'vaecodec[bench]'"
        if out is not None:
            raise VaeError(missing)
        failed(missing)
    if out is not None:
        output.prepare(out)
    cache = Cache(None if out is None else out / NAME)

    pictures = readable(found, failed)
    if not pictures:
        raise VaeError(f"{where}: no readable image")
    with ProgressBar(len(pictures) * sum(len(q) for _, q in plan), "files") as bar:
        results = run(
            pictures, plan, measured, cache=cache, jobs=jobs, failed=failed,
            progress=lambda done, _, text: bar.update(done, text),
        )  # fmt: skip
    if not results.rows:
        raise VaeError(f"{where}: none of the codecs worked")
    say(f"images: {len(results.images)}, means of per-image values; {results.machine}; jobs: {jobs}")
    say(measured_table(results))
    if importlib.util.find_spec("bjontegaard") is not None:
        _compare(results, anchor, references, interpolation)
    if out is not None:
        matches: Mapping[str, Mapping[str, Match]] = {}
        if side_by_side > 0:
            with ProgressBar(len(pictures) * len(plan), "pictures") as bar:
                matches = match_all(
                    pictures, plan, side_by_side, cache=cache, jobs=jobs, failed=failed,
                    progress=lambda done, _, text: bar.update(done, text),
                )  # fmt: skip
        output.write(
            out, results, pictures, matches, bpp=side_by_side, anchor=anchor,
            references=references, interpolation=interpolation,
        )  # fmt: skip
        say(f"written: {out / 'report.html'}")
    return 1 if failures else 0


def _images(inputs: Sequence[str]) -> list[Input]:
    from vaecodec.pictures.reading import extensions

    for name in inputs:
        if not os.path.lexists(name):
            raise VaeError(f"{name}: no such folder of images")
    if found := expand(inputs, extensions()):
        return found
    raise VaeError(f"{', '.join(inputs)}: holds no image")


def _plan(
    codecs: str,
    external: Sequence[Path],
    vaes: Sequence[BenchCodec],
    qualities: Sequence[str],
    failed: Failed,
) -> Plan:
    """The codecs asked for and their qualities; one that cannot be used goes to `failed`. `vaes`: what
    "vae" stands for."""
    from vaecodec.bench.codecs import OTHERS, other
    from vaecodec.bench.codecs.external import read_external
    from vaecodec.bench.codecs.vae import Vae

    chosen: list[BenchCodec] = []
    named = {}
    for spec in dict.fromkeys(codecs.split(",")):
        if spec == "vae":
            chosen += vaes
            continue
        name, _, _ = spec.partition(":")
        if name not in OTHERS:
            raise click.BadParameter(f"no codec is called {name!r}", param_hint="--codecs")
        try:
            chosen.append(other(spec))
            named[spec] = chosen[-1].name
        except VaeError as error:
            failed(str(error))
    for path in external:
        try:
            chosen.append(read_external(path))
        except VaeError as error:
            failed(str(error))
    if not chosen:
        raise VaeError("none of the codecs asked for can be used")
    doubled = {codec.name for codec in chosen if [c.name for c in chosen].count(codec.name) > 1}
    if doubled:
        raise click.BadParameter(f"two codecs are called {min(doubled)!r}", param_hint="--codecs")
    options = (_quality_option(text) for text in qualities)
    given = {named.get(spec, spec): numbers for spec, numbers in options}
    if unknown := given.keys() - {codec.name for codec in chosen} - {"vae"}:
        raise click.BadParameter(f"no codec is called {min(unknown)!r}", param_hint="--qualities")
    plan = []
    for codec in chosen:
        own = given.get(codec.name, given.get("vae") if isinstance(codec, Vae) else None)
        plan.append((codec, codec.qualities if own is None else own))
    return plan


def _vaes(models: str | None, tunes: str | None, efforts: str, device: str) -> list[BenchCodec]:
    """This codec with every model, tune and effort asked for."""
    from vaecodec.bench.codecs.vae import Vae
    from vaecodec.model import registry

    wanted: list[str | None] = [None] if models else [*TUNES]
    if tunes is not None:
        wanted = [*dict.fromkeys(tunes.split(","))]
    for tune in wanted:
        if tune is not None:
            check_tune(tune)
    chosen: list[tuple[str | None, str | None]]
    if models == "all":
        chosen = [(e.name, e.tune) for e in registry.registered() if tunes is None or e.tune in wanted]
    else:
        names = [None] if models is None else models.split(",")
        chosen = [(name, tune) for name in names for tune in wanted]
    numbers = _numbers(efforts, "--efforts", 0, MAX_EFFORT)
    return [
        Vae(model=name, device=device, effort=effort, tune=tune)
        for name, tune in chosen
        for effort in numbers
    ]


def _metrics(text: str, failed: Failed) -> list[str]:
    from vaecodec.bench.metrics import METRICS, usable

    measured = []
    for name in dict.fromkeys(text.split(",")):
        if name not in METRICS:
            raise click.BadParameter(f"no metric is called {name!r}", param_hint="--metrics")
        try:
            measured.append(usable(name).name)
        except VaeError as error:
            failed(str(error))
    if not measured:
        raise VaeError("none of the metrics asked for can be measured")
    return measured


def _references(paths: Sequence[Path], failed: Failed) -> dict[str, Mapping[str, Curve]]:
    from vaecodec.bench.curves import read_reference

    references: dict[str, Mapping[str, Curve]] = {}
    for path in paths:
        try:
            curves = read_reference(path)
            references |= {f"{name} ({path.stem})": curve for name, curve in curves.items()}
        except VaeError as error:
            failed(str(error))
    return references


def _compare(results: Results, anchor: str, references: References, interpolation: str) -> None:
    from vaecodec.bench.summary import compare, comparison_table

    for metric in results.metrics:
        comparisons = compare(results, metric, anchor, references, interpolation)
        if comparisons:
            say(comparison_table(comparisons, metric, anchor, interpolation))


def _quality_option(text: str) -> tuple[str, list[int]]:
    """ "CODEC=Q,Q" or "Q,Q", which is for vaecodec."""
    name, equals, numbers = text.rpartition("=")
    if not equals or name == "vae":
        return "vae", _numbers(numbers, "--qualities", 1, 100)
    try:
        values = list(dict.fromkeys(int(part) for part in numbers.split(",")))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not CODEC=Q,Q,...", param_hint="--qualities") from None
    return name, values


def _numbers(text: str, option: str, low: int, high: int) -> list[int]:
    try:
        values = sorted({int(part) for part in text.split(",")})
    except ValueError:
        values = []
    if not values or not all(low <= value <= high for value in values):
        wanted = f"a list of numbers from {low} to {high}, like 10,40,90"
        raise click.BadParameter(f"{text!r} is not {wanted}", param_hint=option)
    return values
