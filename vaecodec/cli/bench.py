"""`vaecodec bench`."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import click

from bitstream.errors import VaeError
from vaecodec.cli import options
from vaecodec.cli.report import ProgressBar, notice
from vaecodec.files import check_output, expand, write_whole
from vaecodec.quality import DEFAULT_EFFORT, MAX_EFFORT


@click.command("bench")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--qualities", metavar="Q,Q,...", help="Qualities of vaecodec to measure.")
@click.option(
    "--codecs",
    default="vae,jpeg",
    show_default=True,
    metavar="NAME,...",
    help="Of vae, jpeg, webp, avif; jpeg is always there, as the anchor.",
)
@click.option("--ms-ssim", "structure", is_flag=True, help="Measure MS-SSIM as well.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write all figures to a file.")
@click.option(
    "--efforts",
    default=str(DEFAULT_EFFORT),
    show_default=True,
    metavar="N,N,...",
    help="Efforts of vaecodec to measure, each as a codec of its own.",
)
@options.model
@options.device
@options.force
def command(
    folder: Path,
    qualities: str | None,
    codecs: str,
    structure: bool,
    out: Path | None,
    efforts: str,
    model: str | None,
    device: str,
    force: bool,
) -> int:
    """Measure rate and distortion on all images of FOLDER: real files, against Pillow's JPEG."""
    from PIL import Image

    from vaecodec.bench.codecs import JPEG, OTHERS, BenchCodec, Vae
    from vaecodec.bench.metrics import bd_rate
    from vaecodec.bench.run import machine, mean_curve, run

    names = list(dict.fromkeys(["jpeg", *codecs.split(",")]))
    if unknown := [name for name in names if name != "vae" and name not in OTHERS]:
        raise click.BadParameter(f"no codec is called {unknown[0]!r}", param_hint="--codecs")
    if structure and importlib.util.find_spec("pytorch_msssim") is None:
        raise VaeError("MS-SSIM needs the extra: pip install 'vaecodec[bench]'")
    if not folder.exists():
        raise VaeError(f"{folder}: no such folder of images")
    found = expand(
        [str(folder)], {e for e, n in Image.registered_extensions().items() if n in Image.OPEN}
    )
    if not found:
        raise VaeError(f"{folder}: holds no image")
    if out is not None:
        check_output(out, force=force)
    chosen = Vae.qualities if qualities is None else _numbers(qualities, "--qualities", 1, 100)
    plan: list[tuple[BenchCodec, Sequence[int]]] = []
    for name in names:
        if name == "vae":
            for effort in _numbers(efforts, "--efforts", 0, MAX_EFFORT):
                plan.append((Vae(model, device, effort), chosen))
        else:
            plan.append((OTHERS[name], OTHERS[name].qualities))

    failures: list[str] = []
    with ProgressBar(len(found), "images") as bar:
        rows = run(
            [path for path, _ in found],
            plan,
            bar.update,
            failures.append,
            structure,
        )
    for failure in failures:
        notice(failure)
    if not rows:
        raise VaeError(f"{folder}: holds no readable image")

    curves = {codec.name: mean_curve(rows, codec.name) for codec, _ in plan}
    pixels = {row.image: 8 * row.bytes / row.bpp for row in rows}
    click.echo(f"{len(pixels)} images, means of per-image values")
    click.echo(
        f"{'codec':<22}{'quality':>8}{'bpp':>9}{'PSNR dB':>9}{'encode MP/s':>13}{'decode MP/s':>13}"
    )
    for codec, levels in plan:
        for quality, (bpp, db) in zip(sorted(levels), curves[codec.name], strict=True):
            at = [row for row in rows if row.codec == codec.name and row.quality == quality]
            megapixels = sum(pixels[row.image] for row in at) / 1e6
            speeds = [
                megapixels / sum(seconds)
                for seconds in ([r.encode_seconds for r in at], [r.decode_seconds for r in at])
            ]
            click.echo(
                f"{codec.name:<22}{quality:>8}{bpp:>9.4f}{db:>9.3f}{speeds[0]:>13.2f}{speeds[1]:>13.2f}"
            )
    rates: dict[str, float] = {}
    for codec, _ in plan[1:]:
        try:
            rates[codec.name] = bd_rate(curves[JPEG.name], curves[codec.name])
            text = f"{rates[codec.name]:+.2f} % (Akima, PSNR)"
            click.echo(f"BD-rate of {codec.name} against {JPEG.name}: {text}")
        except VaeError as error:
            notice(f"{codec.name}: {error}")
        except ImportError:
            notice("the BD-rate needs the extra: pip install 'vaecodec[bench]'")
            break
    if out is not None:
        about = {
            "machine": machine(),
            "codecs": {codec.name: codec.settings for codec, _ in plan},
            "bd_rate_percent": rates,
            "curves": curves,
            "rows": [row.to_dict() for row in rows],
        }
        write_whole(out, (json.dumps(about, indent=1) + "\n").encode(), force=force)
    return 1 if failures else 0


def _numbers(text: str, option: str, low: int, high: int) -> list[int]:
    try:
        values = sorted({int(part) for part in text.split(",")})
    except ValueError:
        values = []
    if not values or not all(low <= value <= high for value in values):
        wanted = f"a list of numbers from {low} to {high}, like 10,40,90"
        raise click.BadParameter(f"{text!r} is not {wanted}", param_hint=option)
    return values
