"""The genres, the style of each in every modality, and the plan of a catalogue's albums.

No modality is sufficient alone. Each one forms pairs of six of the eight genres and gives both
genres of a pair the same family of styles; no two genres are paired in more than one modality:

    audio   Country = Folk     Rock = Pop          Jazz = Latin
    text    Rock = Metal       Electronic = Pop    Jazz = Folk
    image   Country = Rock     Electronic = Jazz   Pop = Latin
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from mmgenre.items.modalities import Modality

ATYPICAL_SHARE = 0.07  # of the albums, in each modality: the style of an unrelated genre
MISSING_SHARE: Mapping[Modality, float] = {"audio": 0.10, "text": 0.10, "image": 0.12}
N_FURTHER_LABELS = (0.6, 0.28, 0.12)  # shares of the albums with none, one and two
SAME_GENRE_FACTOR = 2  # how much likelier a further label is if it is of the main label's genre
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


class Genre(NamedTuple):
    """The family of a genre's styles in each modality."""

    audio: str
    text: str
    image: str
    related: tuple[str, ...]  # the genres of an album's further labels, if not its own


GENRES: Mapping[str, Genre] = {
    "Rock": Genre("band", "riff", "road", ("Metal", "Pop", "Folk")),
    "Electronic": Genre("club", "hook", "modern", ("Pop", "Jazz")),
    "Pop": Genre("band", "hook", "bright", ("Rock", "Electronic", "Latin")),
    "Jazz": Genre("combo", "room", "modern", ("Latin", "Electronic")),
    "Metal": Genre("heavy", "riff", "dark", ("Rock", "Electronic")),
    "Folk": Genre("acoustic", "room", "hand", ("Country", "Rock")),
    "Country": Genre("acoustic", "south", "road", ("Folk", "Rock")),
    "Latin": Genre("combo", "fiesta", "bright", ("Jazz", "Pop")),
}


class Subgenre(NamedTuple):
    """A subgenre's own way within the families of its genre."""

    weight: int  # albums of 240 whose main label it is
    audio: str
    image: str
    words: str  # of its reviews


SUBGENRES: Mapping[str, Subgenre] = {
    "Rock/Indie Rock": Subgenre(20, "jangle", "figure", "jangle, lo-fi, college radio"),
    "Rock/Classic Rock": Subgenre(16, "drive", "desert", "arena, anthems, vinyl-era"),
    "Rock/Punk": Subgenre(12, "fast", "town", "three-chord, mosh, safety-pin"),
    "Rock/Progressive Rock": Subgenre(8, "slow", "hills", "suites, odd meters, concept"),
    "Electronic/House": Subgenre(16, "house", "grid", "four-to-the-floor, deep house, disco"),
    "Electronic/Techno": Subgenre(12, "techno", "bars", "warehouse, acid, machine"),
    "Electronic/Ambient": Subgenre(9, "ambient", "void", "drones, drifting, weightless"),
    "Electronic/Drum & Bass": Subgenre(7, "breaks", "rings", "breakbeats, jungle, sub-bass"),
    "Pop/Dance Pop": Subgenre(15, "fast", "rays", "dancefloor, chart, bubblegum"),
    "Pop/Indie Pop": Subgenre(12, "jangle", "dots", "twee, bedroom, bittersweet"),
    "Pop/Ballads": Subgenre(9, "slow", "face", "tearful, piano-led, slow dance"),
    "Jazz/Swing": Subgenre(12, "swing", "bars", "big band, swinging, walking bass"),
    "Jazz/Vocal Jazz": Subgenre(10, "soft", "spotlight", "crooning, scat, torch songs"),
    "Jazz/Latin Jazz": Subgenre(7, "clave", "grid", "clave, montuno, Afro-Cuban"),
    "Metal/Thrash": Subgenre(10, "fast", "spikes", "thrashing, palm-muted, breakneck"),
    "Metal/Doom": Subgenre(8, "slow", "ruin", "sludge, funereal, slow-motion"),
    "Metal/Black Metal": Subgenre(6, "blast", "sigil", "blast beats, shrieks, frostbitten"),
    "Folk/Singer-Songwriter": Subgenre(11, "ballad", "leaf", "confessional, storytelling, diary"),
    "Folk/Celtic": Subgenre(9, "picking", "knot", "reels, jigs, bagpipes"),
    "Country/Honky-Tonk": Subgenre(7, "shuffle", "town", "pedal steel, jukebox, two-step"),
    "Country/Bluegrass": Subgenre(6, "picking", "barn", "banjo, mandolin, picking"),
    "Country/Outlaw Country": Subgenre(4, "ballad", "desert", "outlaws, prison, rebel"),
    "Latin/Salsa": Subgenre(8, "clave", "rays", "salsa, horn section, dancers' club"),
    "Latin/Bossa Nova": Subgenre(6, "soft", "face", "bossa, Rio, nylon strings"),
}


