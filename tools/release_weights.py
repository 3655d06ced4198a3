"""Turn a float checkpoint into a registered model, if it deserves to be one.

    python tools/release_weights.py CHECKPOINT VERSION DATA [--rival MODEL] [--kodak FOLDER]

CHECKPOINT: final.safetensors of a training stage; its size and tune and VERSION make the model's name,
such as base-psnr-4. DATA: what it was trained on; the held-out part decides. MODEL: the one to beat,
of the same tune, by name or path; by default the newest registered one of the same size and tune.
FOLDER: the Kodak images, which are only reported; give it when releasing the last tune, since both are
measured in one run.

The tests need a registered model of the other tune.

The steps: export; real files of the held-out pictures, against the rival (a model that scores worse is
refused); what integer scale indices cost; the model's golden files; the tests of determinism and
conformance, with the new model registered. If a step fails, the new files are removed. With --kodak,
the newest model of each tune is then measured on Kodak, and docs/results.md is written.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import integer_cost
import make_golden
import numpy as np
import torch
import write_results

from vaecodec.cli.main import group
from vaecodec.codec import Codec
from vaecodec.files import write_json, write_whole
from vaecodec.geometry import middle
from vaecodec.model import registry
from vaecodec.model.config import level_lambda
from vaecodec.model.objective import distortion
from vaecodec.quality import TUNES, level_of
from vaecodec.train.data import load
from vaecodec.train.export import export, read_checkpoint
from vaecodec.train.fitting import Fitting
from vaecodec.train.loop import fitting_crops

ROOT = Path(__file__).parent.parent
QUALITIES = (5, 25, 45, 65, 85, 97)
SIDE = 384  # held-out pictures are cut to their middle, at most this large
INTEGER_PICTURES = 6  # held-out pictures on which the cost of integers is measured
PATCH = 128
INTEGER_LOSS = 0.005  # at most this share of rate may be lost to integers
TESTS = ("test_golden.py", "test_latents.py", "test_codec.py", "test_textures.py")


def middles(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """Cut each picture to its middle."""
    return [np.ascontiguousarray(x[middle(x.shape, SIDE, SIDE).slices()]) for x in pictures]


def error(tune: str, picture: np.ndarray, decoded: np.ndarray) -> float:
    """Distortion, as models of `tune` minimise it, of a decoded picture (uint8, H x W x 3)."""
    wanted, found = (torch.tensor(x[None]).float() / 255 for x in (picture, decoded))
    return float(distortion(tune, wanted, found))


def score(model: str, tune: str, pictures: list[np.ndarray]) -> float:
    """Mean over qualities and pictures of log2(R + lambda D), from real files; lower is better."""
    codec, values = Codec(model, "cpu"), []
    for quality in QUALITIES:
        multiplier = level_lambda(level_of(quality))
        for picture in pictures:
            data = codec.encode(picture, quality, effort=0, tune=tune, lossless=False)
            rate = 8 * len(data) / (picture.shape[0] * picture.shape[1])
            decoded = np.asarray(codec.decode(data).convert("RGB"))
            values.append(math.log2(rate + multiplier * error(tune, picture, decoded)))
    return round(float(np.mean(values)), 4)


def release(checkpoint: str, version: int, data: str, rival: str | None) -> str:
    """Register the model and return its size."""
    about = read_checkpoint(Path(checkpoint))[1]
    size, tune = about["size"], about["tune"]
    name = f"{size}-{tune}-{version}"
    registered = registry.FOLDER / f"{name}.safetensors"
    card_file, golden = registered.with_suffix(".json"), make_golden.FOLDER / f"{name}.json"
    if any(entry.name == name for entry in registry.registered()):
        raise SystemExit(f"{name}: registered already; a released model never changes")
    for path in (registered, golden, *make_golden.FOLDER.glob(f"{name}-*.vae")):
        if path.exists():
            raise SystemExit(f"{path}: of a release that was cut short? Look at it, and remove it")
    if rival is not None:
        registry.find(rival, tune)
    elif (size, tune) in ((e.card["size"], e.tune) for e in registry.registered()):
        rival = registry.find(size, tune).name
    read = load(Path(data), torch.device("cpu"), PATCH)
    fitting = Fitting()
    crops, held_out = fitting_crops(read.pictures, PATCH, fitting.crops), middles(read.held_out)

    with tempfile.TemporaryDirectory() as folder:
        model = export(Path(checkpoint), Path(folder) / f"{name}.safetensors", crops, fitting)
        card = json.loads(model.with_suffix(".json").read_text())
        own = score(str(model), tune, held_out)
        card["held_out_files"] = {name: own}
        if rival is not None:
            other = registry.find(rival)
            beaten = score(rival, tune, held_out)
            card["held_out_files"][other.name if other.name != name else str(other.path)] = beaten
            if own >= beaten:
                raise SystemExit(f"{name}: {own} does not beat the {beaten} of {other.name}")
        print("held-out files, log2(R + lambda D):", card["held_out_files"])
        rates = integer_cost.compare(Path(checkpoint), str(model), held_out[:INTEGER_PICTURES]).values()
        card["integer_loss"] = round(max(bpp[1] / bpp[0] - 1 for bpp in rates), 5)
        print(f"integer scale indices, worst quality: {card['integer_loss']:+.3%} of rate")
        if card["integer_loss"] > INTEGER_LOSS:
            raise SystemExit(f"{name}: integers lose more than {INTEGER_LOSS:.1%} of rate")
        content = model.read_bytes()

    try:
        write_whole(registered, content)
        write_json(card_file, card, force=False)
        make_golden.main(name)
        tests = [str(ROOT / "tests" / test) for test in TESTS]
        subprocess.run([sys.executable, "-m", "pytest", "-q", *tests], check=True, cwd=ROOT)
    except BaseException:
        for path in (
            registered,
            card_file,
            golden,
            *make_golden.FOLDER.glob(f"{name}-*.vae"),
        ):
            path.unlink(missing_ok=True)
        raise
    return str(size)


def measure_kodak(size: str, folder: str) -> None:
    """Measure the newest model of each tune on Kodak, and write docs/results.md."""
    tunes = {entry.tune for entry in registry.registered() if entry.card["size"] == size}
    models = ",".join(registry.find(size, tune).name for tune in TUNES if tune in tunes)
    out = ROOT / "runs" / "kodak"  # kept: a machine measures other codecs once
    options = [*write_results.KODAK_OPTIONS, "--models", models, "--out", str(out)]
    options += ["--reference", str(write_results.REFERENCE)]
    if group.main(["bench", folder, *options], standalone_mode=False):
        raise SystemExit("the benchmark was not measured as a whole; nothing is written")
    results = (out / "results.json").read_bytes()
    write_whole(write_results.FOLDER / f"kodak-{size}.json", results, force=True)
    write_results.main()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", metavar="CHECKPOINT")
    parser.add_argument("version", metavar="VERSION", type=int)
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("--rival", metavar="MODEL")
    parser.add_argument("--kodak", metavar="FOLDER")
    given = parser.parse_args()
    released = release(given.checkpoint, given.version, given.data, given.rival)
    if given.kodak:
        measure_kodak(released, given.kodak)
