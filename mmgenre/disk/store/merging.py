"""Several store files with rows of one kind -> one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store.inspecting import GroupInfo, group_info, group_names
from mmgenre.disk.store.layout import Block
from mmgenre.disk.store.reading import FeatureStore
from mmgenre.disk.store.writing import write_store
from mmgenre.errors import Refusal, StoreError


def merge_stores(
    parts: Sequence[Path | str],
    target: Path | str,
    name: str,
    *,
    provenance: Provenance | None = None,
    ragged: bool = False,
    asked_for: AbstractSet[str] | None = None,
) -> Path:
    """Writes the rows of group `name` of all parts, in their order, into one group of `target`.

    The content hash is that of one uninterrupted write of the same rows. Memory holds some 16 MiB
    of one part at a time, and all ids. Other groups of `target` stay; the parts stay, too.

    Args:
        parts: store files made with the same settings.
        target: the file to write; by rename, and not at all if a part is refused.
        name: the group, in the parts and in the target.
        provenance: needed where there are no parts; else what theirs must be equal to, if given.
        ragged: used where there are no parts; else theirs counts.
        asked_for: ids that the parts must hold or have refused, and no others; None: any.

    Raises:
        StoreError: a part is damaged or differs from the checksum that it was written with; two
            parts differ in fingerprint, width, type or raggedness, or hold or have refused the same
            id; rows that were asked for are missing, or others are there.
    """
    if not parts:
        if provenance is None:
            raise StoreError(f"{target}: nothing to merge: no parts, and no provenance given")
        return write_store(target, name, [], provenance, ragged=ragged)
    with FeatureStore(parts[0], name) as first:
        found, ragged = provenance_of(first), first.ragged
    if provenance is not None and provenance.fingerprint != found.fingerprint:
        raise StoreError(
            f"{parts[0]}: /{name} was made with other settings: fingerprint {found.fingerprint}, "
            f"wanted {provenance.fingerprint}; remove the file and make it again"
        )
    refused: list[Refusal] = []
    blocks = _blocks(parts, name, refused, asked_for)
    return write_store(target, name, blocks, found, refused=refused, ragged=ragged)


def merge_files(
    parts: Sequence[Path | str], target: Path | str, name: str | None = None
) -> GroupInfo:
    """`merge_stores` of the one group that the parts hold, or of `name`; describes the result.

    Raises:
        StoreError: it is not clear which group is meant, or `target` holds it already.
    """
    if name is None:
        names = sorted({n for path in parts for n in group_names(path)})
        if len(names) != 1:
            raise StoreError(
                f"{target}: nothing says which group to merge: the parts hold "
                f"{', '.join(names) or 'none'}; name one (--group)"
            )
        name = names[0]
    if name in group_names(target):
        raise StoreError(f"{target}: holds /{name} already; choose another file, or remove it")
    return group_info(merge_stores(parts, target, name), name)


def _blocks(
    parts: Sequence[Path | str],
    name: str,
    refused: list[Refusal],
    asked_for: AbstractSet[str] | None,
) -> Iterator[Block]:
    """All rows; fills `refused` as it goes."""
    likeness: dict[str, tuple[Path, object]] = {}  # what must be equal -> who has it first, value
    seen: dict[str, Path] = {}
    for path in parts:
        with FeatureStore(path, name) as part:
            for what, value in _traits(part).items():
                where, known = likeness.setdefault(what, (part.path, value))
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
            yield from part.blocks()
    if asked_for is not None and (wrong := asked_for ^ seen.keys()):
        raise StoreError(
            f"{Path(parts[0]).parent}: the parts of /{name} miss or add {len(wrong):,} rows of the "
            f"{len(asked_for):,} asked for (first: {min(wrong)!r}); remove them and read again"
        )


def _traits(part: FeatureStore) -> Mapping[str, object]:
    """What all parts must share; a part without rows has no type and no width of its own."""
    traits: dict[str, object] = {"fingerprint": part.fingerprint}
    traits["rows of"] = "any length" if part.ragged else "one length"
    if len(part):
        traits["dtype"], traits["row shape"] = part.dtype.name, part.row_shape
    return traits


def provenance_of(store: FeatureStore) -> Provenance:
    """The provenance that a group was written with.

    Raises:
        StoreError: it does not give the fingerprint that stands beside it.
    """
    fields: dict[str, Any] = {k: v for k, v in store.provenance.items() if k != "fingerprint"}
    try:
        provenance = Provenance(**fields)
    except TypeError as error:
        raise StoreError(f"{store.path}: /{store.name}: odd provenance: {error}") from None
    if provenance.fingerprint != store.fingerprint:
        raise StoreError(
            f"{store.path}: /{store.name}: its fingerprint is not that of its provenance"
        )
    return provenance
