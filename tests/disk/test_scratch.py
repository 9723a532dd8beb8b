"""Arrays that are files without a name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmgenre.disk import scratch as module
from mmgenre.disk.scratch import scratch


def test_a_small_array_is_in_memory_and_a_large_one_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not isinstance(scratch((3, 4), np.float32, tmp_path), np.memmap)
    monkeypatch.setattr(module, "MEMORY_BYTES", 40)
    found = scratch((3, 4), np.float32, tmp_path)
    assert isinstance(found, np.memmap)
    found[:] = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(found[1:].sum(axis=0), [12, 14, 16, 18])
    assert (found.shape, found.dtype) == ((3, 4), np.float32)
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written_it_lies_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMORY_BYTES", 40)
    found = scratch((3, 4), np.float32, tmp_path / "no such folder")
    found[:] = 1
    assert found.sum() == 12
