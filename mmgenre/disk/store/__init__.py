"""The feature store: rows by id in HDF5. Inputs, embeddings, joint vectors and scores are all this.

A file holds groups, one per modality or model; a group holds

    ids      (n,) fixed-width UTF-8           data     (n, *row_shape), or (sum of lengths, ...)
    offsets  (n + 1,) int64, if ragged        meta     JSON bytes: provenance, refusals, checksum

Files appear only whole: they are written under a temporary name, synced, and renamed. Only one
process writes a file at a time.
"""

from mmgenre.disk.store.inspecting import (
    GroupInfo,
    Verdict,
    content_hash,
    fingerprint_of,
    group_names,
    store_info,
    verify_stores,
)
from mmgenre.disk.store.layout import Block, Rows
from mmgenre.disk.store.merging import merge_files, merge_stores
from mmgenre.disk.store.reading import FeatureStore
from mmgenre.disk.store.writing import write_store

__all__ = [
    "Block",
    "FeatureStore",
    "GroupInfo",
    "Rows",
    "Verdict",
    "content_hash",
    "fingerprint_of",
    "group_names",
    "merge_files",
    "merge_stores",
    "store_info",
    "verify_stores",
    "write_store",
]
