"""Arrays in HDF5 files of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mmgenre.datasets.features import read_features
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import write_store
from mmgenre.disk.store.plain import is_plain, read_plain
from mmgenre.errors import StoreError

IDS = np.array(["b", "a", "ü"])
X = np.arange(12, dtype=np.float32).reshape(3, 4) / 8


def write(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, **(array if isinstance(array, dict) else {"data": array}))
    return path


@pytest.mark.parametrize(
    "packed", [{}, {"compression": "gzip", "shuffle": True}, {"compression": "lzf"}]
)
def test_ids_and_vectors(tmp_path: Path, packed: dict[str, Any]) -> None:
    ids = np.char.encode(IDS, "utf-8")
    path = write(tmp_path / "clap.h5", ids=ids, embeddings={"data": X, **packed})
    assert is_plain(path)
    found = read_features(path)
    assert found.ids == ("b", "a", "ü")
    np.testing.assert_array_equal(found.x, X)


def test_a_feature_store_is_not_plain(tmp_path: Path) -> None:
    write_store(tmp_path / "f.h5", "clap", [(["a"], X[:1])], Provenance("test", 1, {}))
    assert not is_plain(tmp_path / "f.h5")
    assert not is_plain(tmp_path / "gone.h5")


def test_text_of_variable_length_is_refused_with_what_to_write(tmp_path: Path) -> None:
    path = write(tmp_path / "v.h5", ids={"data": IDS.astype(object)}, x=X)
    with pytest.raises(StoreError, match=r"ids: text of variable length; write it as np\.array"):
        read_plain(path)


def test_nothing_comes_from_another_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 48)
    external = {"shape": (3, 4), "dtype": "f4", "external": [(str(tmp_path / "secret"), 0, 48)]}
    path = write(tmp_path / "v.h5", ids=np.array([b"a", b"b", b"c"]), x=external)
    with pytest.raises(StoreError, match="x: its data would come from another file"):
        read_plain(path)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["ids"] = np.array([b"a"])
        file["x"] = h5py.ExternalLink(str(path), "ids")
    with pytest.raises(StoreError, match="'x' is no array"):
        read_plain(tmp_path / "link.h5")


def test_what_a_file_does_not_hold_is_not_read(tmp_path: Path) -> None:
    huge = {"shape": (10**9, 10**5), "dtype": "f4", "chunks": (1, 1000), "compression": "gzip"}
    path = write(tmp_path / "v.h5", ids=np.array([b"a"]), x=huge)
    with pytest.raises(StoreError, match="declares 400,000,000,000,000 bytes"):
        read_plain(path)


def test_damage(tmp_path: Path) -> None:
    checked = {"data": X, "fletcher32": True, "chunks": (3, 4)}
    path = write(tmp_path / "v.h5", ids=np.array([b"a", b"b", b"c"]), x=checked)
    content = bytearray(path.read_bytes())
    at = bytes(content).index(X.tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"v\.h5: damaged"):
        read_plain(path)
