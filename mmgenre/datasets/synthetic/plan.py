"""Which albums a catalogue holds: labels, artists, and which modality wears which style."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmgenre.datasets.synthetic.taxonomy import RELATED, SUBGENRES, top_level
from mmgenre.items.manifest import MODALITIES, Modality

ATYPICAL_SHARE = 0.07  # of the albums, in each modality: the style of an unrelated genre
MISSING_SHARE: Mapping[Modality, float] = {"audio": 0.10, "text": 0.10, "image": 0.12}
N_FURTHER_LABELS = (0.6, 0.28, 0.12)  # shares of the albums with none, one and two
SAME_GENRE_FACTOR = 2  # how much rather a further label is of the main label's genre
N_TRACKS = (0.6, 0.3, 0.1)  # shares of the albums with one, two and three
N_ALBUMS_PER_ARTIST = (0.3, 0.3, 0.25, 0.15)  # shares of the artists with one to four
STRAYED_SHARE = 0.08  # of the albums: made outside their artist's genre

# Split where they are used.
FIRST_NAMES = (
    "Ada Bruno Carmen Della Emil Frida Goran Hazel Ivo Juna Kaspar Lena Milo Nadia Otis Petra "
    "Quinn Rosa Silas Thea Umar Vera Wanda Yuri Zora"
)
LAST_NAMES = (
    "Abel Brandt Castell Dorn Ekdal Farrow Grant Holm Ibsen Jarvis Keller Lund Moreau Novak "
    "Ortega Pryce Quist Rhodes Sandoval Thorne Ulven Varga Wilde Yates Zeller"
)
ADJECTIVES = (
    "Amber Broken Copper Distant Empty Feral Golden Hollow Idle Jagged Kind Little Marble Northern "
    "Open Paper Quiet Restless Silver Tidal Upper Velvet Winter Yellow Zero"
)
NOUNS = (
    "Anchors Bridges Canyons Doors Echoes Ferries Gardens Harbours Islands Journals Kites Lanterns "
    "Mirrors Needles Oceans Pilots Queens Rivers Shadows Towers Umbrellas Valleys Windows Years"
)


class Album(NamedTuple):
    """An album as planned; its files follow from it and from the seed alone."""

    number: int  # from 0
    id: str
    artist: str
    title: str
    labels: tuple[str, ...]  # taxonomy paths, the main one first
    # The subgenres whose style each modality wears, the strongest first; none where it is missing.
    wears: Mapping[Modality, tuple[str, ...]]
    n_tracks: int


def plan_albums(seed: int, n_albums: int) -> list[Album]:
    """Every album of the catalogue, in the order of their ids; media are not made yet."""
    rng = np.random.default_rng((seed, n_albums))
    mains = _main_labels(n_albums, rng)
    artists = _artists(mains, rng)
    albums = []
    for number, position in enumerate(rng.permutation(n_albums)):
        labels = (mains[position], *_further_labels(mains[position], rng))
        albums.append(
            Album(
                number=number,
                id=f"syn-{number + 1:04d}",
                artist=artists[position],
                title=_title(rng),
                labels=labels,
                wears=_worn_styles(labels, rng),
                n_tracks=1 + int(rng.choice(len(N_TRACKS), p=N_TRACKS)),
            )
        )
    return albums


def _main_labels(n_albums: int, rng: np.random.Generator) -> list[str]:
    """Main labels in proportion to the weights (largest remainders), grouped by genre."""
    weights = np.array([subgenre.weight for subgenre in SUBGENRES.values()], dtype=float)
    quotas = weights / weights.sum() * n_albums
    counts = np.floor(quotas).astype(int)
    missing = n_albums - int(counts.sum())
    counts[np.argsort(counts - quotas, kind="stable")[:missing]] += 1
    mains: list[str] = []
    for genre in RELATED:
        of_genre = [
            label
            for label, count in zip(SUBGENRES, counts, strict=True)
            for _ in range(count)
            if top_level(label) == genre
        ]
        # Mixed within the genre: else one artist could hold a whole subgenre, and no
        # artist-disjoint split could have it on both sides.
        mains += [of_genre[i] for i in rng.permutation(len(of_genre))]
    return mains


def _artists(mains: Sequence[str], rng: np.random.Generator) -> list[str]:
    """An artist for every album: one to four albums each, mostly of one genre."""
    names = _artist_names(len(mains), rng)
    artists: list[str] = []
    for genre in RELATED:
        left = sum(top_level(label) == genre for label in mains)
        while left:
            size = 1 + int(rng.choice(len(N_ALBUMS_PER_ARTIST), p=N_ALBUMS_PER_ARTIST))
            artists += [names.pop()] * min(size, left)
            left -= min(size, left)
    strayed = rng.permutation(len(mains))[: round(STRAYED_SHARE * len(mains))]
    for position, other in zip(strayed, np.roll(strayed, 1).tolist(), strict=True):
        artists[position], artists[other] = artists[other], artists[position]
    return artists


def _artist_names(n: int, rng: np.random.Generator) -> list[str]:
    people = [f"{first} {last}" for first in FIRST_NAMES.split() for last in LAST_NAMES.split()]
    bands = [
        f"The {adjective} {noun}" for adjective in ADJECTIVES.split() for noun in NOUNS.split()
    ]
    names = people + bands
    if n > len(names):
        raise ValueError(f"n_albums: {n} asked for, at most {len(names)} can be named")
    return [names[i] for i in rng.permutation(len(names))[:n]]


def _title(rng: np.random.Generator) -> str:
    adjective = str(rng.choice(ADJECTIVES.split()))
    noun, other = (str(word) for word in rng.choice(NOUNS.split(), size=2, replace=False))
    patterns = (f"{adjective} {noun}", noun, f"{noun} and {other}", f"No {noun}")
    return patterns[int(rng.integers(len(patterns)))]


def _further_labels(main: str, rng: np.random.Generator) -> list[str]:
    genre = top_level(main)
    weights = {
        label: subgenre.weight * (SAME_GENRE_FACTOR if top_level(label) == genre else 1)
        for label, subgenre in SUBGENRES.items()
        if top_level(label) in (genre, *RELATED[genre]) and label != main
    }
    n_further = int(rng.choice(len(N_FURTHER_LABELS), p=N_FURTHER_LABELS))
    shares = np.array(list(weights.values())) / sum(weights.values())
    return [str(label) for label in rng.choice(list(weights), n_further, replace=False, p=shares)]


def _worn_styles(
    labels: tuple[str, ...], rng: np.random.Generator
) -> dict[Modality, tuple[str, ...]]:
    wears: dict[Modality, tuple[str, ...]] = {}
    related = {top_level(label) for label in labels}
    strangers = [label for label in SUBGENRES if top_level(label) not in related]
    for modality in MODALITIES:
        atypical = rng.random() < ATYPICAL_SHARE
        wears[modality] = (str(rng.choice(strangers)),) if atypical else labels
    missing = [m for m in MODALITIES if rng.random() < MISSING_SHARE[m]]
    if len(missing) == len(MODALITIES):
        missing.pop(int(rng.integers(len(missing))))
    for modality in missing:
        wears[modality] = ()
    return wears
