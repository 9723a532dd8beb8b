from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.disk.files import replacing
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import (
    Block,
    FeatureStore,
    content_hash,
    fingerprint_of,
    group_names,
    provenance_of,
    write_store,
)
from mmgenre.errors import Refusal, StoreError

PROVENANCE = Provenance("stage", 1, {"width": 8}, {"manifest": "ab"})
IDS = [f"é{k}" if k % 2 else f"item {k}" for k in range(20)]
TEXTS = ["", "a", "é" * 7, "line\nline", "x" * 300_000]


def vectors(n: int = 20, seed: int = 0, dtype: str = "float32") -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal((n, 8)).astype(dtype)


def clips(seed: int = 0) -> list[NDArray[np.float16]]:
    """Ragged: 0 to 900 frames of 3 bins, over several chunks and with empty rows in between."""
    rng = np.random.default_rng(seed)
    lengths = [0, 900, 1, 0, 0, 350, *rng.integers(1, 900, 13), 0]
    return [rng.standard_normal((n, 3)).astype(np.float16) for n in lengths]


def simple(path: Path, name: str = "v") -> Path:
    return write_store(path, name, [(IDS, vectors())], PROVENANCE)


def leftovers(path: Path) -> list[str]:
    return [other.name for other in path.parent.iterdir() if other != path]


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
@pytest.mark.parametrize("row_shape", [(), (5,), (3, 4, 2)])
def test_round_trip_of_fixed_rows(tmp_path: Path, dtype: str, row_shape: tuple[int, ...]) -> None:
    rows = (np.random.default_rng(0).random((20, *row_shape)) * 200).astype(dtype)
    refused = [Refusal("x", "audio", "silent", "peak below 1e-5")]
    path = write_store(tmp_path / "sub" / "a.h5", "v", [(IDS, rows)], PROVENANCE, refused=refused)
    with FeatureStore(path, "v") as store:
        assert store.ids == tuple(IDS)
        assert len(store) == 20
        assert (store.dtype, store.row_shape, store.ragged) == (rows.dtype, row_shape, False)
        np.testing.assert_array_equal(store.take(IDS), rows)
        assert store.take(IDS).dtype == rows.dtype
        np.testing.assert_array_equal(store.read(IDS[3]), rows[3])
        assert store.provenance == PROVENANCE.as_dict()
        assert store.fingerprint == PROVENANCE.fingerprint
        assert store.refused == tuple(refused)
        assert IDS[0] in store
        assert "x" not in store
        store.verify()
    assert leftovers(path) == []


def test_round_trip_of_ragged_rows(tmp_path: Path) -> None:
    rows = clips()
    path = write_store(tmp_path / "a.h5", "audio", [(IDS, rows)], PROVENANCE, ragged=True)
    with FeatureStore(path, "audio") as store:
        assert (store.row_shape, store.ragged) == ((None, 3), True)
        for item_id, row in zip(reversed(IDS), reversed(rows), strict=True):
            np.testing.assert_array_equal(store.read(item_id), row)
            assert store.lengths([item_id])[0] == len(row)
        store.verify()


@pytest.mark.parametrize(("start", "stop"), [(0, None), (0, 10), (5, 9), (5, 5), (340, 9999)])
def test_a_window_stays_inside_its_row(tmp_path: Path, start: int, stop: int | None) -> None:
    rows = clips()
    path = write_store(tmp_path / "a.h5", "audio", [(IDS, rows)], PROVENANCE, ragged=True)
    with FeatureStore(path, "audio") as store:
        for item_id, row in zip(IDS, rows, strict=True):
            np.testing.assert_array_equal(store.read(item_id, start, stop), row[start:stop])
        for bad in ((-1, None), (3, 2), (0, -1)):
            with pytest.raises(ValueError, match="0 <= start <= stop"):
                store.read(IDS[1], *bad)


