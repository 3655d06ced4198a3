"""Run the speed suite in full and keep its medians for docs/results.md.

python tools/record_speed.py benchmarks/results/speed-MODEL.json
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from vaecodec.bench.run import machine
from vaecodec.files import write_json
from vaecodec.model import registry

SUITE = Path(__file__).parent.parent / "benchmarks"


def main(out: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.json"
        options = ["--benchmark-enable", "--full", "-q", f"--benchmark-json={raw}"]
        subprocess.run([sys.executable, "-m", "pytest", str(SUITE), *options], check=True)
        benchmarks = json.loads(raw.read_text())["benchmarks"]
    rows = [
        {
            "name": b["name"].removeprefix("test_"),
            "median_seconds": b["stats"]["median"],
            "min_seconds": b["stats"]["min"],
            "rounds": b["stats"]["rounds"],
            **b["extra_info"],
        }
        for b in benchmarks
    ]
    # The suite measures the default model.
    figures = {"machine": machine(), "model": registry.find(None).name, "rows": rows}
    write_json(Path(out), figures)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
