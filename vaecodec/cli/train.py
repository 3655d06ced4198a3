"""`vaecodec train`."""

from __future__ import annotations

from pathlib import Path

import click

from bitstream.errors import VaeError
from vaecodec.cli import options
from vaecodec.cli.messages import ProgressBar
from vaecodec.model.config import DEFAULT_SIZE, SIZES
from vaecodec.quality import DEFAULT_TUNE, TUNES
from vaecodec.train.fitting import Fitting
from vaecodec.train.stage import Stage


@click.command("train")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--size",
    type=click.Choice(list(SIZES)),
    help=f"[default: {DEFAULT_SIZE}; with --resume, that of the checkpoint]",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    required=True,
    help="Length of the stage.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for everything written."
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    help="Checkpoint to start from: trunk.safetensors or final.safetensors of a stage.",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    help="Patches per step, of all processes together  [default: 16 on a CPU, 64 on a GPU]",
)
@click.option(
    "--patch",
    type=click.IntRange(64),
    default=None,
    help="Patch side, a multiple of 64  [default: 128 on a CPU for tune psnr, else 256]",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    default=Stage.learning_rate,
    show_default=True,
    help="Learning rate of the constant part.",
)
@click.option(
    "--decay-from",
    type=click.FloatRange(0, 1, max_open=True),
    default=round(Stage.decay_from, 3),
    show_default=True,
    help="Share of the stage after which the learning rate falls linearly to 0.",
)
@click.option(
    "--tune",
    type=click.Choice(TUNES),
    default=DEFAULT_TUNE,
    show_default=True,
    help="Distortion minimised besides the rate: as people see it (SSIMULACRA2, ColorVideoVDP), or "
    "squared error.",
)
@click.option(
    "--textures",
    type=click.FloatRange(0, 1),
    default=Stage.textures,
    show_default=True,
    help="Share of the crops that get a synthetic texture.",
)
@click.option("--seed", type=int, default=Stage.seed, show_default=True)
@click.option(
    "--fitting-crops",
    type=click.IntRange(1),
    default=Fitting().crops,
    show_default=True,
    help="Crops of DATA that the exported model's frequency tables and ranges are fitted to.",
)
@options.device
def command(
    data: Path,
    size: str | None,
    minutes: float,
    out: Path,
    resume: Path | None,
    batch: int | None,
    patch: int | None,
    learning_rate: float,
    decay_from: float,
    tune: str,
    textures: float,
    seed: int,
    fitting_crops: int,
    device: str,
) -> int:
    """Train a model on DATA: a folder of images or tar shards, or one shard.

    The stage ends after --minutes with a decayed model, OUT/model.safetensors, and its card. To go on,
    --resume from OUT/trunk.safetensors at a high learning rate, else from OUT/final.safetensors.
    """
    from vaecodec.codec import pick_device
    from vaecodec.geometry import HYPER_STRIDE

    chosen = pick_device(device)
    gpu = chosen.type == "cuda"
    patch = patch or (256 if gpu or tune == "visual" else 128)
    if patch % HYPER_STRIDE:
        raise click.BadParameter(f"{patch} is not a multiple of {HYPER_STRIDE}", param_hint="--patch")
    try:
        from vaecodec.train.export import export
        from vaecodec.train.loop import train
    except ImportError as error:
        raise VaeError(f"training needs the extra: pip install 'vaecodec[train]' ({error})") from error

    batch = batch or (64 if gpu else 16)
    stage = Stage(
        data=data,
        out=out,
        size=size,
        minutes=minutes,
        device=chosen,
        batch=batch,
        patch=patch,
        learning_rate=learning_rate,
        decay_from=decay_from,
        resume=resume,
        seed=seed,
        tune=tune,
        textures=textures,
        fitting=Fitting(crops=fitting_crops),
    )
    with ProgressBar(minutes, "minutes") as bar:
        trained = train(stage, lambda done, text: bar.update(round(done, 1), text))
    if trained is None:  # another process of this run exports
        return 0
    final, crops = trained
    model = export(final, out / "model.safetensors", crops, stage.fitting)
    click.echo(f"{model}: ready for --model, its card is {model.with_suffix('.json')}")
    return 0
