"""The training loop: one stage, bounded by minutes, from the last checkpoint to a decayed model.

A stage has a trunk at constant learning rate and then (by default from two thirds of its time on) a
branch on which the rate decays to zero. `trunk.safetensors` is what a later stage resumes from;
`final.safetensors` is the moving average of the weights, which `vaecodec.train.export` turns into a
shipped model. Both are written every `CHECKPOINT_MINUTES`, the trunk until the decay begins, so an
interrupted run loses no more than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bitstream.errors import VaeError
from vaecodec.model.config import DEFAULT_SIZE, SIZES
from vaecodec.model.objective import formula
from vaecodec.model.precision import multiplies_in_bfloat16, set_mixed_precision
from vaecodec.train.checkpoints import read_model, save_checkpoint
from vaecodec.train.commit import commit
from vaecodec.train.data import Pictures, load_once
from vaecodec.train.divergence import Watch
from vaecodec.train.gradients import Gradients
from vaecodec.train.held_out import evaluated
from vaecodec.train.limits import has_limits, set_limits
from vaecodec.train.log import Progress, StageLog, reading
from vaecodec.train.model import (
    TrainableCodec,
    deepened,
    initialise_from_pictures,
)
from vaecodec.train.optimizers import Optimizers, average_weights, clip_gradients
from vaecodec.train.stage import Stage
from vaecodec.train.textures import draw_overlays
from vaecodec.train.workers import Workers

WARM_UP_STEPS = 100
# Shares of the stage's time:
LARGE_PATCHES_FROM = 0.8
FINISH_FROM = 0.9
CHECKPOINT_MINUTES = 1.7


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What changes as a stage goes on: a quarter as many crops, of twice the side; fake-quantised scale
    indices, and transforms in full precision."""

    large_patches: bool
    finishing: bool


def phase_at(progress: float, room: bool) -> Phase:
    """`progress`: share of time passed. `room`: whether pictures have room for large patches."""
    return Phase(
        large_patches=room and progress >= LARGE_PATCHES_FROM, finishing=progress >= FINISH_FROM
    )