class Album(NamedTuple):
    """The plan of an album; its files depend only on it and on the seed."""

    number: int  # from 0
    id: str
    artist: str
    title: str
    labels: tuple[str, ...]  # taxonomy paths, the main one first
    # The subgenres whose style each modality has, the strongest first; none where it is missing.
    wears: Mapping[Modality, tuple[str, ...]]
    n_tracks: int


def genre_of(label: str) -> str:
    """The genre at the top of a taxonomy path."""
    return label.split("/")[0]


def plan_albums(seed: int, n_albums: int) -> list[Album]:
    """Every album of the catalogue, in the order of their ids; their media are made later."""
    rng = np.random.default_rng((seed, n_albums))
    mains = _main_labels(n_albums, rng)
    artists = _artists(mains, rng)
    albums = []
    for number, position in enumerate(rng.permutation(n_albums)):
        labels = (mains[position], *_further_labels(mains[position], rng))
        adjective = str(rng.choice(ADJECTIVES.split()))
        noun, other = (str(word) for word in rng.choice(NOUNS.split(), size=2, replace=False))
        titles = (f"{adjective} {noun}", noun, f"{noun} and {other}", f"No {noun}")
        title = titles[int(rng.integers(len(titles)))]
        wears = _worn_styles(labels, rng)
        n_tracks = 1 + int(rng.choice(len(N_TRACKS), p=N_TRACKS))
        album_id = f"syn-{number + 1:04d}"
        albums.append(Album(number, album_id, artists[position], title, labels, wears, n_tracks))
    return albums


def _main_labels(n_albums: int, rng: Generator) -> list[str]:
    """Main labels in proportion to the weights (largest remainders), grouped by genre."""
    weights = np.array([subgenre.weight for subgenre in SUBGENRES.values()], dtype=float)
    quotas = weights / weights.sum() * n_albums
    counts = np.floor(quotas).astype(int)
    counts[np.argsort(counts - quotas, kind="stable")[: n_albums - counts.sum()]] += 1
    labels = np.repeat(list(SUBGENRES), counts).tolist()
    mains: list[str] = []
    for genre in GENRES:
        of_genre = [label for label in labels if genre_of(label) == genre]
        # Mixed within the genre: otherwise one artist could have a whole subgenre, and no
        # artist-disjoint split could have it on both sides.
        mains += [of_genre[i] for i in rng.permutation(len(of_genre))]
    return mains


def _artists(mains: Sequence[str], rng: Generator) -> list[str]:
    """An artist for every album: one to four albums each, mostly of one genre."""
    pool = [f"{first} {last}" for first in FIRST_NAMES.split() for last in LAST_NAMES.split()]
    pool += [f"The {first} {last}" for first in ADJECTIVES.split() for last in NOUNS.split()]
    n = len(mains)
    if n > len(pool):
        raise ValueError(f"n_albums: {n} is too large, there are names for at most {len(pool)}")
    names = [pool[i] for i in rng.permutation(len(pool))[:n]]
    artists: list[str] = []
    for genre in GENRES:
        left = sum(genre_of(label) == genre for label in mains)
        while left:
            size = 1 + int(rng.choice(len(N_ALBUMS_PER_ARTIST), p=N_ALBUMS_PER_ARTIST))
            artists += [names.pop()] * min(size, left)
            left -= min(size, left)
    strayed = rng.permutation(n)[: round(STRAYED_SHARE * n)]
    for position, other in zip(strayed, np.roll(strayed, 1).tolist(), strict=True):
        artists[position], artists[other] = artists[other], artists[position]
    return artists


def _further_labels(main: str, rng: Generator) -> list[str]:
    genre = genre_of(main)
    weights = {
        label: subgenre.weight * (SAME_GENRE_FACTOR if genre_of(label) == genre else 1)
        for label, subgenre in SUBGENRES.items()
        if genre_of(label) in (genre, *GENRES[genre].related) and label != main
    }
    n_further = int(rng.choice(len(N_FURTHER_LABELS), p=N_FURTHER_LABELS))
    shares = np.array(list(weights.values())) / sum(weights.values())
    return [str(label) for label in rng.choice(list(weights), n_further, replace=False, p=shares)]


def _worn_styles(labels: tuple[str, ...], rng: Generator) -> dict[Modality, tuple[str, ...]]:
    wears: dict[Modality, tuple[str, ...]] = {}
    related = {genre_of(label) for label in labels}
    strangers = [label for label in SUBGENRES if genre_of(label) not in related]
    for modality in MISSING_SHARE:
        atypical = rng.random() < ATYPICAL_SHARE
        wears[modality] = (str(rng.choice(strangers)),) if atypical else labels
    missing = [m for m, share in MISSING_SHARE.items() if rng.random() < share]
    if len(missing) == len(MISSING_SHARE):
        missing.pop(int(rng.integers(len(missing))))
    return wears | dict.fromkeys(missing, ())
