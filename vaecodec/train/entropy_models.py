"""The one place that imports compressai.

compressai imports torchvision, whose compiled operators do not load beside a CPU build of torch. Its
import then fails at two operators that it only wants to describe. Declaring their schemas lets it pass;
nothing here ever calls them.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings

from torch import library


def _declare_torchvision_operators() -> None:
    fragment = library.Library("torchvision", "FRAGMENT")
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        # Already declared if torchvision's own operators did load.
        with contextlib.suppress(RuntimeError):
            fragment.define(schema)
    _FRAGMENTS.append(fragment)


_FRAGMENTS: list[library.Library] = []  # a Library undoes its declarations when collected

try:
    import torchvision.extension

    if not torchvision.extension._has_ops():
        _declare_torchvision_operators()
except (ImportError, RuntimeError):
    _declare_torchvision_operators()

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    _models = importlib.import_module("compressai.entropy_models")
    _ops = importlib.import_module("compressai.ops")

GaussianConditional = _models.GaussianConditional
LowerBound = _ops.LowerBound
quantize_ste = _ops.quantize_ste
