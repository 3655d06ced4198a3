"""The record of training stages, and its picture."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import training_history

from vaecodec.model.objective import formula


def checkpoint(path: Path, **changes: Any) -> Path:
    stage = {"minutes": 50.0, "steps": 900, "batch": 48, "patch": 128, "hardware": "CPU, 1 threads"}
    stage["objective"] = formula(str(changes.get("tune", "psnr")))
    about = {
        "size": "small",
        "config": {"index_width": 96},
        "tune": "psnr",
        "steps": 1000,
        "minutes": 60.0,
        "stages": [stage],
        "held_out": [{"level": 3, "loss": 0.3, "bpp": 0.1}, {"level": 60, "loss": 5.0, "bpp": 2.0}],
        "held_out_score": 0.4,
        **changes,
    }
    save_file({"x": np.zeros(1, np.float32)}, path, {"vaecodec": json.dumps(about)})
    return path


def test_stages_are_kept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_history, "HISTORY", tmp_path / "history.json")
    monkeypatch.setattr(training_history, "PICTURE", tmp_path / "training.svg")
    first = checkpoint(tmp_path / "a.safetensors")
    again = checkpoint(tmp_path / "b.safetensors", held_out_score=0.3)
    later = checkpoint(tmp_path / "c.safetensors", steps=2000, minutes=120.0, tune="visual")
    for given in ([first], [later, again]):
        monkeypatch.setattr(sys, "argv", ["training_history", *map(str, given)])
        training_history.main()
    kept = json.loads((tmp_path / "history.json").read_text(encoding="utf-8"))
    assert [(stage["steps"], stage["score"]) for stage in kept] == [(1000, 0.3), (2000, 0.4)]
    assert kept[0]["generation"] == 2
    assert kept[0]["losses"] == [0.3, 5.0]
    drawn = (tmp_path / "training.svg").read_text(encoding="utf-8")
    assert drawn.count("small, second structure") == 2


def test_a_stage_that_has_not_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training_history, "HISTORY", tmp_path / "history.json")
    path = checkpoint(tmp_path / "trunk.safetensors", stages=[])
    monkeypatch.setattr(sys, "argv", ["training_history", str(path)])
    with pytest.raises(SystemExit):
        training_history.main()
    assert f"{path}: not the final.safetensors of a stage that has ended" in capsys.readouterr().err
    assert not (tmp_path / "history.json").exists()
