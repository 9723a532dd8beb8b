"""Genres by their names alone: words beside audio or covers in the space of one frozen model.

Nothing is trained (Wu et al. 2023, ICASSP, sec. 4; Radford et al. 2021, ICML, sec. 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mmgenre.errors import WeightsError
from mmgenre.frozen.models import Floats, Medium, family_of, load_model
from mmgenre.frozen.places import find
from mmgenre.frozen.settings import FrozenInput, ModelName, names_a_model
from mmgenre.items.labels import levels

# The first as the authors of CLAP evaluate genres.
PROMPTS: Mapping[Medium, str] = {
    "audio": "This audio is a {} song.",
    "image": "An album cover of {} music.",
}


def medium_of(name: ModelName) -> Medium | None:
    """The medium that a model compares with words; None: it does not know words.

    Raises:
        WeightsError: the model is not on this machine.
    """
    place = find(name)
    for medium in PROMPTS:
        try:
            if family_of(place, medium).knows_words:
                return medium
        except WeightsError:
            continue
    return None


def knows_words(encoder: str) -> bool:
    """Whether an encoder, by its name in a recipe, is a model that does, and is on this machine."""
    try:
        return names_a_model(encoder) and medium_of(ModelName.parse(encoder)) is not None
    except WeightsError:
        return False


def prompt(genre: str, medium: Medium) -> str:
    """What a genre is called before a model: its own name, without those above it.

    >>> prompt("Jazz/Vocal Jazz", "audio"), prompt("R&B//Soul", "image")
    ('This audio is a vocal jazz song.', 'An album cover of r&b/soul music.')
    """
    return PROMPTS[medium].format(levels(genre)[-1].replace("//", "/").lower())


def words_of(reads: FrozenInput, medium: Medium, genres: Sequence[str]) -> Floats:
    """The vectors of genres, (n_genres, width), of length 1."""
    words: Floats = load_model(reads, medium).words([prompt(genre, medium) for genre in genres])
    return words


def similarities(vectors: Floats, words: Floats) -> Floats:
    """Cosines of items (n, width) and genres (n_genres, width), (n, n_genres); of no vector 0."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1) @ words.T, np.float32)
