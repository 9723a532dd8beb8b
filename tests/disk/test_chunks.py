"""Values by position: the checksums that HDF5 has written are computed as it computes them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.disk.store.chunks import Chunks


def written(path: Path, values: NDArray[np.generic], rows: int) -> Path:
    with h5py.File(path, "w") as file:
        chunks = (rows, *values.shape[1:])
        file.create_dataset("data", data=values, chunks=chunks, fletcher32=True)
    return path


@pytest.mark.parametrize(
    ("shape", "rows", "dtype"),
    [
        ((100, 7), 9, "u1"),  # an odd number of bytes
        ((64, 256), 16, "f4"),
        ((30,), 30, "f2"),
        ((8, 3, 200, 201), 2, "u1"),  # several pieces that are summed apart
    ],
)
def test_what_hdf5_wrote_passes(
    tmp_path: Path, shape: tuple[int, ...], rows: int, dtype: str
) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8).view(dtype)[..., 0]
    values[0], values[-1] = 0, np.frombuffer(b"\xff" * values.itemsize, dtype)[0]
    with h5py.File(written(tmp_path / "a.h5", values, rows)) as file:
        chunks = Chunks(file["data"])
        out = np.empty_like(values)
        chunks.read_into(out, 0)
        assert out.tobytes() == values.tobytes()
        assert chunks.checked.all()
        chunks.read_into(out[:2], len(out) - 2)  # of chunks that are known to be whole
        assert out[:2].tobytes() == values[-2:].tobytes()


@pytest.mark.parametrize("what", ["a bit", "two words exchanged", "the checksum"])
def test_what_differs_does_not(tmp_path: Path, what: str) -> None:
    values = np.arange(4096, dtype=np.float32).reshape(64, 64)
    path = written(tmp_path / "a.h5", values, 16)
    with h5py.File(path) as file:
        info = file["data"].id.get_chunk_info(2)
        n_bytes = info.size
        place = info.byte_offset
    content = bytearray(path.read_bytes())
    if what == "a bit":
        content[place + 1000] ^= 1
    elif what == "the checksum":
        content[place + n_bytes - 1] ^= 1
    else:
        one, other = slice(place + 500, place + 502), slice(place + 510, place + 512)
        assert content[one] != content[other]
        content[one], content[other] = content[other], content[one]
    path.write_bytes(content)
    with h5py.File(path) as file:
        chunks = Chunks(file["data"])
        out = np.empty((16, 64), np.float32)
        chunks.read_into(out, 16)
        with pytest.raises(OSError, match="the chunk at 32 differs from its checksum"):
            chunks.read_into(out, 32)
