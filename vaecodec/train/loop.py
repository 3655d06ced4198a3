"""The training loop: one stage, bounded by minutes, from the last checkpoint to a decayed model.

A stage has a trunk at constant learning rate and then (by default from two thirds of its time on) a
branch on which the rate decays to zero. `trunk.safetensors` is what a later stage resumes from;
`final.safetensors` is the moving average of the weights, which `vaecodec.train.export` turns into a
shipped model. Both are written every `CHECKPOINT_SECONDS`, the trunk until the decay begins, so an
interrupted run loses no more than that.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from bitstream.errors import VaeError
from vaecodec.files import write_whole
from vaecodec.geometry import HYPER_STRIDE, middle
from vaecodec.model.config import DEFAULT_SIZE, SIZES, ModelConfig, level_lambda
from vaecodec.model.contrast import lost_contrast
from vaecodec.model.objective import distortion, formula, squared_error
from vaecodec.model.precision import multiplies_in_bfloat16, set_mixed_precision
from vaecodec.model.ssimulacra2 import linear_light, visual_error
from vaecodec.quality import DEFAULT_TUNE, TUNES
from vaecodec.train.commit import commit
from vaecodec.train.data import Pictures, load, shared
from vaecodec.train.divergence import Watch
from vaecodec.train.fitting import Fitting
from vaecodec.train.gradients import Gradients, full_precision
from vaecodec.train.limits import has_limits, set_limits
from vaecodec.train.model import (
    TrainableCodec,
    deepened,
    initialise_from_pictures,
)
from vaecodec.train.optimizers import Optimizers, average_weights, clip_gradients
from vaecodec.train.textures import draw_overlays
from vaecodec.train.workers import Workers

WARM_UP_STEPS = 100
# Shares of the stage's time:
LARGE_PATCHES_FROM = 0.8
FINISH_FROM = 0.9  # fake-quantised scale indices, transforms in full precision
CHECKPOINT_SECONDS = 100
HELD_OUT_LEVELS = (3, 15, 27, 39, 51, 60)
HELD_OUT_SIDE = 256  # at most; smaller held-out pictures are cut to the largest multiple of 64


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the user chooses for a training stage.

    `size`: None for the checkpoint's, or DEFAULT_SIZE without one. `decay_from`: share of the stage's
    time after which the learning rate falls linearly to 0. `tune`: selects the distortion to minimise
    (`vaecodec.model.objective`). `textures`: share of the crops that get a drawn texture.
    """

    data: Path
    out: Path
    minutes: float
    device: torch.device
    batch: int
    size: str | None = None
    patch: int = 128
    learning_rate: float = 3e-3
    decay_from: float = 2 / 3
    resume: Path | None = None
    seed: int = 0
    tune: str = DEFAULT_TUNE
    textures: float = 0.04
    fitting: Fitting = field(default_factory=Fitting)


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


