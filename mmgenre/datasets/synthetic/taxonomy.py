"""Which genres there are, how each sounds, reads and looks, and which albums a catalogue holds.

No modality is enough alone. Each one pairs off six of the eight genres and gives both genres of a
pair the same family of styles; no two genres are paired in more than one modality:

    audio   Country = Folk     Rock = Pop          Jazz = Latin
    text    Rock = Metal       Electronic = Pop    Jazz = Folk
    image   Country = Rock     Electronic = Jazz   Pop = Latin
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

Modality = Literal["audio", "text", "image"]
MODALITIES: tuple[Modality, ...] = ("audio", "text", "image")


class Subgenre(NamedTuple):
    """A row of the taxonomy: how often it is made, and the style it has in each modality."""

    weight: int  # albums of 240 whose main label it is
    audio: str
    text: str
    image: str


SUBGENRES: Mapping[str, Subgenre] = {
    "Rock/Indie Rock": Subgenre(20, "band.jangle", "riff", "road.figure"),
    "Rock/Classic Rock": Subgenre(16, "band.drive", "riff", "road.desert"),
    "Rock/Punk": Subgenre(12, "band.fast", "riff", "road.town"),
    "Rock/Progressive Rock": Subgenre(8, "band.slow", "riff", "road.hills"),
    "Electronic/House": Subgenre(16, "club.house", "hook", "modern.grid"),
    "Electronic/Techno": Subgenre(12, "club.techno", "hook", "modern.bars"),
    "Electronic/Ambient": Subgenre(9, "club.ambient", "hook", "modern.void"),
    "Electronic/Drum & Bass": Subgenre(7, "club.breaks", "hook", "modern.rings"),
    "Pop/Dance Pop": Subgenre(15, "band.fast", "hook", "bright.rays"),
    "Pop/Indie Pop": Subgenre(12, "band.jangle", "hook", "bright.dots"),
    "Pop/Ballads": Subgenre(9, "band.slow", "hook", "bright.face"),
    "Jazz/Swing": Subgenre(12, "combo.swing", "room", "modern.bars"),
    "Jazz/Vocal Jazz": Subgenre(10, "combo.soft", "room", "modern.rings"),
    "Jazz/Latin Jazz": Subgenre(7, "combo.clave", "room", "modern.grid"),
    "Metal/Thrash": Subgenre(10, "heavy.fast", "riff", "dark.spikes"),
    "Metal/Doom": Subgenre(8, "heavy.slow", "riff", "dark.ruin"),
    "Metal/Black Metal": Subgenre(6, "heavy.blast", "riff", "dark.sigil"),
    "Folk/Singer-Songwriter": Subgenre(11, "acoustic.ballad", "room", "hand.leaf"),
    "Folk/Celtic": Subgenre(9, "acoustic.picking", "room", "hand.knot"),
    "Country/Honky-Tonk": Subgenre(7, "acoustic.shuffle", "south", "road.town"),
    "Country/Bluegrass": Subgenre(6, "acoustic.picking", "south", "road.hills"),
    "Country/Outlaw Country": Subgenre(4, "acoustic.ballad", "south", "road.desert"),
    "Latin/Salsa": Subgenre(8, "combo.clave", "fiesta", "bright.rays"),
    "Latin/Bossa Nova": Subgenre(6, "combo.soft", "fiesta", "bright.face"),
}

# Where an album's further labels come from, if not from its own top-level genre.
RELATED: Mapping[str, tuple[str, ...]] = {
    "Rock": ("Metal", "Pop", "Folk"),
    "Electronic": ("Pop", "Jazz"),
    "Pop": ("Rock", "Electronic", "Latin"),
    "Jazz": ("Latin", "Electronic"),
    "Metal": ("Rock", "Electronic"),
    "Folk": ("Country", "Rock"),
    "Country": ("Folk", "Rock"),
    "Latin": ("Jazz", "Pop"),
}

ATYPICAL_SHARE = 0.15  # of the albums, in each modality: the style of an unrelated genre
MISSING_SHARE: Mapping[Modality, float] = {"audio": 0.10, "text": 0.10, "image": 0.12}
N_FURTHER_LABELS = (0.6, 0.28, 0.12)  # shares of the albums with none, one and two
N_TRACKS = (0.6, 0.3, 0.1)  # shares of the albums with one, two and three
N_ALBUMS_PER_ARTIST = (0.3, 0.3, 0.25, 0.15)  # shares of the artists with one to four
STRAYED_SHARE = 0.08  # of the albums: made outside their artist's genre

FIRST_NAMES = ["Ada", "Bruno", "Carmen", "Della", "Emil", "Frida", "Goran", "Hazel", "Ivo", "Juna", "Kaspar", "Lena", "Milo", "Nadia", "Otis", "Petra", "Quinn", "Rosa", "Silas", "Thea", "Umar", "Vera", "Wanda", "Yuri", "Zora"]
LAST_NAMES = ["Abel", "Brandt", "Castell", "Dorn", "Ekdal", "Farrow", "Grant", "Holm", "Ibsen", "Jarvis", "Keller", "Lund", "Moreau", "Novak", "Ortega", "Pryce", "Quist", "Rhodes", "Sandoval", "Thorne", "Ulven", "Varga", "Wilde", "Yates", "Zeller"]
ADJECTIVES = ["Amber", "Broken", "Copper", "Distant", "Empty", "Feral", "Golden", "Hollow", "Idle", "Jagged", "Kind", "Little", "Marble", "Northern", "Open", "Paper", "Quiet", "Restless", "Silver", "Tidal", "Upper", "Velvet", "Winter", "Yellow", "Zero"]
NOUNS = ["Anchors", "Bridges", "Canyons", "Doors", "Echoes", "Ferries", "Gardens", "Harbours", "Islands", "Journals", "Kites", "Lanterns", "Mirrors", "Needles", "Oceans", "Pilots", "Queens", "Rivers", "Shadows", "Towers", "Umbrellas", "Valleys", "Windows", "Years"]


class Album(NamedTuple):
    """An album as planned; its files follow from it and from the seed alone."""

    index: int
    id: str
    artist: str
    title: str
    labels: tuple[str, ...]  # taxonomy paths, the main one first
    # The subgenres whose style each modality wears, the strongest first; none where it is missing.
    wears: Mapping[Modality, tuple[str, ...]]
    n_tracks: int


def top_level(label: str) -> str:
    """The genre that a taxonomy path begins with.

    >>> top_level("Jazz/Vocal Jazz")
    'Jazz'
    """
    return label.split("/")[0]


def plan_albums(seed: int, n_albums: int) -> list[Album]:
    """Every album of the catalogue, in the order of their ids; media are not made yet."""
    rng = np.random.default_rng((seed, n_albums))
    mains = _main_labels(n_albums, rng)
    artists = _artists(mains, rng)
    albums = []
    for index, position in enumerate(rng.permutation(n_albums)):
        labels = (mains[position], *_further_labels(mains[position], rng))
        albums.append(
            Album(
                index=index,
                id=f"syn-{index + 1:04d}",
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
    people = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
    bands = [f"The {adjective} {noun}" for adjective in ADJECTIVES for noun in NOUNS]
    names = people + bands
    if n > len(names):
        raise ValueError(f"n_albums: {n} asked for, at most {len(names)} can be named")
    return [names[i] for i in rng.permutation(len(names))[:n]]


def _title(rng: np.random.Generator) -> str:
    adjective, noun = str(rng.choice(ADJECTIVES)), str(rng.choice(NOUNS))
    patterns = (f"{adjective} {noun}", noun, f"{noun} and {rng.choice(NOUNS)}", f"No {noun}")
    return patterns[int(rng.integers(len(patterns)))]


def _further_labels(main: str, rng: np.random.Generator) -> list[str]:
    further: list[str] = []
    for _ in range(int(rng.choice(len(N_FURTHER_LABELS), p=N_FURTHER_LABELS))):
        genre = top_level(main)
        if rng.random() < 0.6:
            genre = str(rng.choice(RELATED[genre]))
        labels = [
            label
            for label in SUBGENRES
            if top_level(label) == genre and label not in (main, *further)
        ]
        weights = np.array([SUBGENRES[label].weight for label in labels], dtype=float)
        further.append(str(rng.choice(labels, p=weights / weights.sum())))
    return further


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
