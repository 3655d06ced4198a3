"""Copies between host and device."""

from __future__ import annotations

import pytest
import torch

from vaecodec.model.copies import to_device, to_host


@pytest.mark.parametrize("name", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_there_and_back(name: str) -> None:
    """Of any type, and where rows do not follow one another."""
    device = torch.device(name)
    sent = [
        torch.arange(1000, dtype=torch.int32).view(10, 100)[:, ::3],
        torch.arange(256, dtype=torch.uint8).view(16, 16).mT,
        torch.zeros(0, 5),
    ]
    there = [to_device(x, device) for x in sent]
    assert all(x.device.type == name for x in there)
    with device:  # by default, the caller's tensors are there
        back = to_host([x + 1 for x in there])
    assert all(x.device.type == "cpu" for x in back)
    for x, y in zip(sent, back, strict=True):
        assert y.dtype == x.dtype and torch.equal(y, x + 1)
    assert to_host([]) == []