def held_out_table(
    model: TrainableCodec, pictures: list[np.ndarray], tune: str
) -> list[dict[str, float]]:
    """Evaluate a model on the middles of the held-out pictures. A row per level has mean estimated bits
    per pixel (in all, and of the hyper-latent), PSNR (dB), SSIMULACRA2's error, the error of colours
    (times 10^6), ColorVideoVDP's error of lightness, and R + lambda D."""
    device = next(model.parameters()).device
    crops = []
    for array in pictures:
        h, w = (min(side // HYPER_STRIDE * HYPER_STRIDE, HELD_OUT_SIDE) for side in array.shape[:2])
        if h and w:
            cut = array[middle(array.shape, h, w).slices()]
            crops.append(torch.from_numpy(cut.copy())[None])
    rows = []
    for level in HELD_OUT_LEVELS:
        values = []
        for crop in crops:
            with torch.no_grad():
                outcome = model(crop.to(device), torch.tensor([level], device=device), noise=False)
            wanted, found = crop.to(device).float() / 255, outcome.picture
            error = visual_error(wanted, found)
            loss = outcome.bpp + level_lambda(level) * distortion(tune, wanted, found)
            psnr = 10 * torch.log10(255**2 / squared_error(wanted, found))
            contrast = lost_contrast(linear_light(wanted), linear_light(found))
            colour = 1e6 * error.colour
            row = (outcome.bpp, outcome.hyper_bpp, psnr, error.structure, colour, contrast, loss)
            values.append([float(value) for value in row])
        names = ("bpp", "hyper_bpp", "psnr", "structure", "colour", "contrast", "loss")
        means = np.mean(values, axis=0).round(4).tolist()
        rows.append({"level": level, **dict(zip(names, means, strict=True))})
    return rows


def held_out_score(rows: list[dict[str, float]]) -> float:
    """Mean over the levels of log2(R + lambda D), by which models are compared; lower is better."""
    return round(sum(math.log2(row["loss"]) for row in rows) / len(rows), 4)


def save_checkpoint(path: Path, state: dict[str, Tensor], about: dict[str, object]) -> None:
    """Write float weights, or replace them. Raises VaeError."""
    tensors = {k: v.detach().to("cpu", torch.float32).contiguous() for k, v in state.items()}
    write_whole(path, save(tensors, {"vaecodec": json.dumps(about)}), force=True)


def read_model(path: Path) -> tuple[TrainableCodec, dict]:
    """Load the model of a checkpoint and the record of its training. Raises VaeError."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["vaecodec"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        model = TrainableCodec(ModelConfig(**about["config"]))
        model.load_weights(weights)
        if about.get("tune") in TUNES:
            model.set_tune(about["tune"])
        return model, about
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise VaeError(f"{path}: not a vaecodec training checkpoint ({error})") from error


def train(
    stage: Stage, progress: Callable[[float, str], None] = lambda *_: None
) -> tuple[Path, list[np.ndarray]] | None:
    """Run one stage; return the path of the decayed float model, and crops of the training pictures for
    `vaecodec.train.export` (None in all workers but the first). `progress(minutes, text)` is called as
    training goes on."""
    device = stage.device
    workers = Workers(device)
    if (stage.out / "final.safetensors").exists():
        raise VaeError(f"{stage.out}: holds a training stage already; choose another folder")
    stage.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(stage.seed)
    code = commit()  # of the code that runs, whatever is committed in the meantime
    resumed = None if stage.resume is None else read_model(stage.resume)
    read: Pictures | None = None
    held_out: list[np.ndarray] = []
    count = 0
    if workers.first:
        read, held_out, count = load(
            stage.data, device, stage.patch, lambda n: progress(0.0, f"reading pictures: {n}")
        )
    pictures = shared(read, workers, stage.out)
    del read
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

    past_steps, past_minutes = int(history["steps"]), float(history["minutes"])
    start = saved = logged = time.monotonic()
    step, logged_step, decaying, done = 0, 0, False, 0.0
    share = workers.share_of(stage.batch)
    room, phase = pictures.fits(2 * stage.patch), (False, False)
    log = (stage.out / "log.jsonl").open("a", encoding="utf-8")

    def about() -> dict[str, object]:
        return {
            "size": model.config.size,
            "tune": stage.tune,
            "config": model.config.to_dict(),
            "steps": past_steps + step,
            "minutes": round(past_minutes + (time.monotonic() - start) / 60, 1),
            "stages": [
                *history["stages"],
                {
                    **stage_record(stage, step, start, count, workers.count),
                    "git_commit": code,
                    "divergences": watch.divergences,
                },
            ],
        }

    seed = stage.seed * workers.count + workers.rank  # every process draws its own crops
    torch.manual_seed(seed)
    overlays = draw_overlays(seed).to(device)
    gradients: Gradients | None = None
    watch = Watch(averaged, workers)
    while done < 1:
        large = done >= LARGE_PATCHES_FROM and room
        finishing = done >= FINISH_FROM
        if gradients is None or (large, finishing) != phase:
            phase = large, finishing
            if finishing:
                model.indices.fake_quantise = True
                set_mixed_precision(model, False)
            batch = max(1, share // 4) if large else share
            gradients = Gradients(
                model,
                pictures,
                tune=stage.tune,
                count=batch,
                side=2 * stage.patch if large else stage.patch,
                textures=stage.textures,
                overlays=overlays,
            )
        outcome = gradients()
        now = time.monotonic()
        done = workers.average(model.parameters(), (now - start) / (60 * stage.minutes))
        norm = clip_gradients(model.parameters())
        optimizers.step(watch.rate * learning_rate(stage, done, step))
        average_weights([averaged[name] for name in learned], [current[name] for name in learned], step)
        step += 1
        if watch.diverged(outcome.loss, averaged):
            model.load_weights(averaged)
            optimizers = Optimizers(model)
            limited = has_limits(model)
            if workers.first:
                row = {"diverged_before": past_steps + step, "rate": watch.rate}
                log.write(json.dumps(row) + "\n")
        if not limited and done >= min(stage.decay_from, FINISH_FROM):
            set_limits(model, limiting)
            averaged |= {k: v.clone() for k, v in current.items() if k not in learned}
            limited = True

        if not workers.first:
            continue
        if now - logged > 15:
            row = {
                "step": past_steps + step,
                "minutes": round((now - start) / 60, 2),
                "loss": round(float(outcome.loss), 4),
                "bpp": round(float(outcome.bpp), 4),
                "gradient_norm": round(float(norm), 3),
                "crops_per_second": round(
                    (step - logged_step) * batch * workers.count / (now - logged), 1
                ),
            }
            log.write(json.dumps(row) + "\n")
            log.flush()
            progress((now - start) / 60, f"step {row['step']}, loss {row['loss']}")
            logged, logged_step = now, step
        # The last trunk is written as the decay begins: a later stage starts from there.
        decay_begins = not decaying and done >= stage.decay_from
        if decay_begins or now - saved > CHECKPOINT_SECONDS:
            if not decaying:
                save_checkpoint(stage.out / "trunk.safetensors", current, about())
            save_checkpoint(stage.out / "final.safetensors", averaged, about())
            decaying, saved = decaying or decay_begins, now

    log.close()
    if workers.first:
        finish(stage, model, averaged, held_out, about())
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
) -> None:
    """Evaluate the averaged weights on the held-out pictures and write `final.safetensors`."""
    model.load_weights(averaged)
    set_mixed_precision(model, False)
    model.indices.fake_quantise = True
    with full_precision():
        rows = held_out_table(model, held_out, stage.tune)
    record = {**about, "held_out": rows, "held_out_score": held_out_score(rows)}
    save_checkpoint(stage.out / "final.safetensors", model.weights(), record)
    with (stage.out / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"held_out": rows, "held_out_score": record["held_out_score"]}) + "\n")


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


def stage_record(stage: Stage, steps: int, start: float, count: int, workers: int) -> dict[str, object]:
    """The entry for this stage in a model card."""
    hardware = (
        torch.cuda.get_device_name(stage.device)
        if stage.device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads"
    )
    return {
        "data": f"{stage.data.name}: {count} pictures",
        "steps": steps,
        "minutes": round((time.monotonic() - start) / 60, 1),
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