class Paced(Protocol):
    """The part of a stage that sets its learning rate."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def decay_from(self) -> float: ...


def learning_rate(stage: Paced, progress: float, step: int) -> float:
    """Warm up by steps, stay constant, then fall linearly to zero. `progress`: share of time passed."""
    decay = min(1.0, (1 - progress) / (1 - stage.decay_from))
    return stage.learning_rate * max(decay, 0.0) * min(1.0, (step + 1) / WARM_UP_STEPS)


def train(stage: Stage, progress: Progress = lambda *_: None) -> tuple[Path, list[np.ndarray]] | None:
    """Run one stage; return the path of the decayed float model, and crops of the training pictures for
    `vaecodec.train.export` (None in all workers but the first)."""
    device, workers = stage.device, Workers(stage.device)
    if (stage.out / "final.safetensors").exists():
        raise VaeError(f"{stage.out}: holds a training stage already; choose another folder")
    stage.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(stage.seed)
    code = commit()  # of the code that runs, whatever is committed in the meantime
    resumed = None if stage.resume is None else read_model(stage.resume)
    data = load_once(stage.data, workers, stage.out, stage.patch, reading(progress))
    pictures = data.pictures
    model, history = build(stage, pictures, resumed)
    limiting = limiting_crops(pictures, stage.patch, stage.fitting.limiting_crops)
    # A new model's activations still grow, so it gets its limits as the decay begins. From then on they
    # are part of the model.
    limited = has_limits(model)
    set_mixed_precision(model, multiplies_in_bfloat16(device))
    optimizers = Optimizers(model)
    current = model.weights()
    averaged = {k: v.detach().clone() for k, v in current.items()}
    learned = dict(model.named_parameters())
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, except under `full_precision`

    share = workers.share_of(stage.batch)
    seed = stage.seed * workers.count + workers.rank  # every process draws its own crops
    torch.manual_seed(seed)
    overlays = draw_overlays(seed).to(device)
    watch = Watch(averaged, workers)
    log = StageLog(stage.out, workers, progress)

    def gradients_of(phase: Phase) -> Gradients:
        if phase.finishing:
            model.indices.fake_quantise = True
            set_mixed_precision(model, False)
        return Gradients(
            model,
            pictures,
            tune=stage.tune,
            count=max(1, share // 4) if phase.large_patches else share,
            side=2 * stage.patch if phase.large_patches else stage.patch,
            textures=stage.textures,
            overlays=overlays,
        )

    def about(step: int) -> dict[str, object]:
        record = stage_record(stage, step, log.minutes, data.count, workers.count)
        return {
            "size": model.config.size,
            "tune": stage.tune,
            "config": model.config.to_dict(),
            "steps": history["steps"] + step,
            "minutes": round(history["minutes"] + log.minutes, 1),
            "stages": [
                *history["stages"],
                {**record, "git_commit": code, "divergences": watch.divergences},
            ],
        }

    step, done, saved, decaying = 0, 0.0, 0.0, False
    room = pictures.fits(2 * stage.patch)
    phase = phase_at(done, room)
    gradients = gradients_of(phase)
    while done < 1:
        if phase != (phase := phase_at(done, room)):
            gradients = gradients_of(phase)
        outcome = gradients()
        minutes = log.minutes
        done = workers.average(model.parameters(), minutes / stage.minutes)
        norm = clip_gradients(model.parameters())
        optimizers.step(watch.rate * learning_rate(stage, done, step))
        average_weights([averaged[name] for name in learned], [current[name] for name in learned], step)
        step += 1
        if watch.diverged(outcome.loss, averaged):
            model.load_weights(averaged)
            optimizers = Optimizers(model)
            limited = has_limits(model)
            log.write({"diverged_before": history["steps"] + step, "rate": watch.rate})
        if not limited and done >= min(stage.decay_from, FINISH_FROM):
            set_limits(model, limiting)
            averaged |= {k: v.clone() for k, v in current.items() if k not in learned}
            limited = True
        figures = {"loss": outcome.loss, "bpp": outcome.bpp, "gradient_norm": norm}
        log.stepped(history["steps"] + step, gradients.count, figures)
        # The last trunk is written as the decay begins: a later stage starts from there.
        decay_begins = not decaying and done >= stage.decay_from
        if workers.first and (decay_begins or minutes - saved > CHECKPOINT_MINUTES):
            if not decaying:
                save_checkpoint(stage.out / "trunk.safetensors", current, about(step))
            save_checkpoint(stage.out / "final.safetensors", averaged, about(step))
            saved = minutes
        decaying |= decay_begins

    if workers.first:
        log.write(finish(stage, model, averaged, data.held_out, about(step)))
    workers.close()
    if not workers.first:
        return None
    return stage.out / "final.safetensors", fitting_crops(pictures, stage.patch, stage.fitting.crops)


def finish(
    stage: Stage,
    model: TrainableCodec,
    averaged: dict[str, Tensor],
    held_out: list[np.ndarray],
    about: dict[str, object],
) -> dict[str, object]:
    """Evaluate the averaged weights on the held-out pictures and write `final.safetensors`; return what
    was found."""
    model.load_weights(averaged)
    found = evaluated(model, held_out, stage.tune)
    save_checkpoint(stage.out / "final.safetensors", model.weights(), {**about, **found})
    return found


def limiting_crops(pictures: Pictures, side: int, count: int) -> Tensor:
    """Draw `count` crops for `set_limits`, the same for the same pictures."""
    return pictures.crops(count, side, torch.Generator(pictures.device).manual_seed(3))


def fitting_crops(pictures: Pictures, patch: int, count: int) -> list[np.ndarray]:
    """Draw `count` crops to fit frequency tables to, the same for the same pictures."""
    side = 2 * patch if pictures.fits(2 * patch) else patch
    generator = torch.Generator(pictures.device).manual_seed(2)
    return list(pictures.crops(count, side, generator).cpu().numpy())


def build(
    stage: Stage, pictures: Pictures, resumed: tuple[TrainableCodec, dict] | None
) -> tuple[TrainableCodec, dict]:
    """Go on with a model and its training record (as from `read_model`), or initialise a model from the
    pictures."""
    if resumed is None:
        model = TrainableCodec(SIZES[stage.size or DEFAULT_SIZE], stage.tune)
        sample = pictures.crops(512, 64, torch.Generator(stage.device).manual_seed(1))
        initialise_from_pictures(model, sample)
        return model.to(stage.device), {"steps": 0, "minutes": 0.0, "stages": []}
    model, about = resumed
    if stage.size not in (None, model.config.size):
        raise VaeError(f"{stage.resume}: is of size {model.config.size}, not {stage.size}")
    template = SIZES.get(model.config.size, model.config)
    if model.config != template:
        try:
            model = deepened(model, template)
        except (RuntimeError, ValueError) as error:
            raise VaeError(f"{stage.resume}: does not fit size {template.size} ({error})") from error
    model.set_tune(stage.tune)
    return model.to(stage.device), about


def stage_record(
    stage: Stage, steps: int, minutes: float, count: int, workers: int
) -> dict[str, object]:
    """The entry for this stage in a model card."""
    hardware = (
        torch.cuda.get_device_name(stage.device)
        if stage.device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads"
    )
    return {
        "data": f"{stage.data.name}: {count} pictures",
        "steps": steps,
        "minutes": round(minutes, 1),
        "workers": workers,
        "batch": stage.batch,
        "patch": stage.patch,
        "learning_rate": stage.learning_rate,
        "decay_from": round(stage.decay_from, 3),
        "tune": stage.tune,
        "objective": formula(stage.tune),
        "textures": stage.textures,
        "seed": stage.seed,
        "hardware": hardware,
        "torch": torch.__version__,
    }
