"""The feature store: rows by id in HDF5, for inputs, embeddings, joint vectors and scores.

A file holds groups, one per modality or model; a group holds

    ids      (n,) fixed-width UTF-8           data     (n, *row_shape), or (sum of lengths, ...);
                                                       or they lie in other files (`apart`)
    offsets  (n + 1,) int64, if ragged        meta     JSON bytes: provenance, refusals, checksum
    made_from  (n + refusals, width) uint8, if its writer gave it: what each was made from
    prints   uint8, if its writer gave them: of each row its fingerprint, after its length (int32)

A file appears only when it is complete: it is written under a temporary name, synced, and renamed.
Only one process writes a file at a time.
"""

from mmgenre.disk.store.apart import parts_folder as parts_folder
from mmgenre.disk.store.checking import check_store as check_store
from mmgenre.disk.store.layout import Block as Block
from mmgenre.disk.store.layout import Prints as Prints
from mmgenre.disk.store.merging import merge_files as merge_files
from mmgenre.disk.store.merging import merge_stores as merge_stores
from mmgenre.disk.store.merging import renew_store as renew_store
from mmgenre.disk.store.reading import FeatureStore as FeatureStore
from mmgenre.disk.store.reading import GroupInfo as GroupInfo
from mmgenre.disk.store.reading import Verdict as Verdict
from mmgenre.disk.store.reading import content_hash as content_hash
from mmgenre.disk.store.reading import fingerprint_of as fingerprint_of
from mmgenre.disk.store.reading import group_names as group_names
from mmgenre.disk.store.reading import part_names as part_names
from mmgenre.disk.store.reading import provenance_of as provenance_of
from mmgenre.disk.store.reading import store_info as store_info
from mmgenre.disk.store.reading import verify_stores as verify_stores
from mmgenre.disk.store.writing import write_groups as write_groups
from mmgenre.disk.store.writing import write_store as write_store
