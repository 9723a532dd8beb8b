"""The media files of a manifest: which are the same, and what is left of them after an edit."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mmgenre.disk.files import as_on_disk, check_file
from mmgenre.disk.provenance import sha256_file
from mmgenre.errors import InputError, Refusal
from mmgenre.image import fingerprint as pictures
from mmgenre.image.decoding import load_image
from mmgenre.image.settings import ImageInput
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.items.media import check_files, check_folders
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.items.names import text_key
from mmgenre.progress import Progress
from mmgenre.text.decoding import read_text
from mmgenre.workers import WorkerLostError, end_after, limit_s_of, surviving

COVER = ImageInput(size_px=256)
Key = tuple[Modality, str]  # with the hash of a file


class Media:
    """Every file of some modalities, opened once to hash and once, by processes, to decode.

    `files`: the items of each content. `prints`: of each cover and track that could be read, the
    fingerprint. `missing`: the files that cannot be read, sorted by item. `notes`: what was left
    out.
    """

    def __init__(self, manifest: Manifest, kinds: Collection[Modality], progress: Progress) -> None:
        self.files: dict[Key, list[Item]] = {}
        self.prints: dict[Key, NDArray[Any]] = {}
        self.notes: tuple[str, ...] = ()
        self._refused: list[Refusal] = []
        for modality in kinds:
            check_folders(manifest, modality)
        named = (f for item in manifest for m in kinds for f in item.media.get(m, ()))
        check_files(manifest, (as_on_disk(file) for file in named if isinstance(file, Path)))
        decoded: dict[Key, list[tuple[Item, Path]]] = {}
        for number, item in enumerate(manifest):
            progress("checking media", number, len(manifest))
            for modality, path in ((m, p) for m in kinds for p in item.media.get(m, ())):
                if isinstance(path, Path):
                    try:
                        self._look(item, modality, as_on_disk(path), decoded)
                    except (OSError, InputError) as error:
                        self._refuse([item], modality, path, error)
        progress("checking media", len(manifest), len(manifest))
        self._decode(decoded, progress)
        self._add_inline_texts(manifest, kinds)

    @property
    def missing(self) -> tuple[Refusal, ...]:
        return tuple(sorted(self._refused))

    def _look(
        self,
        item: Item,
        modality: Modality,
        path: Path,
        decoded: dict[Key, list[tuple[Item, Path]]],
    ) -> None:
        """Notes the content of a file, and that it is to be decoded."""
        check_file(path)
        key, medium = (modality, _digest(path, modality)), MODALITIES[modality].medium
        # Files of features in place of audio have their own reader.
        if medium == "image" or (medium == "audio" and path.suffix.lower() != ".h5"):
            decoded.setdefault(key, []).append((item, path))
        self.files.setdefault(key, []).append(item)

    def _decode(self, decoded: dict[Key, list[tuple[Item, Path]]], progress: Progress) -> None:
        """Fingerprints of covers and tracks, by processes: a decoder that crashes ends its own."""
        task = "looking at covers, listening to tracks"
        jobs = [(key, MODALITIES[key[0]].medium, own[0][1]) for key, own in decoded.items()]
        for number, ((key, medium, path), found) in enumerate(surviving(_fingerprint, jobs)):
            progress(task, number, len(jobs))
            if isinstance(found, WorkerLostError):
                found = found.of_item(str(path), limit_s_of([path]))
            if not isinstance(found, Exception):
                self.prints[key] = found
                continue
            for item, own in decoded[key]:
                error = found
                if isinstance(found, InputError):
                    error = InputError(found.code, str(own), found.detail)
                self._refuse([item], key[0], own, error)
            if medium == "image":  # no cover: nothing that could be the same as another one
                del self.files[key]
        if jobs:
            progress(task, len(jobs), len(jobs))

    def _refuse(
        self, items: Collection[Item], modality: Modality, path: Path, error: OSError | InputError
    ) -> None:
        for item in items:
            if isinstance(error, InputError):
                self._refused.append(Refusal(item.id, modality, error.code, str(error)))
            else:
                detail = f"{path}: {error.strerror}"
                self._refused.append(Refusal(item.id, modality, "missing", detail))

    def _add_inline_texts(self, manifest: Manifest, kinds: Collection[Modality]) -> None:
        """Adds to the items of a text file those that have its text inline."""
        for modality in kinds:
            if not any(own == modality for own, _ in self.files):
                continue
            for item in manifest:
                for text in (t for t in item.media.get(modality, ()) if isinstance(t, str)):
                    others = self.files.get((modality, _text_digest(text)), [])
                    if others and item not in others:
                        others.append(item)

    def near(self, medium: str) -> list[tuple[Key, Key]]:
        """Pairs of contents of a medium that are near twins: those that hold groups together."""
        keys = sorted(key for key in self.prints if MODALITIES[key[0]].medium == medium)
        prints = [self.prints[key] for key in keys]
        if medium == "image":
            found = pictures.similar(prints)
        elif not keys:
            return []
        else:
            from mmgenre.audio import fingerprint as recordings

            if len(keys) > recordings.MOST:
                most = f"more than {recordings.MOST:,}"
                self.notes += (f"{len(keys):,} tracks are {most}: they were not compared by sound",)
                return []
            found = recordings.similar(prints)
        return sorted((keys[a], keys[b]) for a, b in found)


def _fingerprint(job: tuple[Key, str, Path]) -> NDArray[Any] | OSError | InputError:
    """That of a cover or track, in a process that is ended if it takes too long."""
    _, medium, path = job
    end_after(limit_s_of([path]))
    try:
        if medium == "image":
            return pictures.fingerprint(load_image(path, COVER))
        from mmgenre.audio import fingerprint as recordings  # numba takes its time to import
        from mmgenre.audio.cqt import load_log_cqt

        with threadpool_limits(1, "blas"):
            return recordings.fingerprint(load_log_cqt(path))
    except (OSError, InputError) as error:
        return error
    except MemoryError:
        raise
    except Exception as error:  # damage that a library did not expect
        return InputError("unexpected", str(path), f"{type(error).__name__}: {error}")
    finally:
        end_after(0)


def _digest(path: Path, modality: Modality) -> str:
    """Hash of a file; of a text, of its letters if there are enough."""
    own = ""
    if MODALITIES[modality].medium == "text":
        with suppress(InputError):
            own = _text_digest(read_text(path))
    return own or sha256_file(path)[:16]


def _text_digest(text: str) -> str:
    key = text_key(text)
    return hashlib.sha256(key.encode()).hexdigest()[:16] if key else ""
