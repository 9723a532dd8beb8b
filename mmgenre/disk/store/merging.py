"""Merging store files, and writing a group anew that takes rows of its earlier version over."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence, Set
from itertools import compress
from pathlib import Path
from typing import Any, cast

import numpy as np

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store.apart import Places
from mmgenre.disk.store.layout import Block, Prints
from mmgenre.disk.store.reading import FeatureStore, GroupInfo, group_names, store_info
from mmgenre.disk.store.writing import NOTHING, write_store
from mmgenre.errors import Refusal, StoreError


def merge_stores(
    parts: Sequence[Path | str],
    target: Path | str,
    name: str,
    *,
    provenance: Provenance | None = None,
    ragged: bool = False,
    asked_for: Set[str] | None = None,
    taken: Set[str] = frozenset(),
    order: Sequence[str] = (),
    apart: bool = False,
) -> Path:
    """Writes the rows of group `name` of all parts, in their order, into one group of `target`.

    The content hash is that of one uninterrupted write of the same rows. Memory holds some 16 MiB
    of one part at a time, and all ids. Other groups of `target` stay, and so do the parts.
    `provenance` and `ragged` are those of the target if there are no parts; a `provenance` that is
    given must also be that of the parts. `asked_for` has the ids that the parts must hold or have
    refused, and no others; None: any. `taken` and `order`: see `renew_store`. `apart`: values stay
    in the parts, which lie in the folder `parts_folder` of the target, and are not written.

    StoreError: a part is damaged or differs from the checksum that it was written with; two parts
    differ in fingerprint, width, type or raggedness, or hold or have refused the same id; rows that
    were asked for are missing, or others are there.
    """
    places = Places(Path(target)) if apart else None
    if not parts:
        if provenance is None:
            raise StoreError(f"{target}: nothing to merge: no parts, and no provenance given")
        how: dict[str, Any] = {"taken": taken, "order": order, "ragged": ragged, "places": places}
        return renew_store(target, name, [], provenance, **how)
    with FeatureStore(parts[0], name) as first:
        found, ragged = _provenance(first), first.ragged
        prints = None if first.prints_by is None else Prints(first.prints_by)
    if provenance is not None and provenance.fingerprint != found.fingerprint:
        raise StoreError(
            f"{parts[0]}: /{name} was made with other settings: fingerprint {found.fingerprint}, "
            f"expected {provenance.fingerprint}; remove the file and make it again"
        )
    refused: list[Refusal] = []
    made_from: dict[str, bytes] = {}
    blocks = _merged(parts, name, refused, made_from, prints, asked_for, places)
    how = {"taken": taken, "order": order, "refused": refused, "ragged": ragged, "places": places}
    return renew_store(target, name, blocks, found, **how, made_from=made_from, prints=prints)


def renew_store(
    path: Path | str,
    name: str,
    blocks: Iterable[Block],
    provenance: Provenance,
    *,
    taken: Set[str],
    order: Sequence[str],
    refused: Sequence[Refusal] = (),
    ragged: bool = False,
    made_from: Mapping[str, bytes] = NOTHING,
    prints: Prints | None = None,
    places: Places | None = None,
) -> Path:
    """`write_store` of a group that takes rows of its present version over.

    `taken` are the ids of these rows, and of refusals that are taken over, all of which say what
    they were made from. `order` has all ids in the order that the rows shall have, in which the
    blocks and the present rows are.

    StoreError: as of `write_store`, or the present version is not what was written, or its values,
    which should stay in parts (`places`), lie in the file that is written anew.
    """
    if not taken:
        what: dict[str, Any] = {"refused": refused, "made_from": made_from, "prints": prints}
        return write_store(path, name, blocks, provenance, **what, ragged=ragged, places=places)
    place = {item_id: k for k, item_id in enumerate(order)}
    all_refused: list[Refusal] = []
    with FeatureStore(path, name) as present:
        if prints is None and present.prints_by is not None:
            prints = Prints(present.prints_by)
        if places is not None:
            if present.apart is None:
                raise StoreError(
                    f"{path}: /{name} is merged, and {len(taken):,} rows of it are kept: merge it "
                    "again (without --no-merge); or move it away, and all rows are read again"
                )
            kept_rows = np.array([item_id in taken for item_id in present.ids], bool)
            own = list(compress(present.ids, kept_rows))
            places.add_rows(present.apart, own, present.firsts[:-1][kept_rows])

        def all_rows() -> Iterator[Block]:
            yield from _in_order(place, [_rows_of(present, taken, prints), iter(blocks)])
            kept = [refusal for refusal in present.refused if refusal.id in taken]
            all_refused.extend(sorted([*kept, *refused], key=lambda r: place[r.id]))

        now = cast(MutableMapping[str, bytes], made_from)  # filled as blocks are read
        what = {"refused": all_refused, "made_from": ChainMap(now, present.made_from())}
        what |= {"prints": prints, "places": places}
        return write_store(path, name, all_rows(), provenance, **what, ragged=ragged)


def _rows_of(store: FeatureStore, ids: Set[str], prints: Prints | None) -> Iterator[Block]:
    """Those rows that have one of the ids; all are read, and compared with the checksum."""
    for found, rows in store.blocks(prints):
        here = [item_id in ids for item_id in found]
        if any(here):
            kept = list(compress(found, here))
            if isinstance(rows, np.ndarray):
                yield kept, rows[np.array(here)]
            else:
                yield kept, list(compress(rows, here))


def _in_order(place: Mapping[str, int], streams: Sequence[Iterator[Block]]) -> Iterator[Block]:
    """The blocks of streams, each in order, as one stream in order; blocks are cut for that."""
    waiting = [(block, stream) for stream in streams if (block := next(stream, None))]
    while waiting:
        waiting.sort(key=lambda pair: place[pair[0][0][0]])
        (ids, rows), stream = waiting.pop(0)
        n = len(ids)
        if waiting:  # up to the first row of the others
            end = place[waiting[0][0][0][0]]
            n = next((k for k, item_id in enumerate(ids) if place[item_id] > end), n)
        yield ids[:n], rows[:n]
        rest = (ids[n:], rows[n:]) if n < len(ids) else next(stream, None)
        if rest is not None:
            waiting.append((rest, stream))


def merge_files(
    parts: Sequence[Path | str], target: Path | str, name: str | None = None
) -> GroupInfo:
    """`merge_stores` of the one group that the parts hold, or of `name`; describes the result.

    StoreError if `name` is None and the parts hold several groups, or `target` holds it already.
    """
    if name is None:
        names = sorted({n for path in parts for n in group_names(path)})
        if len(names) != 1:
            raise StoreError(
                f"{target}: it is not clear which group to merge: the parts hold "
                f"{', '.join(names) or 'none'}; name one (--group)"
            )
        name = names[0]
    if name in group_names(target):
        raise StoreError(f"{target}: holds /{name} already; choose another file, or remove it")
    merged = store_info(merge_stores(parts, target, name))
    return next(group for group in merged if group.name == name)


def _merged(
    parts: Sequence[Path | str],
    name: str,
    refused: list[Refusal],
    made_from: dict[str, bytes],
    prints: Prints | None,
    asked_for: Set[str] | None,
    places: Places | None,
) -> Iterator[Block]:
    """All rows; fills `refused`, `made_from`, `prints` and `places` as it goes."""
    traits: dict[str, tuple[Path, object]] = {}  # what must be equal -> first part with it, value
    seen: dict[str, Path] = {}
    for path in parts:
        with FeatureStore(path, name) as part:
            length = "any length" if part.ragged else "one length"
            own: dict[str, object] = {"fingerprint": part.fingerprint, "rows of": length}
            if len(part):  # else it has no type and no shape of its own
                own |= {"dtype": part.dtype.name, "row shape": part.row_shape}
            for what, value in own.items():
                where, known = traits.setdefault(what, (part.path, value))
                if value != known:
                    raise StoreError(
                        f"{part.path}: /{name} has {what} {value}, but {where} has {known}; only "
                        "files made with the same settings can be merged: leave one out"
                    )
            for item_id in (*part.ids, *(refusal.id for refusal in part.refused)):
                where = seen.setdefault(item_id, part.path)
                if where is not part.path:
                    raise StoreError(
                        f"{part.path}: /{name} holds id {item_id!r}, or has refused it, and so "
                        f"does or has {where}; leave one of the two files out"
                    )
            refused += part.refused
            made_from |= part.made_from()
            if places is not None and len(part):
                places.add_part(part.path, part.sha256, part.ids, part.firsts.tolist())
            yield from part.blocks(prints)
    if asked_for is not None and (wrong := asked_for ^ seen.keys()):
        raise StoreError(
            f"{Path(parts[0]).parent}: the parts of /{name} miss or add {len(wrong):,} rows of the "
            f"{len(asked_for):,} asked for (first: {min(wrong)!r}); remove them and read again"
        )


def _provenance(store: FeatureStore) -> Provenance:
    """What a group was made from; StoreError if it does not give the fingerprint beside it."""
    where = f"{store.path}: /{store.name}"
    try:
        provenance = Provenance(**{k: v for k, v in store.provenance.items() if k != "fingerprint"})
    except TypeError as error:
        raise StoreError(f"{where}: odd provenance: {error}") from None
    if provenance.fingerprint != store.fingerprint:
        raise StoreError(f"{where}: its fingerprint is not that of its provenance")
    return provenance