def test_round_trip_of_texts(tmp_path: Path) -> None:
    rows = [np.frombuffer(text.encode(), np.uint8) for text in TEXTS]
    blocks: list[Block] = [([str(k)], [row]) for k, row in enumerate(rows)]  # the first is empty
    path = write_store(tmp_path / "a.h5", "text", blocks, PROVENANCE, ragged=True)
    with FeatureStore(path, "text") as store:
        assert [store.read_text(str(k)) for k in range(len(TEXTS))] == TEXTS


def test_take_joins_by_id(tmp_path: Path) -> None:
    rows = dict(zip(IDS, vectors(), strict=True))
    rng = np.random.default_rng(0)
    with FeatureStore(simple(tmp_path / "a.h5"), "v") as store:
        for n in (0, 1, 3, 9, 10, 11, 20, 50):  # with repeats; below and above half of all rows
            ids = [IDS[k] for k in rng.integers(0, 20, n)]
            expected = np.array([rows[i] for i in ids]).reshape(n, 8)
            np.testing.assert_array_equal(store.take(ids), expected)
        np.testing.assert_array_equal(store.take(IDS[::-1]), vectors()[::-1])


def test_missing_ids_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    with FeatureStore(simple(tmp_path / "a.h5"), "v") as store:
        message = r"a\.h5: 2 of 3 ids are missing in /v \(first: 'B'\); was it made from another"
        with pytest.raises(StoreError, match=message):
            store.take([IDS[0], "B", "C"])
        with pytest.raises(StoreError, match="1 of 1 ids are missing"):
            store.read("B")


def test_what_only_one_kind_of_store_can_do(tmp_path: Path) -> None:
    path = simple(tmp_path / "a.h5")
    write_store(path, "r", [(IDS, clips())], PROVENANCE, ragged=True)
    with FeatureStore(path, "r") as ragged, FeatureStore(path, "v") as fixed:
        with pytest.raises(StoreError, match="/r is ragged; take its rows one by one"):
            ragged.take(IDS)
        with pytest.raises(StoreError, match="1 of 1 ids are missing"):
            ragged.lengths(["B"])
        for call in (lambda: fixed.lengths(IDS[:1]), lambda: fixed.read(IDS[0], 1, 2)):
            with pytest.raises(StoreError, match="/v is not ragged"):
                call()


def test_replacing_a_group_keeps_the_others(tmp_path: Path) -> None:
    path = simple(tmp_path / "a.h5")
    other = Provenance("other", 2, {})
    refused = [Refusal("x", "text", "empty", "")]
    write_store(path, "r", [(IDS, clips())], other, ragged=True, refused=refused)
    write_store(path, "none", [], other)
    before = content_hash(path)
    write_store(path, "v", [(IDS[:5], vectors(5, seed=1))], PROVENANCE)
    assert group_names(path) == ("none", "r", "v")
    with FeatureStore(path, "r") as store:
        np.testing.assert_array_equal(store.read(IDS[1]), clips()[1])
        assert (store.fingerprint, store.refused) == (other.fingerprint, tuple(refused))
        store.verify()
    with FeatureStore(path, "v") as store:
        assert store.ids == tuple(IDS[:5])
        np.testing.assert_array_equal(store.take(IDS[:5]), vectors(5, seed=1))
    assert content_hash(path) != before
    simple(path)
    assert content_hash(path) == before
    assert leftovers(path) == []


def test_content_hash_knows_neither_blocks_nor_files_nor_provenance(tmp_path: Path) -> None:
    def cut(*ends: int) -> list[Block]:
        bounds = [0, *ends, 20]
        return [(IDS[a:b], clips()[a:b]) for a, b in pairwise(bounds)]

    hashes = set()
    for k, ends in enumerate([(), (1,), (0, 4, 4, 19), tuple(range(1, 20))]):
        path = tmp_path / f"{k}.h5"
        write_store(path, "r", cut(*ends), Provenance("s", k, {}), ragged=True)
        hashes.add(content_hash(path))
    assert len(hashes) == 1


