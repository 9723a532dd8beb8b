"""What a word, some seconds of a track or a part of a cover adds to a score.

By occlusion (Zeiler and Fergus 2014): the item is judged again without the piece, its other
modalities as they are, and the share is the score less that score. The piece is left out of the
rows that the encoders read, of all views of the modality at once; so one way serves every encoder.
What others can stand in for has a small share: of a word and its twin, neither has a large one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.config import Settings
from mmgenre.disk.files import as_on_disk
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import Block, FeatureStore, write_store
from mmgenre.errors import MmgenreError
from mmgenre.fusion.prediction import Piece, Prediction, Reasons, Span
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import MODALITIES, Modality, modality_of
from mmgenre.kinds import kind_of
from mmgenre.learning.kind import Pieces, resolve
from mmgenre.progress import Progress, silent

Vector = NDArray[np.float32]
Vectors = Mapping[str, dict[str, Vector]]  # by view, then by item
Row = NDArray[Any]
Media = Sequence[Path | str]
Key = tuple[int, tuple[Any, ...]]  # track (0 of a medium without), and pieces of it
MADE_BY = Provenance("pieces", 1, {})
WHOLE = "whole"  # the item with all of its pieces
FAULTS = (MmgenreError, OSError, RuntimeError, ValueError)  # of media that have just been read


@dataclass(frozen=True)
class Judge:
    """What is needed of a tagger."""

    reads: Mapping[str, Settings]  # of the inputs of each view
    # (view, rows of its inputs) -> item -> vector, of those of which its encoder knows something
    embedded: Callable[[str, FeatureStore], Mapping[str, Vector]]
    # (ids, vectors by view) -> (n, n_labels)
    scores: Callable[[tuple[str, ...], Vectors], NDArray[np.float64]]
    genres: Sequence[str]


def with_pieces(
    predictions: Sequence[Prediction],
    manifest: Manifest,
    judge: Judge,
    inputs: Mapping[str, Path],
    vectors: Vectors,
    progress: Progress = silent,
) -> list[Prediction]:
    """Adds to the reasons of predictions what pieces add; one item after the other.

    `inputs`: by view the store of what its encoder reads; `vectors`: of the items, by view.
    """
    found = []
    with ExitStack() as stack:
        stores = {
            view: stack.enter_context(FeatureStore(path, modality_of(view)))
            for view, path in inputs.items()
        }
        for k, prediction in enumerate(predictions):
            progress("explaining", k, len(predictions))
            reasons = prediction.reasons
            assert reasons is not None
            own = {view: rows.get(prediction.id) for view, rows in vectors.items()}
            for modality in [m for m in prediction.used if m in MODALITIES]:
                looked = _Looked(manifest[prediction.id], modality, judge, stores, own)
                try:
                    reasons = looked.added_to(reasons)
                except FAULTS as error:
                    note = f"{modality}: its parts could not be looked at: {error}"
                    reasons = replace(reasons, notes=(*reasons.notes, note))
            found.append(replace(prediction, reasons=reasons))
    progress("explaining", len(predictions), len(predictions))
    return found


@dataclass(frozen=True)
class _Looked:
    """One modality of one item, looked at piece by piece."""

    item: Item
    modality: Modality
    judge: Judge
    stores: Mapping[str, FeatureStore]
    vectors: Mapping[str, Vector | None]  # of the item, by view; None: it has none

    def added_to(self, reasons: Reasons) -> Reasons:
        """Reasons with the shares of the pieces."""
        kind = kind_of(self.modality)
        if kind.pieces is None:
            return reasons
        pieces: Pieces = resolve(kind.pieces)
        views, whole = dict[str, list[str]](), list[str]()
        for view in self.stores:
            if modality_of(view) != self.modality or self.vectors[view] is None:
                continue
            if pieces.divides(self.judge.reads[view]):
                views.setdefault(self.judge.reads[view].model_dump_json(), []).append(view)
            else:
                whole.append(view)
        notes = [f"{view}: reads a summary, of which no part can be left out" for view in whole]
        inputs = [self._input(own) for own in views.values()]
        tracks = sorted({track for own in inputs for track in own.rows})
        keys: list[Key] = []
        for track in tracks:
            here = [own for own in inputs if track in own.rows]
            rows = [(own.rows[track], own.reads) for own in here]
            found = pieces.of(rows, self._media()[track], len(tracks))
            found = self._known(pieces, found, here)
            most = pieces.most(rows)
            if most is not None and len(found) > most:
                n_found = len(found)
                found = self._strongest(pieces, here, track, found, most, reasons.genre)
                what = f"{len(found):,} of {n_found:,}, from the parts that change the score most"
                notes.append(f"{self.modality}: looked at {what}")
            keys += [(track, (piece,)) for piece in found]
        reasons = replace(reasons, notes=(*reasons.notes, *notes))
        if not keys:
            return reasons
        shares = self._shares(pieces, inputs, keys, reasons.genre)
        alone = [(track, piece) for track, (piece,) in keys]
        return TOLD[MODALITIES[self.modality].medium](reasons, alone, shares)

    def _media(self) -> list[Media]:
        """The files or inline texts of each row."""
        return [
            [as_on_disk(m.absolute()) if isinstance(m, Path) else m for m in media]
            for _, media in Manifest([self.item]).rows(self.modality)
        ]

    def _input(self, views: Sequence[str]) -> _Input:
        """What views of the same settings read. What a frozen model has read is read again."""
        kind, reads, store = (
            kind_of(self.modality),
            self.judge.reads[views[0]],
            self.stores[views[0]],
        )
        ids = [row_id for row_id, _ in Manifest([self.item]).rows(self.modality)]
        here = {track: row_id for track, row_id in enumerate(ids) if row_id in store}
        if kind.embed(reads) is None:
            return _Input(views, reads, {k: store.read(row_id) for k, row_id in here.items()})
        media = self._media()
        rows = {track: kind.read(media[track], reads, row_id) for track, row_id in here.items()}
        return _Input(views, reads, rows)

    def _known(self, pieces: Pieces, found: list[Any], inputs: Sequence[_Input]) -> list[Any]:
        """The pieces of which some encoder knows something; others change no score."""
        kind = kind_of(self.modality)
        by_model = any(kind.embed(own.reads) is not None for own in inputs)  # it knows all
        if not found or pieces.alone is None or by_model:
            return found
        rows = [(str(k), pieces.alone(piece)) for k, piece in enumerate(found)]
        of_views = [vectors for own in inputs for vectors in self._embedded(own, rows).values()]
        known = {row_id for vectors in of_views for row_id in vectors}
        return [piece for k, piece in enumerate(found) if str(k) in known]

    def _strongest(
        self,
        pieces: Pieces,
        inputs: Sequence[_Input],
        track: int,
        found: list[Any],
        most: int,
        genre: str,
    ) -> list[Any]:
        """Of many pieces those of the parts without which the score changes most.

        Half of the rows that may be embedded are without a part, the others are left for pieces.
        """
        size = -(-len(found) // (most // 2))
        parts = [tuple(found[k : k + size]) for k in range(0, len(found), size)]
        shares = self._shares(pieces, inputs, [(track, part) for part in parts], genre)
        order = np.argsort(-np.abs(shares), kind="stable")
        chosen = set([piece for k in order for piece in parts[k]][: most - len(parts)])
        return [piece for piece in found if piece in chosen]

    def _shares(
        self,
        pieces: Pieces,
        inputs: Sequence[_Input],
        keys: Sequence[Key],
        genre: str,
    ) -> list[float]:
        """Of each key the score less that without its pieces."""
        ids = tuple(str(k) for k in range(len(keys)))
        vectors: dict[str, dict[str, Vector]] = {
            view: {} if whole is None else {WHOLE: whole, **dict.fromkeys(ids, whole)}
            for view, whole in self.vectors.items()
        }
        for own in inputs:
            changed = {k: key for k, key in zip(ids, keys, strict=True) if key[0] in own.rows}
            rows = chain(
                ((f"track {track}", row) for track, row in own.rows.items() if len(own.rows) > 1),
                (
                    (k, pieces.without(own.rows[track], own.reads, left_out))
                    for k, (track, left_out) in changed.items()
                ),
            )
            for view, found in self._embedded(own, rows).items():
                whole = vectors[view][WHOLE]
                for k, (track, _) in changed.items():
                    without = found.get(k, np.zeros_like(whole))
                    if len(own.rows) > 1:  # of an album, whose vector is the mean over its tracks
                        change = without - found[f"track {track}"]
                        without = whole + change / np.float32(len(own.rows))
                    vectors[view][k] = without
        scores = self.judge.scores((WHOLE, *ids), vectors)[:, self.judge.genres.index(genre)]
        return [float(scores[0] - score) for score in scores[1:]]

    def _embedded(
        self, own: _Input, rows: Iterable[tuple[str, Row]]
    ) -> dict[str, Mapping[str, Vector]]:
        """By view the vectors of rows as `Kind.read` gives them, of those that it knows."""
        kind = kind_of(self.modality)
        model = kind.embed(own.reads)

        def blocks() -> Iterator[Block]:
            for row_id, row in rows:  # one by one: samples of a track may fill much memory
                yield [row_id], [row] if model is None else resolve(model)([row], own.reads)

        with TemporaryDirectory(prefix="mmgenre-") as folder:
            path, is_ragged = Path(folder) / "pieces.h5", kind.is_ragged(own.reads)
            write_store(path, self.modality, blocks(), MADE_BY, ragged=is_ragged)
            with FeatureStore(path, self.modality) as store:
                return {view: self.judge.embedded(view, store) for view in own.views}


@dataclass(frozen=True)
class _Input:
    """What some views of a modality read of an item."""

    views: Sequence[str]
    reads: Settings
    rows: Mapping[int, Row]  # by track; 0 of a medium without tracks


def _words(reasons: Reasons, keys: Sequence[tuple[int, Any]], shares: Sequence[float]) -> Reasons:
    words = [Piece(word, share) for (_, word), share in zip(keys, shares, strict=True)]
    both = sorted([*reasons.words, *words], key=lambda word: -abs(word.share))
    return replace(reasons, words=tuple(both))


def _seconds(reasons: Reasons, keys: Sequence[tuple[int, Any]], shares: Sequence[float]) -> Reasons:
    spans = [
        Span(window.start_s, window.end_s, share, track)
        for (track, window), share in zip(keys, shares, strict=True)
    ]
    return replace(reasons, seconds=(*reasons.seconds, *spans))


def _cover(reasons: Reasons, keys: Sequence[tuple[int, Any]], shares: Sequence[float]) -> Reasons:
    grid = np.zeros(np.max([cell for _, cell in keys], axis=0) + 1)
    for (_, cell), share in zip(keys, shares, strict=True):
        grid[cell] = share
    return replace(reasons, cover=tuple(map(tuple, grid.tolist())))


# By medium: (reasons, (track, piece) of each, their shares) -> reasons with these.
TOLD: Mapping[str, Callable[[Reasons, Sequence[tuple[int, Any]], Sequence[float]], Reasons]] = {
    "audio": _seconds,
    "text": _words,
    "image": _cover,
}
