"""Filters along one axis, as products with matrices."""

from __future__ import annotations

import pytest
import torch

from vaecodec.model import filters


@pytest.mark.parametrize("axis", [-2, -1])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("mirror", [False, True])
def test_pieces_give_what_the_whole_gives(
    monkeypatch: pytest.MonkeyPatch, axis: int, stride: int, mirror: bool
) -> None:
    planes = torch.rand(2, 83, 90, generator=torch.Generator().manual_seed(1))
    taps = filters.gaussian(1.5, 5)
    whole = filters.filtered(planes, taps, axis, stride=stride, mirror=mirror)
    for piece in (1, 16, 41, 45):
        monkeypatch.setattr(filters, "PIECE", piece)
        found = filters.filtered(planes, taps, axis, stride=stride, mirror=mirror)
        assert torch.allclose(found, whole, atol=1e-6)


def test_the_edges() -> None:
    """A mirror image, or zero, of which a longer filter sees more than there is."""
    row = torch.tensor([[1.0, 2.0, 4.0]])
    assert filters.filtered(row, (1.0, 0.0, 0.0), -1).tolist() == [[1, 1, 2]]
    assert filters.filtered(row, (1.0, 0.0, 0.0), -1, mirror=False).tolist() == [[0, 1, 2]]
    assert filters.filtered(row, (0.0, 0.0, 1.0), -1, stride=2).tolist() == [[2, 4]]
    assert filters.filtered(row.T, (1.0, 0.0, 0.0, 0.0, 0.0), -2).T.tolist() == [[2, 1, 1]]