def test_content_hash_sees_ids_values_types_names_and_order(tmp_path: Path) -> None:
    rows = vectors()
    changed = rows.copy()
    changed[7, 3] += 1e-3
    contents: list[tuple[str, Block]] = [
        ("v", (IDS, rows)),
        ("w", (IDS, rows)),
        ("v", (IDS, changed)),
        ("v", (IDS[::-1], rows)),
        ("v", (IDS[::-1], rows[::-1])),
        ("v", (IDS[:19], rows[:19])),
        ("v", (IDS, rows.reshape(20, 4, 2))),
        ("v", (IDS, rows.astype(np.float16))),
        ("v", (IDS, rows.view(np.uint8))),
    ]
    hashes = [
        content_hash(write_store(tmp_path / f"{k}.h5", name, [block], PROVENANCE))
        for k, (name, block) in enumerate(contents)
    ]
    assert len(set(hashes)) == len(contents)


def test_ragged_boundaries_count(tmp_path: Path) -> None:
    frames = np.arange(10, dtype=np.uint8)
    one, two = (
        write_store(
            tmp_path / f"{k}.h5",
            "r",
            [(["a", "b"], np.split(frames, [k]))],
            PROVENANCE,
            ragged=True,
        )
        for k in (4, 5)
    )
    assert content_hash(one) != content_hash(two)


@pytest.mark.parametrize("ragged", [False, True])
def test_an_empty_store(tmp_path: Path, ragged: bool) -> None:
    path = write_store(tmp_path / "a.h5", "v", [([], [])], PROVENANCE, ragged=ragged)
    with FeatureStore(path, "v") as store:
        assert (len(store), store.ids, store.ragged) == (0, (), ragged)
        store.verify()
        if not ragged:
            assert len(store.take([])) == 0
        with pytest.raises(StoreError, match="1 of 1 ids are missing"):
            store.read("a")


def test_fingerprint_of_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    assert (fingerprint_of(path, "v"), provenance_of(path, "v")) == (None, None)
    assert group_names(path) == ()
    simple(path)
    assert fingerprint_of(path, "v") == PROVENANCE.fingerprint
    assert provenance_of(path, "v") == PROVENANCE.as_dict()
    assert (fingerprint_of(path, "w"), provenance_of(path, "w")) == (None, None)
    assert fingerprint_of(path, "v/data") is None


def bad_rows(change: Callable[[NDArray[Any]], NDArray[Any]]) -> Block:
    return IDS, change(vectors())


def put(value: float, dtype: str = "float32") -> Callable[[NDArray[Any]], NDArray[Any]]:
    def change(rows: NDArray[Any]) -> NDArray[Any]:
        rows = rows.astype(dtype)
        rows[19, 7] = value
        return rows

    return change


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([bad_rows(put(np.nan))], "would hold NaN or infinite"),
        ([bad_rows(put(np.inf, "float16"))], "would hold NaN or infinite"),
        ([bad_rows(lambda rows: rows.astype(np.float64))], "dtype float64; stores hold float16"),
        ([bad_rows(lambda rows: rows.astype(object))], "dtype object; stores hold"),
        ([bad_rows(lambda rows: rows[:, :0])], "hold nothing"),
        ([(IDS[:3], vectors(4))], "4 rows for 3 ids"),
        ([(["a", "b", "a"], vectors(3))], "1 ids appear twice"),
        ([(["a"], vectors(1)), (["a"], vectors(1))], "1 ids appear twice"),
        ([(["a\0"], vectors(1))], "holds a NUL"),
        ([(["a"], vectors(1)), (["b"], vectors(1)[:, :4])], "another shape or type in one store"),
        ([(["a"], vectors(1)), (["b"], vectors(1, dtype="float16"))], "another shape or type"),
        ([(["a", "b"], [np.zeros(2, np.float32), np.zeros(3, np.float32)])], "several shapes"),
    ],
)
def test_rows_that_are_refused_leave_the_old_file(
    tmp_path: Path, blocks: list[Block], message: str
) -> None:
    path = simple(tmp_path / "a.h5")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=message):
        write_store(path, "v", blocks, PROVENANCE)
    assert path.read_bytes() == before
    assert leftovers(path) == []


