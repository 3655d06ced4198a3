"""Frequency tables: Gaussians at first, then fitted to the symbols that actually occur."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from bitstream.entropy import TOTAL_BITS, Tables
from vaecodec.model.config import SCALE_LOG_STEP, SCALE_MIN, SCALES
from vaecodec.model.load import LoadedModel

#: Symbols with scale indices below this are not coded: all but one in thousands are zero.
SKIP = 4
#: Tables reach this many standard deviations; symbols beyond are escapes.
SUPPORT_DEVIATIONS = 6
#: Weight of the Gaussian in a fitted table, in symbols.
PRIOR_SYMBOLS = 2000


def _table(weights: np.ndarray) -> np.ndarray:
    """Turn `weights` (float, sum 1) into integer frequencies, each at least 1, that add up to 2^24."""
    table = 1 + np.floor(weights * (2**TOTAL_BITS - len(weights))).astype(np.int64)
    table[weights.argmax()] += 2**TOTAL_BITS - table.sum()
    return table


def _gaussian(index: int) -> np.ndarray:
    """Probabilities of the symbols at scale index `index`, then of the escape."""
    deviation = SCALE_MIN * math.exp(index * SCALE_LOG_STEP)
    support = max(1, math.ceil(SUPPORT_DEVIATIONS * deviation))
    edges = [(k - 0.5) / deviation / math.sqrt(2) for k in range(-support, support + 2)]
    pmf = [0.5 * (math.erf(b) - math.erf(a)) for a, b in pairwise(edges)]
    return np.array([*pmf, max(0.0, 1 - sum(pmf))])


def gaussian_tables() -> Tables:
    """Tables of zero-mean Gaussians, integrated over unit steps."""
    tables = [_table(_gaussian(s)) for s in range(SCALES)]
    supports = np.array([len(table) // 2 - 1 for table in tables])
    return Tables(supports=supports, frequencies=np.concatenate(tables), skip=SKIP)


def fitted_tables(model: LoadedModel, pictures: Sequence[np.ndarray], levels: Sequence[int]) -> Tables:
    """Blend each Gaussian with the symbols that `model` makes of `pictures` (uint8, H x W x 3, sides
    multiples of 64) at these quality levels.

    A scale index then stands for the distribution that symbols have where the prior predicts it: real
    ones have heavier tails than Gaussians. Tables are kept symmetric.
    """
    old = model.symbols.tables
    counts = [np.zeros(2 * int(support) + 2) for support in old.supports]
    for picture in pictures:
        for level in levels:
            latent, hyper = model.analyse(picture[None], level)
            (blocks,) = model.latents.quantise(latent, hyper, level).blocks()
            for symbols, indices in blocks:
                for s in np.unique(indices):
                    values, support = symbols[indices == s], int(old.supports[s])
                    codes = np.where(np.abs(values) > support, 2 * support + 1, values + support)
                    counts[s] += np.bincount(codes, minlength=2 * support + 2)
    tables = []
    for s, count in enumerate(counts):
        count[:-1] = (count[:-1] + count[-2::-1]) / 2
        blend = count + PRIOR_SYMBOLS * _gaussian(s)
        tables.append(_table(blend / blend.sum()))
    return Tables(supports=old.supports, frequencies=np.concatenate(tables), skip=old.skip)


def as_tensors(tables: Tables) -> dict[str, torch.Tensor]:
    """The "entropy.*" entries of a weights file."""
    return {
        "entropy.supports": torch.from_numpy(tables.supports).to(torch.int32),
        "entropy.frequencies": torch.from_numpy(tables.frequencies).to(torch.int32),
        "entropy.skip": torch.tensor(tables.skip, dtype=torch.int32),
    }
