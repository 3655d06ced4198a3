"""Pictures that look alike, among many `.vae` files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from vaecodec import parallel
from vaecodec.codec import Codec
from vaecodec.parallel import Failure
from vaecodec.sources import Source
from vaecodec.uses.embedding import embed

#: Embeddings of at least this similarity are taken for one picture, shrunk, cut or coded anew
#: (docs/latents.md).
SAME = 0.82
#: By how much rounding may keep the scalar product of equal embeddings from 1.
ROUNDING = 1e-5
#: How many embeddings are compared with all others at once; bounds the memory.
ROWS = 1024


def embeddings(sources: Iterable[Source], codec: Codec, jobs: int) -> Iterator[np.ndarray | Failure]:
    """The embedding of every file (see `embed`), or why it has none, in the order of the files."""
    work = parallel.in_threads(sources, lambda source: embed(source, codec=codec), jobs, in_order=True)
    return (vector for _, vector in work)


def nearest(
    vectors: np.ndarray, to: np.ndarray, count: int, least: float = -1.0
) -> list[tuple[int, float]]:
    """The `count` of `vectors` (N x D) most like `to` (D), of a similarity of `least` or more: the
    number of each, and its similarity."""
    similarity = vectors @ to
    order = np.argsort(-similarity, kind="stable")[:count]
    return [(int(i), float(similarity[i])) for i in order if similarity[i] >= least - ROUNDING]


def duplicates(vectors: np.ndarray, least: float) -> list[list[int]]:
    """Groups of two or more of `vectors` (N x D), by number, each with a similarity of `least` or more
    to another of its group."""
    group = list(range(len(vectors)))

    def of(i: int) -> int:
        while group[i] != i:
            group[i] = i = group[group[i]]
        return i

    for start in range(0, len(vectors), ROWS):
        alike = vectors[start : start + ROWS] @ vectors.T >= least - ROUNDING
        for i, row in enumerate(alike, start):
            for j in (np.flatnonzero(row[i + 1 :]) + i + 1).tolist():
                group[of(j)] = of(i)
    members: dict[int, list[int]] = {}
    for i in range(len(vectors)):
        members.setdefault(of(i), []).append(i)
    return [numbers for numbers in members.values() if len(numbers) > 1]