@pytest.mark.parametrize("name", ["", ".", "a/b", "/"])
def test_group_names_that_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="is no name for a group"):
        write_store(tmp_path / "a.h5", name, [(IDS, vectors())], PROVENANCE)


def test_an_exception_among_the_blocks_leaves_the_old_file(tmp_path: Path) -> None:
    def broken() -> Iterator[Block]:
        yield IDS[:5], vectors(5)
        raise RuntimeError("the decoder died")

    path = simple(tmp_path / "a.h5")
    before = path.read_bytes()
    for target in (path, tmp_path / "new.h5"):
        with pytest.raises(RuntimeError, match="the decoder died"):
            write_store(target, "v", broken(), PROVENANCE)
    assert path.read_bytes() == before
    assert leftovers(path) == []


def test_replacing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "f"
    with replacing(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    assert path.read_text() == "one"

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("two")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "one"
    assert leftovers(path) == []


# Damage and malice.


def test_verify_finds_every_flipped_byte_of_the_data(tmp_path: Path) -> None:
    path = simple(tmp_path / "a.h5")
    whole = path.read_bytes()
    place = whole.index(vectors().tobytes())
    for offset in (0, 1, 333, vectors().nbytes - 1):
        damaged = bytearray(whole)
        damaged[place + offset] ^= 0x10
        path.write_bytes(damaged)
        with FeatureStore(path, "v") as store:
            for read in (store.verify, lambda: store.take(IDS[:2]), lambda: store.take(IDS)):
                with pytest.raises(StoreError, match=r"/v cannot be read: .*"):
                    read()
        with pytest.raises(StoreError, match="cannot be read"):
            content_hash(path)
        # Nor is damage copied under a fresh checksum.
        with pytest.raises(StoreError, match="cannot be read"):
            simple(path, "w")
    path.write_bytes(whole)
    with FeatureStore(path, "v") as store:
        store.verify()


def test_verify_finds_values_changed_with_their_chunk_checksum(tmp_path: Path) -> None:
    path = simple(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["v/data"][3, 3] = 7  # HDF5 renews the chunk's own checksum
    message = "/v is damaged: its checksum differs"
    with FeatureStore(path, "v") as store, pytest.raises(StoreError, match=message):
        store.verify()


@pytest.mark.parametrize("text", ["item 4", '"fingerprint"', '"stage_version"'])
def test_a_flipped_byte_in_ids_or_provenance_shows_on_opening(tmp_path: Path, text: str) -> None:
    path = simple(tmp_path / "a.h5")
    damaged = bytearray(path.read_bytes())
    assert damaged.count(text.encode()) == 1
    damaged[damaged.index(text.encode()) + 3] ^= 0x01
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match="group 'v' is damaged"):
        FeatureStore(path, "v")


def test_files_that_are_no_store(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with pytest.raises(StoreError, match=r"a\.h5: no such file"):
        FeatureStore(path, "v")
    with pytest.raises(StoreError, match="no such file"):
        FeatureStore(tmp_path, "v")
    simple(path)
    whole = path.read_bytes()
    for content in (b"", b"not HDF5", whole[:100], whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        for call in (FeatureStore, fingerprint_of):
            with pytest.raises(StoreError, match="not a readable HDF5 file"):
                call(path, "v")
        with pytest.raises(StoreError, match="not a readable HDF5 file"):
            simple(path, "w")
        assert path.read_bytes() == content


def test_groups_that_are_not_there(tmp_path: Path) -> None:
    path = simple(tmp_path / "a.h5")
    with pytest.raises(StoreError, match=r"no group 'w'; has \['v'\]"):
        FeatureStore(path, "w")
    with h5py.File(path, "a") as file:
        file.create_group("bare")
        file.create_dataset("data", data=[1])
        file.create_group("old").attrs["format"] = np.bytes_("mmgenre feature store 0")
    for name in ("bare", "data", "old"):
        with pytest.raises(StoreError, match=f"group '{name}' is not a 'mmgenre feature store"):
            FeatureStore(path, name)


def rewrite(group: h5py.Group, key: str, **options: Any) -> None:
    values = group[key][:]
    del group[key]
    group.create_dataset(key, data=values, **options)


def set_meta(change: Callable[[dict[str, Any]], object]) -> Callable[[h5py.Group, Path], None]:
    def attack(group: h5py.Group, folder: Path) -> None:
        meta = json.loads(group["meta"][:].tobytes())
        content = change(meta)
        del group["meta"]
        text = json.dumps(content if content is not None else meta).encode()
        group.create_dataset("meta", data=np.frombuffer(text, np.uint8))

    return attack


def external(group: h5py.Group, folder: Path) -> None:
    secret = folder / "secret"
    secret.write_bytes(bytes(640))
    del group["data"]
    group.create_dataset("data", (20, 8), "float32", external=[(str(secret), 0, 640)])


def virtual(group: h5py.Group, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other.create_dataset("data", data=vectors())
    layout = h5py.VirtualLayout((20, 8), "float32")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "data", (20, 8))
    del group["data"]
    group.create_virtual_dataset("data", layout)


def soft_link(group: h5py.Group, folder: Path) -> None:
    del group["data"]
    group["data"] = h5py.SoftLink("/v/ids")


def external_link(group: h5py.Group, folder: Path) -> None:
    simple(folder / "other.h5")
    del group["data"]
    group["data"] = h5py.ExternalLink(str(folder / "other.h5"), "/v/data")


def huge(group: h5py.Group, folder: Path) -> None:
    del group["data"]
    group.create_dataset("data", (20, 1 << 44), "float32", chunks=(1, 1 << 20))


def petabytes(group: h5py.Group, folder: Path) -> None:
    """Contiguous, never written: takes a few bytes of the file."""
    del group["data"]
    group.create_dataset("data", (20, 1 << 47), "uint8")


def unknown_filter(group: h5py.Group, folder: Path) -> None:
    del group["data"]
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_chunk((20, 8))
    layout.set_filter(32123, h5py.h5z.FLAG_OPTIONAL)
    space = h5py.h5s.create_simple((20, 8))
    h5py.h5d.create(group.id, b"data", h5py.h5t.IEEE_F32LE, space, layout)


def repeated_ids(group: h5py.Group, folder: Path) -> None:
    ids = group["ids"][:]
    ids[1] = ids[0]
    del group["ids"]
    group["ids"] = ids


def replaced(key: str, values: Any) -> Callable[[h5py.Group, Path], None]:
    def attack(group: h5py.Group, folder: Path) -> None:
        del group[key]
        group[key] = values

    return attack


ATTACKS: dict[str, tuple[Callable[[h5py.Group, Path], None], str]] = {
    "external storage": (external, "come from another file"),
    "virtual dataset": (virtual, "come from another file"),
    "soft link": (soft_link, "a link, not data"),
    "external link": (external_link, "a link, not data"),
    "gzip": (lambda g, _: rewrite(g, "data", compression="gzip"), r"filters \[.*\] are not ours"),
    "shuffle": (lambda g, _: rewrite(g, "data", shuffle=True), r"filters \[.*\] are not ours"),
    "gzip ids": (lambda g, _: rewrite(g, "ids", compression="gzip"), "are not ours"),
    "huge": (huge, "declares .* bytes but does not hold them"),
    "objects": (replaced("data", np.array(["a"] * 20, object)), "dtype object is not one of"),
    "compound": (
        replaced("data", np.zeros(20, [("a", "f4"), ("b", "f4")])),
        "dtype .* is not one of",
    ),
    "complex": (replaced("data", np.zeros((20, 8), np.complex64)), "complex64 is not one of"),
    "null space": (replaced("data", h5py.Empty("f4")), "no data"),
    "scalar": (replaced("data", np.float32(1)), "is damaged"),
    "subgroup": (lambda g, _: g.create_group("more"), "more: not a dataset"),
    "repeated ids": (repeated_ids, "20 rows but 19 distinct ids|its checksum differs"),
    "few ids": (replaced("ids", np.array([b"a", b"b"])), "20 rows but 2 ids"),
    "table of ids": (replaced("ids", np.array([[b"a"] * 20])), "is damaged"),
    "number ids": (replaced("ids", np.arange(20)), "is damaged"),
    "latin ids": (replaced("ids", np.array([b"\xe9"] * 20)), "is damaged"),
    "no ids": (lambda g, _: g.pop("ids"), "is damaged"),
    "no meta": (lambda g, _: g.pop("meta"), "is damaged"),
    "no json": (replaced("meta", np.frombuffer(b"{", np.uint8)), "is damaged"),
    "meta list": (set_meta(lambda meta: []), "is damaged"),
    "no provenance": (set_meta(lambda meta: {"refused": []}), "is damaged"),
    "no checksum": (set_meta(lambda meta: meta.pop("sha256") and None), "is damaged"),
    "odd refusal": (set_meta(lambda meta: meta.update(refused=[{"x": 1}])), "is damaged"),
    "no chunks": (lambda g, _: rewrite(g, "data"), "has no checksums"),
    "no checksums": (lambda g, _: rewrite(g, "data", chunks=(2, 8)), "has no checksums"),
    "cut rows": (
        lambda g, _: rewrite(g, "data", chunks=(20, 4), fletcher32=True),
        r"its rows are cut into chunks \(20, 4\)",
    ),
    "unknown filter": (unknown_filter, r"filters \[32123\] are not ours"),
    "petabytes": (petabytes, "declares .* bytes but does not hold them"),
    "loop": (lambda g, _: g.__setitem__("more", g), "more: not a dataset"),
    "loop to the root": (lambda g, _: g.__setitem__("more", g.file), "more: not a dataset"),
    "vlen strings": (
        replaced("data", np.array(["text"] * 20, h5py.string_dtype())),
        "dtype object is not one of",
    ),
    "vlen ids": (replaced("ids", np.array(IDS, object)), "dtype object is not one of"),
    "NaN ids": (replaced("ids", np.full(20, np.nan, np.float32)), "is damaged"),
    "vlen format": (lambda g, _: g.attrs.__setitem__("format", "text"), "is not a 'mmgenre"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_files_are_refused(tmp_path: Path, attack: str) -> None:
    path = simple(tmp_path / "a.h5")
    change, message = ATTACKS[attack]
    with h5py.File(path, "a") as file:
        change(file["v"], tmp_path)
    with pytest.raises(StoreError, match=message), FeatureStore(path, "v") as store:
        store.read(store.ids[0])
    # Nor does a writer carry it over into a file of ours.
    with pytest.raises(StoreError, match=message):
        simple(path, "w")
    with h5py.File(path, "a") as file:  # closed by those who refused it
        assert "w" not in file


def test_a_group_that_is_a_link_is_refused(tmp_path: Path) -> None:
    path = simple(tmp_path / "a.h5")
    simple(tmp_path / "other.h5")
    with h5py.File(path, "a") as file:
        file["soft"] = h5py.SoftLink("/v")
        file["external"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/v")
    for name in ("soft", "external"):
        with pytest.raises(StoreError, match=f"no group '{name}'"):
            FeatureStore(path, name)


@pytest.mark.parametrize(
    "change",
    [
        lambda offsets: offsets[1:],
        lambda offsets: offsets + 1,
        lambda offsets: offsets[::-1],
        lambda offsets: offsets[[0, 2, 1, *range(3, 21)]],
        lambda offsets: offsets - 1,
        lambda offsets: offsets.reshape(3, 7),
        lambda offsets: offsets[:0],
    ],
)
def test_offsets_that_lead_into_other_rows_are_refused(
    tmp_path: Path, change: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    path = tmp_path / "a.h5"
    write_store(path, "r", [(IDS, clips())], PROVENANCE, ragged=True)
    with h5py.File(path, "a") as file:
        offsets = file["r/offsets"][:]
        del file["r/offsets"]
        file["r/offsets"] = change(offsets)
    with pytest.raises(StoreError, match=r"offsets do not fit the data|19 rows but 20|is damaged"):
        FeatureStore(path, "r")
