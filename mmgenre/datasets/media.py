"""The media files of a manifest: which are the same, and what is left of them after an edit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mmgenre.disk.files import as_on_disk, check_file
from mmgenre.disk.provenance import sha256_file
from mmgenre.errors import InputError, Refusal
from mmgenre.image import fingerprint as pictures
from mmgenre.image.decoding import load_image
from mmgenre.image.settings import ImageInput
from mmgenre.items.manifest import Item, Manifest
from mmgenre.items.media import check_files, check_folders
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.items.names import text_key
from mmgenre.progress import Progress
from mmgenre.text.decoding import read_text

COVER = ImageInput(size_px=256)
Key = tuple[Modality, str]  # with the hash of a file


class Media:
    """Every file of some modalities, opened once.

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
        # Decoders of audio run beside each other. Those of covers do not: they change what Python
        # does about warnings, for all threads.
        pool = ThreadPoolExecutor(os.cpu_count())
        tracks: dict[Key, tuple[Path, Future[NDArray[Any]]]] = {}
        with ExitStack() as ending:
            ending.callback(pool.shutdown, cancel_futures=True)  # also after Ctrl-C
            for number, item in enumerate(manifest):
                progress("checking media", number, len(manifest))
                for modality, path in ((m, p) for m in kinds for p in item.media.get(m, ())):
                    if isinstance(path, Path):
                        try:
                            self._look(item, modality, as_on_disk(path), pool, tracks)
                        except (OSError, InputError) as error:
                            self._refuse([item], modality, path, error)
            progress("checking media", len(manifest), len(manifest))
            for number, (key, (path, track)) in enumerate(tracks.items()):
                progress("listening to tracks", number, len(tracks))
                try:
                    self.prints[key] = track.result()
                except (OSError, InputError) as error:
                    self._refuse(self.files[key], key[0], path, error)
            if tracks:
                progress("listening to tracks", len(tracks), len(tracks))
        self._add_inline_texts(manifest, kinds)

    @property
    def missing(self) -> tuple[Refusal, ...]:
        return tuple(sorted(self._refused))

    def _look(
        self,
        item: Item,
        modality: Modality,
        path: Path,
        pool: ThreadPoolExecutor,
        tracks: dict[Key, tuple[Path, Future[NDArray[Any]]]],
    ) -> None:
        check_file(path)
        key, medium = (modality, _digest(path, modality)), MODALITIES[modality].medium
        if medium == "image" and key not in self.prints:
            self.prints[key] = pictures.fingerprint(load_image(path, COVER))
        # Files of features in place of audio have their own reader.
        elif medium == "audio" and key not in tracks and path.suffix.lower() != ".h5":
            tracks[key] = path, pool.submit(_listen, path)
        self.files.setdefault(key, []).append(item)

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


def _listen(path: Path) -> NDArray[Any]:
    from mmgenre.audio import fingerprint as recordings  # numba takes its time to import
    from mmgenre.audio.cqt import load_log_cqt

    return recordings.fingerprint(load_log_cqt(path))


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
