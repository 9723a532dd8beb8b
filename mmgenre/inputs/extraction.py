"""The input stage: media of a manifest -> one feature store a modality, safe to kill.

Rows are read in parts of `PART_ROWS`; a finished part is a store file of its own, committed by
rename, and is not done again. At the end the parts are merged into one file and removed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.config import Settings
from mmgenre.errors import InputError, Refusal
from mmgenre.inputs.audio import AudioInput, load_audio
from mmgenre.inputs.entities import PATHS, annotator_of, entity_provenance
from mmgenre.inputs.image import ImageInput, load_image
from mmgenre.inputs.text import TextInput, load_text
from mmgenre.manifest import Manifest, Modality
from mmgenre.progress import Progress, silent
from mmgenre.provenance import Provenance
from mmgenre.store import FeatureStore, fingerprint_of, write_store

STAGE_VERSION = 1
PART_ROWS = 32

Media = tuple[Path | str, ...]
Read = Callable[[Media], NDArray[Any]]


def read_audio(media: Media, config: AudioInput) -> NDArray[np.float16] | NDArray[np.float32]:
    """One track -> log CQT in dB, (frames, 96), or its timbre, (48,)."""
    # librosa takes its time to import
    from mmgenre.inputs.cqt import log_cqt
    from mmgenre.inputs.timbre import load_timbre

    if config.features == "cqt":
        return log_cqt(load_audio(Path(media[0]), config)).astype(np.float16)
    return load_timbre(Path(media[0]), config)


def read_text(media: Media, config: TextInput, row_id: str | None = None) -> NDArray[np.uint8]:
    """An item's texts -> UTF-8 bytes, (n_bytes,)."""
    return np.frombuffer(load_text(media, config, row_id).encode(), np.uint8)


def read_image(media: Media, config: ImageInput) -> NDArray[np.uint8]:
    """A cover -> (size_px, size_px, 3) bytes."""
    return load_image(Path(media[0]), config)


READERS: dict[Modality, Callable[[Media, Any], NDArray[Any]]] = {
    "audio": read_audio,
    "text": read_text,
    "image": read_image,
}


def is_ragged(config: Settings) -> bool:
    """Whether the rows differ in length: CQTs and texts do, timbres and covers do not."""
    if isinstance(config, AudioInput):
        return config.features == "cqt"
    return isinstance(config, TextInput)


def work_list(manifest: Manifest, modality: Modality) -> list[tuple[str, Media]]:
    """(row id, its media): audio has a row a track, the others a row an item."""
    work: list[tuple[str, Media]] = []
    for item in manifest:
        if modality in item.media:
            media = item.media[modality]
            if modality == "audio":
                work += [(row, (file,)) for row, file in zip(item.tracks, media, strict=True)]
            else:
                work.append((item.id, media))
    return work


def media_digest(work: Sequence[tuple[str, Media]]) -> str:
    """Hash over row ids, file names, sizes and times of change, and texts given inline."""
    digest = hashlib.sha256()
    for row_id, media in work:
        for source in media:
            if isinstance(source, Path):
                try:
                    state = source.stat()
                    mark = f"{source.name}\0{state.st_size}\0{state.st_mtime_ns}"
                except OSError:
                    mark = f"{source.name}\0missing"
            else:
                mark = f"text\0{source}"
            digest.update(f"{row_id}\0{mark}\n".encode())
    return digest.hexdigest()


def inputs_provenance(manifest: Manifest, modality: Modality, config: Settings) -> Provenance:
    """What the inputs of a modality are made from: the media as they are now, and the settings."""
    media = media_digest(work_list(manifest, modality))
    if not isinstance(config, TextInput):
        parameters = {modality: config.model_dump(), "media": media}
        return Provenance("inputs", STAGE_VERSION, parameters)
    # What the files hold counts, not where they lie.
    settings = config.model_dump(exclude={"entities": PATHS})
    tables = entity_provenance(config.entities)
    parameters = {modality: settings, "media": media, "entities": tables}
    return Provenance("inputs", STAGE_VERSION, parameters)


def extract_inputs(
    manifest: Manifest,
    modality: Modality,
    config: Settings,
    target: Path,
    *,
    workers: int | None = None,
    progress: Progress = silent,
) -> Path:
    """Reads one modality of every item that has it into the store file `target`.

    Damaged items are refused, kept in the store's list of refusals, and never end the run. A
    call that was killed goes on where it was; one with nothing to do does nothing.
    """
    work = work_list(manifest, modality)
    provenance = inputs_provenance(manifest, modality, config)
    folder = target.with_name(target.name + ".parts")
    if fingerprint_of(target, modality) == provenance.fingerprint:
        shutil.rmtree(folder, ignore_errors=True)  # left by a kill just after the merge
        return target
    if isinstance(config, TextInput):
        annotator_of(config.entities)  # its faults are the run's, not each item's
    parts = [work[start : start + PART_ROWS] for start in range(0, len(work), PART_ROWS)]
    paths = [folder / f"{k:06d}.h5" for k in range(len(parts))]
    task = f"reading {modality}"
    done = 0
    progress(task, done, len(work))
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for part, path in zip(parts, paths, strict=True):
            if fingerprint_of(path, modality) != provenance.fingerprint:
                outcomes = pool.map(lambda row: _read_one(row, modality, config), part)
                _write_part(path, modality, list(outcomes), provenance, is_ragged(config))
            done += len(part)
            progress(task, done, len(work))
    _merge(paths, target, modality, provenance, is_ragged(config))
    shutil.rmtree(folder, ignore_errors=True)
    return target


Outcome = tuple[str, NDArray[Any]] | Refusal


def _read_one(row: tuple[str, Media], modality: Modality, config: Settings) -> Outcome:
    row_id, media = row
    read: Callable[..., NDArray[Any]] = READERS[modality]
    if isinstance(config, TextInput) and config.entities.annotator != "none":
        read = partial(read, row_id=row_id)  # annotations may be listed by item
    try:
        return row_id, read(media, config)
    except InputError as error:
        return Refusal(row_id, modality, error.code, str(error))
    except Exception as error:  # a library met damage that we did not foresee; the run goes on
        files = [str(source) for source in media if isinstance(source, Path)]
        where = files[0] if files else f"inline text of {row_id}"
        detail = f"{where}: {type(error).__name__}: {error} [unexpected]"
        return Refusal(row_id, modality, "unexpected", detail)


def _write_part(
    path: Path,
    modality: Modality,
    outcomes: Sequence[Outcome],
    provenance: Provenance,
    ragged: bool,
) -> None:
    rows = [outcome for outcome in outcomes if not isinstance(outcome, Refusal)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    ids, values = [row_id for row_id, _ in rows], [value for _, value in rows]
    write_store(path, modality, [(ids, values)], provenance, refused=refused, ragged=ragged)


def _merge(
    paths: Sequence[Path], target: Path, modality: Modality, provenance: Provenance, ragged: bool
) -> None:
    refused: list[Refusal] = []

    def blocks() -> Iterator[tuple[tuple[str, ...], list[NDArray[Any]]]]:
        for path in paths:
            with FeatureStore(path, modality) as part:
                part.verify()
                refused.extend(part.refused)
                yield part.ids, [part.read(row_id) for row_id in part.ids]

    write_store(target, modality, blocks(), provenance, refused=refused, ragged=ragged)
