"""Train the network that `vaecodec compress --denoise` and `--deblock` need for a model.

    torchrun --nproc-per-node 2 tools/train_restoring.py DATA MODEL OUT --minutes 30

DATA: a folder of pictures or of tar shards of them. MODEL: a registered model. `--resume`: start from
the weights of an earlier stage, of this model or of an earlier version of it. Writes
OUT/MODEL.safetensors, which belongs in vaecodec/weights/restoring/.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vaecodec.model import registry
from vaecodec.train.restoring import RestoringStage, train_restoring


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--resume", type=Path, metavar="FILE")
    given = parser.parse_args(arguments)
    stage = RestoringStage(
        data=given.data,
        out=given.out,
        minutes=given.minutes,
        batch=given.batch,
        learning_rate=given.learning_rate,
        resume=given.resume,
    )

    def progress(minutes: float, text: str) -> None:
        print(f"{minutes:.1f} min: {text}", end="\n" if minutes else "\r", flush=True)

    path = train_restoring(registry.find(given.model), stage, progress)
    if path is not None:
        print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
