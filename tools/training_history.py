"""Add training stages to checkpoints/history.json, and draw all that it holds.

    python tools/training_history.py [final.safetensors ...]

Records the last stage of each final.safetensors of `vaecodec train`, and its results on held-out
pictures. docs/images/training.svg shows R + lambda D (its geometric mean over the levels), in per cent
above that of the shipped model of the same tune, against the minutes trained. A stage that is there
already is replaced.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from safetensors import SafetensorError, safe_open

from bitstream.errors import VaeError
from vaecodec.bench import plots
from vaecodec.files import write_whole
from vaecodec.model import registry
from vaecodec.model.objective import formula
from vaecodec.quality import TUNES

ROOT = Path(__file__).parent.parent
HISTORY = ROOT / "checkpoints" / "history.json"
PICTURE = ROOT / "docs" / "images" / "training.svg"
#: What tells two stages apart.
KEY = ("size", "generation", "tune", "objective", "steps")


def stage_of(path: Path) -> dict[str, Any]:
    """Read what the history keeps of a checkpoint. Raises VaeError."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["vaecodec"])
        last = about["stages"][-1]
        return {
            "size": about["size"],
            "generation": 2 if "index_width" in about["config"] else 1,
            "tune": about["tune"],
            "objective": last["objective"],
            "steps": about["steps"],
            "minutes": about["minutes"],
            "stage": {name: last[name] for name in ("minutes", "steps", "batch", "patch", "hardware")},
            "levels": [row["level"] for row in about["held_out"]],
            "losses": [row["loss"] for row in about["held_out"]],
            "score": about["held_out_score"],
        }
    except (OSError, SafetensorError, KeyError, ValueError, IndexError) as error:
        raise VaeError(f"not the final.safetensors of a stage that has ended ({error!r})").in_file(
            str(path)
        ) from error


def draw(stages: list[dict[str, Any]]) -> Figure:
    """Draw a panel per tune with a line per size and generation, of the stages with the current
    objective: others cannot be compared with the shipped model."""
    figure = Figure((8, 3.6), layout="constrained")
    stages = [stage for stage in stages if stage["objective"] == formula(stage["tune"])]
    stages = sorted(stages, key=lambda stage: stage["minutes"])
    names = sorted({(stage["generation"], stage["size"]) for stage in stages})
    for axes, tune in zip(figure.subplots(1, len(TUNES)), TUNES, strict=True):
        axes.axhline(0, color="#7f7f7f", lw=0.8)
        shipped = registry.find(None, tune).card["held_out_score"]
        for (generation, size), colour in zip(names, plots.COLOURS, strict=False):
            model = (size, generation, tune)
            of = [s for s in stages if (s["size"], s["generation"], s["tune"]) == model]
            points = [(s["minutes"], 100 * (2 ** (s["score"] - shipped) - 1)) for s in of]
            if points:
                label = f"{size}, {'first' if generation == 1 else 'second'} structure"
                axes.plot(*zip(*points, strict=True), "o-", ms=4, lw=1.4, color=colour, label=label)
            for stage, (x, y) in zip(of, points, strict=True):
                if "CPU" not in stage["stage"]["hardware"]:
                    axes.annotate("GPU", (x, y), textcoords="offset points", xytext=(6, 4), fontsize=8)
        axes.grid(color="#e5e5e5", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(tune)
        axes.set_xlabel("minutes of training")
        if axes.lines[1:]:
            axes.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel("R + lambda D above the shipped model's, %")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", type=Path)
    arguments = parser.parse_args()
    try:
        found = [stage_of(path) for path in arguments.checkpoints]
    except VaeError as error:
        print(f"training_history: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    kept = json.loads(HISTORY.read_text(encoding="utf-8")) if HISTORY.exists() else []
    by_key = {tuple(stage[name] for name in KEY): stage for stage in [*kept, *found]}
    stages = [by_key[key] for key in sorted(by_key)]
    lines = ",\n".join(json.dumps(stage) for stage in stages)
    write_whole(HISTORY, f"[\n{lines}\n]\n".encode(), force=True)
    write_whole(PICTURE, plots.render(draw(stages), "svg"), force=True)


if __name__ == "__main__":
    main()
