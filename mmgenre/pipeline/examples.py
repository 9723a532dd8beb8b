"""Test items to look at and to listen to, with what the model says of them and why.

The first are chosen by their ids and true genres, so that nobody can choose them by their results;
behind them stand the surest mistakes, which say most about what goes wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmgenre.audio.decoding import load_audio
from mmgenre.audio.settings import AudioInput
from mmgenre.errors import InputError, ManifestError
from mmgenre.explain import results
from mmgenre.explain.excerpt import RATE_HZ, mp3_base64
from mmgenre.explain.overlay import jpeg_base64
from mmgenre.explain.similarity import broadest, title_of
from mmgenre.fusion.prediction import Neighbour, Prediction
from mmgenre.fusion.ranking import Asked, rank
from mmgenre.image.decoding import load_image
from mmgenre.image.settings import ImageInput
from mmgenre.items.item import Item
from mmgenre.items.media import check_files
from mmgenre.pipeline.example_pieces import with_own_pieces
from mmgenre.pipeline.judged import Judged
from mmgenre.pipeline.run import Run
from mmgenre.text.decoding import read_text

N_FIRST, N_MISTAKES = 8, 4
N_GUESSES, N_WORDS = 5, 6
COVER_PX = 320
EXCERPT_S = 8.0
TEXT_CHARACTERS = 160


def examples_of(run: Run, judged: Judged, *, with_media: bool) -> results.ExamplesResult:
    """`with_media`: with excerpts of tracks and texts, which the page then gives to its readers."""
    first = _first_of_genres(run, judged)
    mistakes = [k for k in _mistakes(judged) if k not in first][:N_MISTAKES]
    chosen = np.array([*first, *mistakes], dtype=np.intp)
    table = judged.table.select(chosen)
    order = judged.whole.modalities
    asked = Asked(explain=True)
    predictions = rank(judged.whole.model, judged.trust, table, order, asked, {})
    predictions, unsaid = with_own_pieces(run, judged, table, predictions)
    names = judged.whole.model.labels.names
    items: list[results.Example] = []
    for k, predicted in zip(chosen.tolist(), predictions, strict=True):
        truth = [names[j] for j in np.flatnonzero(judged.whole.y[k])]
        own = _Media.of(run, run.manifest[predicted.id], with_media=with_media)
        items.append(_example(run, predicted, truth, own, is_mistake=k in mistakes))
    return {
        "fusion": judged.whole.name,
        "score": predictions[0].kind,
        "n_items": len(judged.table),
        "n_test": judged.n_test,
        "excerpt_s": EXCERPT_S,
        "with_media": with_media,
        "unsaid": unsaid,
        "items": items,
    }


def _first_of_genres(run: Run, judged: Judged) -> list[int]:
    """The first items by id, of as many broadest genres as possible; best those with all media."""
    n_inputs = np.sum(list(judged.table.present.values()), axis=0)
    by_id = sorted(range(len(n_inputs)), key=lambda k: (-n_inputs[k], judged.table.ids[k]))
    told: dict[str, int] = {}
    for k in by_id:
        told.setdefault(broadest(run.manifest[judged.table.ids[k]].labels), k)
    one_each = list(told.values())[:N_FIRST]
    others = [k for k in by_id if k not in one_each][: N_FIRST - len(one_each)]
    return [*one_each, *others]


def _mistakes(judged: Judged) -> list[int]:
    """The items whose likeliest genre is wrong, surest first."""
    best = judged.scores.argmax(axis=1)
    rows = np.arange(len(best))
    wrong = np.flatnonzero(~judged.whole.y[rows, best])
    sure: NDArray[np.float64] = judged.scores[wrong, best[wrong]]
    return [int(wrong[k]) for k in np.argsort(-sure, kind="stable")]


@dataclass
class _Media:
    """What the page holds of an item's media; a fault of one leaves the others."""

    cover: str | None = None
    excerpt: str | None = None
    text: str | None = None
    faults: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, run: Run, item: Item, *, with_media: bool) -> _Media:
        found = cls()
        readers: dict[str, tuple[str, Callable[[Path | str], str]]] = {"cover": ("image", _cover)}
        if with_media:
            readers |= {"excerpt": ("audio", _excerpt), "text": ("text", _text)}
        for name, (modality, read) in readers.items():
            source = next(iter(item.media.get(modality, ())), None)
            if source is None:
                continue
            try:
                if isinstance(source, Path):
                    check_files(run.manifest, [source])
                setattr(found, name, read(source))
            except (InputError, ManifestError, OSError) as error:
                found.faults.append(f"{name}: {error}")
        return found


def _cover(source: Path | str) -> str:
    return jpeg_base64(load_image(Path(source), ImageInput(size_px=COVER_PX)), COVER_PX)


def _excerpt(source: Path | str) -> str:
    return mp3_base64(load_audio(Path(source), AudioInput(excerpt_s=EXCERPT_S), RATE_HZ))


def _text(source: Path | str) -> str:
    text = " ".join((read_text(source) if isinstance(source, Path) else source).split())
    return text if len(text) <= TEXT_CHARACTERS else f"{text[:TEXT_CHARACTERS]}…"


def _example(
    run: Run, predicted: Prediction, truth: list[str], media: _Media, *, is_mistake: bool
) -> results.Example:
    reasons = predicted.reasons
    assert reasons is not None  # they were asked for
    return {
        "id": predicted.id,
        "title": title_of(run.manifest[predicted.id]),
        "is_mistake": is_mistake,
        "truth": truth,
        "guesses": [
            {"genre": g.name, "score": g.score, "right": g.name in truth}
            for g in predicted.genres[:N_GUESSES]
        ],
        "base": reasons.base,
        "shares": dict(reasons.shares),
        "alone": {
            modality: {"genre": g.name, "score": g.score, "right": g.name in truth}
            for modality, g in reasons.alone.items()
        },
        "words": [(word.name, word.share) for word in reasons.words[:N_WORDS]],
        "seconds": [(s.start_s, s.end_s, s.share) for s in reasons.seconds if s.track == 0],
        "places": [list(row) for row in reasons.cover],
        "nearest": list(_near(run, reasons.nearest)),
        **vars(media),  # type: ignore[typeddict-item]
    }


def _near(run: Run, nearest: tuple[Neighbour, ...]) -> Iterator[results.Near]:
    for near in nearest:
        known = near.id in run.manifest
        yield {
            "id": near.id,
            "title": title_of(run.manifest[near.id]) if known else near.id,
            "similarity": near.similarity,
            "genres": list(near.genres),
        }
