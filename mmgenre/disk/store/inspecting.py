"""What a store file holds, and whether it still holds what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmgenre.disk.store.guard import open_file
from mmgenre.disk.store.layout import DAMAGE
from mmgenre.disk.store.reading import FeatureStore
from mmgenre.errors import Refusal, StoreError
from mmgenre.progress import Progress, silent


def group_names(path: Path | str) -> tuple[str, ...]:
    """Names of the groups of a store file; () if there is no file."""
    if not Path(path).is_file():
        return ()
    with open_file(Path(path)) as file:
        try:
            names = tuple(sorted(file))
            "".join(names).encode()  # a damaged name may be no text, and could not be printed
        except DAMAGE as error:
            raise StoreError(f"{path}: not a readable HDF5 file ({error})") from None
    return names


def fingerprint_of(path: Path | str, name: str) -> str | None:
    """Fingerprint of a complete group; None if it is not there."""
    if name not in group_names(path):
        return None
    with FeatureStore(path, name) as store:
        return store.fingerprint


def content_hash(path: Path | str) -> str:
    """One hash over ids and values of all groups; provenance and layout do not count."""
    digest = hashlib.sha256()
    for name in group_names(path):
        with FeatureStore(path, name) as store:
            store.verify()
            digest.update(f"{name}\0{store.sha256}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class GroupInfo:
    """A group, as its file describes it; values are not read.

    `row_shape` begins with None if the first axis varies; `n_bytes` is the size of the values in
    the file; `parents` are fingerprints by name.
    """

    name: str
    rows: int
    row_shape: tuple[int | None, ...]
    dtype: str
    n_bytes: int
    fingerprint: str
    stage: str
    stage_version: int
    made_by: str
    parents: Mapping[str, str]
    refused: tuple[Refusal, ...]


def store_info(path: Path | str) -> tuple[GroupInfo, ...]:
    """Describes the groups of a file.

    Raises:
        StoreError: no such file, or a group that is not ours or damaged where it describes itself.
    """
    if not Path(path).is_file():
        raise StoreError(f"{path}: no such file")
    return tuple(group_info(path, name) for name in group_names(path))


def group_info(path: Path | str, name: str) -> GroupInfo:
    """Describes one group."""
    with FeatureStore(path, name) as store:
        made = store.provenance
        try:
            return GroupInfo(
                name=name,
                rows=len(store),
                row_shape=store.row_shape,
                dtype=store.dtype.name,
                n_bytes=store.n_bytes,
                fingerprint=store.fingerprint,
                stage=str(made["stage"]),
                stage_version=int(made["stage_version"]),
                made_by=str(made["made_by"]),
                parents={str(k): str(v) for k, v in made["parents"].items()},
                refused=store.refused,
            )
        except DAMAGE as error:
            raise StoreError(f"{path}: /{name}: odd provenance: {error!r}") from None


@dataclass(frozen=True)
class Verdict:
    """Whether a group is whole; `damage` says what is wrong, `group` is None for a whole file."""

    path: str
    group: str | None
    damage: str | None


def verify_stores(
    paths: Sequence[Path | str], *, progress: Progress = silent
) -> tuple[Verdict, ...]:
    """Reads every value of every group of every file, and compares the checksums.

    Goes on after damage. A file that cannot be opened, or holds nothing, is one verdict.
    """
    verdicts: list[Verdict] = []
    for k, path in enumerate(paths):
        progress("verifying", k, len(paths))
        try:
            names = group_names(path)
            if not names:
                there = "it holds no group" if Path(path).is_file() else "no such file"
                verdicts.append(Verdict(str(path), None, f"{path}: {there}"))
        except StoreError as error:
            verdicts.append(Verdict(str(path), None, str(error)))
            continue
        verdicts += [Verdict(str(path), name, _damage(path, name)) for name in names]
    progress("verifying", len(paths), len(paths))
    return tuple(verdicts)


def _damage(path: Path | str, name: str) -> str | None:
    try:
        with FeatureStore(path, name) as store:
            store.verify()
    except StoreError as error:
        return str(error)
    return None
