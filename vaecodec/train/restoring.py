"""Train a model's restoring analysis transform (`vaecodec.model.restoring`).

It learns to map a degraded crop to the latent that the model's own analysis transform finds for the
clean one. Latent errors are weighted by what they do to the decoded picture, using the curvature stored
with the model; so nothing is synthesised, and the model itself does not change.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from bitstream.errors import VaeError
from vaecodec.files import write_whole
from vaecodec.model.load import LoadedModel, load_model
from vaecodec.model.precision import multiplies_in_bfloat16, set_mixed_precision
from vaecodec.model.registry import ModelEntry
from vaecodec.model.restoring import RestoringAnalysis, described, load_restoring, path_of
from vaecodec.train.data import load_once
from vaecodec.train.degradations import SPARE, Degraded, degraded
from vaecodec.train.gradients import stratified_levels
from vaecodec.train.log import Progress, StageLog, reading
from vaecodec.train.loop import CHECKPOINT_MINUTES, FINISH_FROM, learning_rate
from vaecodec.train.optimizers import Optimizers, average_weights, clip_gradients
from vaecodec.train.workers import Workers

#: About the share of a degradation's squared error that remains; keeps the worst crops from dominating.
REMAINS = 0.15


@dataclass(frozen=True, kw_only=True)
class RestoringStage:
    """What the user chooses. `patch`: side of the crops, a multiple of 64. `decay_from`: share of the
    time after which the learning rate falls linearly to 0. `resume`: weights to start from, of an
    earlier stage of the model or of an earlier version of it."""

    data: Path
    out: Path
    minutes: float
    batch: int = 48
    patch: int = 128
    learning_rate: float = 1e-3
    decay_from: float = 0.3
    seed: int = 0
    resume: Path | None = None


def latent_error(
    model: LoadedModel, network: RestoringAnalysis, crops: Degraded, level: Tensor
) -> Tensor:
    """Distortion (N) caused by the error of the network's latent, relative to what is usual for the
    level and the degradation."""
    with torch.no_grad():
        wanted = model.transforms.analysis(crops.clean.float() / 255 - 0.5, level)
    found = network(crops.picture.float() / 255 - 0.5, level, described(crops.noise, crops.jpeg))
    steps = (found - wanted) * model.transforms.latent_gain(level)
    weight = model.curvature[level][:, None, None, :]
    error = (weight * steps.square()).sum(dim=(1, 2, 3)) / crops.clean[0].numel()
    before = (crops.picture.float() - crops.clean).square().mean(dim=(1, 2, 3))
    return error / (model.distortion[level] + REMAINS * before)


def _record(path: Path) -> dict[str, object]:
    """Read how the weights in a file were trained. Raises VaeError."""
    try:
        with safe_open(path, "pt") as file:
            return dict(json.loads((file.metadata() or {})["record"]))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise VaeError(f"no weights of a restoring stage ({error})").in_file(str(path)) from error


def _family(name: str) -> str:
    """A model's name without its version."""
    return name.rpartition("-")[0]


def train_restoring(entry: ModelEntry, stage: RestoringStage, progress: Progress) -> Path | None:
    """Train the restoring analysis transform of a registered model; return the path of the weights
    (None in all workers but the first). Raises VaeError."""
    device = torch.device("cpu")
    workers = Workers(device)
    stage.out.mkdir(parents=True, exist_ok=True)
    path = stage.out / path_of(entry).name
    if path.exists():
        raise VaeError(f"{path} exists already; choose another folder")
    side = stage.patch + SPARE
    pictures = load_once(stage.data, workers, stage.out, side, reading(progress)).pictures
    torch.manual_seed(stage.seed * workers.count + workers.rank)
    generator = torch.Generator().manual_seed(stage.seed * workers.count + workers.rank)
    chance = np.random.default_rng([stage.seed, workers.rank])
    model = load_model(entry, device)
    network = RestoringAnalysis(model.config)
    earlier: dict[str, object] = {}
    if stage.resume is None:
        network.load_state_dict(model.transforms.analysis.state_dict(), strict=False)
    else:
        earlier = _record(stage.resume)
        if _family(str(earlier.get("model"))) != _family(entry.name):
            raise VaeError(f"belongs to {earlier.get('model')}").in_file(str(stage.resume))
        network = load_restoring(entry, model.config, device, stage.resume).requires_grad_()
    averaged = {name: x.detach().clone() for name, x in network.state_dict().items()}
    set_mixed_precision(network, multiplies_in_bfloat16(device))
    optimizers = Optimizers(network)
    share = workers.share_of(stage.batch)
    step, done, saved, finishing = 0, 0.0, 0.0, False
    log = StageLog(stage.out, workers, progress)

    def write() -> None:
        """Write the averaged weights."""
        record = {
            "model": entry.name,
            "steps": step,
            "minutes": round(log.minutes, 1),
            "batch": stage.batch,
            "patch": stage.patch,
            "learning_rate": stage.learning_rate,
            "decay_from": stage.decay_from,
            "seed": stage.seed,
            "workers": workers.count,
            "torch": torch.__version__,
            "after": earlier,
        }
        halves = {name: x.half().contiguous() for name, x in averaged.items()}
        write_whole(path, save(halves, {"record": json.dumps(record)}), force=True)

    while done < 1:
        if done >= FINISH_FROM and not finishing:
            finishing = True
            set_mixed_precision(network, False)
            set_mixed_precision(model.transforms, False)
        crops = degraded(pictures.crops(share, side, generator), chance, generator)
        loss = latent_error(model, network, crops, stratified_levels(share, device)).mean()
        loss.backward()
        minutes = log.minutes
        done = workers.average(network.parameters(), minutes / stage.minutes)
        clip_gradients(network.parameters())
        optimizers.step(learning_rate(stage, done, step))
        average_weights(list(averaged.values()), list(network.state_dict().values()), step)
        step += 1
        log.stepped(step, share, {"loss": loss.detach()})
        if workers.first and minutes - saved > CHECKPOINT_MINUTES:
            write()
            saved = minutes
    if workers.first:
        write()
    workers.close()
    return path if workers.first else None
