"""Average the weights of two checkpoints of one model, and evaluate the mean on held-out pictures.

    python tools/average_checkpoints.py DATA LAST EARLIER [--share 0.5] [--out FILE]

DATA: what both were trained on. LAST and EARLIER: final.safetensors of two stages, the second of which
led to the first. `--share`: how much of EARLIER goes into the mean; 0 evaluates LAST alone, such as one
of a stage that was cut short. FILE: where the mean is written, with the record of LAST; only a score
that is lower than LAST's makes it worth keeping.

Two ends of one training, each decayed to a learning rate of zero, lie in one valley, and their mean is
often lower than both (Izmailov et al., 2018, Averaging Weights Leads to Wider Optima).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from bitstream.errors import VaeError
from vaecodec.files import check_output
from vaecodec.train.checkpoints import read_model, save_checkpoint
from vaecodec.train.data import held_out
from vaecodec.train.held_out import evaluated


def average(data: Path, last: Path, earlier: Path, share: float, out: Path | None) -> float:
    """Return the score of the mean; lower is better. Raises VaeError."""
    if not 0 <= share <= 1:
        raise VaeError(f"a share from 0 to 1 was expected, not {share}")
    if out is not None:
        check_output(out, force=False)
    (model, about), (other, its) = read_model(last), read_model(earlier)
    for path, record in ((last, about), (earlier, its)):
        if not (record.get("stages") and {"tune", "minutes"} <= record.keys()):
            raise VaeError(f"{path}: has no record of its training")
    if (model.config, about["tune"]) != (other.config, its["tune"]):
        raise VaeError(f"{earlier}: of another structure or tune than {last}")
    weights, others = model.weights(), other.weights()
    for name, values in weights.items():
        if values.is_floating_point() and values.isfinite().all():
            weights[name] = torch.lerp(values, others[name], share)
    model.load_weights(weights)
    found = evaluated(model, held_out(data), about["tune"])
    if out is not None:
        if share:
            about["stages"][-1]["averaged_with"] = (
                f"{share:g} of the weights at {its['minutes']} minutes"
            )
        save_checkpoint(out, model.weights(), {**about, **found})
    score: float = found["held_out_score"]
    return score


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", metavar="DATA", type=Path)
    parser.add_argument("last", metavar="LAST", type=Path)
    parser.add_argument("earlier", metavar="EARLIER", type=Path)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    try:
        print(average(given.data, given.last, given.earlier, given.share, given.out))
    except VaeError as error:
        print(f"average_checkpoints: {error}", file=sys.stderr)
        raise SystemExit(1) from error
