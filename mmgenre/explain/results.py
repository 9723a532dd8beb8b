"""The shape of qualitative.json: what a report shows of what the models learned, as plain data.

Pictures are JPEG, excerpts MP3, in base64. `truth` and `genres` list genres together with all
genres above them.
"""

from __future__ import annotations

from typing import TypedDict

QUALITATIVE = "qualitative.json"


class TopWord(TypedDict):
    """A word that tells a genre."""

    word: str
    bits: float  # information gain
    speaks_for: bool  # whether the genre is likelier with the word than without
    n_texts: int  # training texts that have it


class GenreWords(TypedDict):
    """The words of one genre, best first; `chance_bits` is the gain that shuffled labels reach."""

    genre: str
    n_texts: int  # training texts of the genre
    chance_bits: float
    words: list[TopWord]


class WordsResult(TypedDict):
    """Information gain of words about genres, on training texts."""

    n_texts: int
    n_words: int
    n_genres: int  # of which the most frequent are in `genres`
    n_shuffles: int
    genres: list[GenreWords]


class Guess(TypedDict):
    """A genre that a model named, and whether the item has it."""

    genre: str
    score: float
    right: bool


class Heat(Guess):
    """A cover, and where it speaks for the genre that the image encoder scores highest."""

    id: str
    truth: list[str]
    cover: str
    overlay: str
    attention: str | None  # networks of patches only: attended places, the same for every genre
    blank: bool  # no place speaks for the genre


class HeatResult(TypedDict):
    """Heat maps of the first test items by id that have a cover."""

    method: str  # "CAM" | "Grad-CAM" | "HiResCAM" | "gradient rollout"
    network: str
    score: str  # "probability" | "cosine"
    block: str  # whose output the map weighs
    is_last: bool  # whether no later block exists
    grid: tuple[int, int]  # rows and columns of the map before it was enlarged
    crop_px: int
    n_with_cover: int  # test items
    items: list[Heat]


class Neighbour(TypedDict):
    """A cover near another one."""

    id: str
    split: str
    genres: list[str]
    cosine: float
    shares: bool  # whether it has the query's broadest genre
    same_artist: bool
    cover: str


class Neighbourhood(TypedDict):
    """A test cover and the covers nearest to it."""

    id: str
    genre: str  # broadest genre of its first label
    genres: list[str]
    cover: str
    nearest: list[Neighbour]


class NeighbourResult(TypedDict):
    """Nearest covers by cosine between image embeddings, among all splits."""

    k: int
    width: int  # of the embeddings
    n_covers: int  # items that have one, all splits
    n_queries: int  # test items that have one, of which `queries` are the first by id
    share: float  # of the k * n_queries neighbours: those with their query's broadest genre
    chance: float  # the same for items drawn at random
    same_artist: float  # of the neighbours
    queries: list[Neighbourhood]


class Point(TypedDict):
    """An item on a map."""

    id: str
    title: str  # its artist and album, where they are known
    x: float
    y: float
    genre: str  # broadest genre of its first label


class PointMap(TypedDict):
    """Vectors of items in two dimensions, by t-SNE."""

    name: str
    detail: str  # which items, from what
    width: int  # dimensions before
    n_items: int  # `points` is a random sample of them where it is shorter
    n_distinct: int
    perplexity: float
    wanted_perplexity: float  # for enough points
    seed: int
    points: list[Point]


class Guesses(TypedDict):
    """The three best genres of one item by both heads."""

    id: str
    truth: list[str]
    logistic: list[Guess]
    cosine: list[Guess]


class GuessTable(TypedDict):
    """Both heads on the first test items by id that have every modality of the row."""

    logistic: str  # name of the fusion
    cosine: str
    row: str
    seed: int
    n_complete: int  # test items that have every modality of the row
    items: list[Guesses]


class Comparison(TypedDict):
    """F1 by genre of a human annotator and of a model."""

    genres: list[str]
    human: list[float]
    model: list[float]
    left_out: list[str]  # genres that the annotator was measured on, but no test item has
    pearson: float | None
    undefined: str  # why there is no `pearson`


class Agreement(Comparison):
    """A human annotator and one row of a fusion."""

    fusion: str
    row: str
    items: str
    n_items: int


class Near(TypedDict):
    """A training item that is similar to another item."""

    id: str
    title: str
    similarity: float  # mean cosine over the inputs that both have
    genres: list[str]


class Example(TypedDict):
    """A test item to look at and to listen to, and what the model says of it."""

    id: str
    title: str  # artist and album, where they are known
    is_mistake: bool  # chosen as one of the surest mistakes; else before anything was predicted
    truth: list[str]
    guesses: list[Guess]  # likeliest first
    base: float  # the score of the likeliest genre where nothing is known
    shares: dict[str, float]  # by modality: exact Shapley values, which add up to the score
    alone: dict[str, Guess]  # the likeliest genre by each modality alone
    words: list[tuple[str, float]]  # of its text, and what each adds: those that add or take most
    seconds: list[tuple[float, float, float]]  # of its first track: from, to, what they add
    places: list[list[float]]  # of its cover: a grid, rows by columns, of what each square adds
    nearest: list[Near]
    cover: str | None
    excerpt: str | None  # MP3 in base64
    text: str | None  # the first characters of its text
    faults: list[str]  # why its media are not shown


class ExamplesResult(TypedDict):
    """Test items chosen by their ids and true genres, then the surest mistakes."""

    fusion: str
    score: str  # "probability" | "cosine"
    n_items: int  # test items that were judged
    n_test: int  # test items that can be judged
    excerpt_s: float
    with_media: bool  # whether excerpts of music and texts were asked for
    unsaid: list[str]  # of which modalities nothing is said below the whole, and why
    items: list[Example]


class ReliabilityResult(TypedDict):
    """What probabilities of test items say, beside what is so: `measuring.calibration`."""

    fusion: str
    exclusive: bool
    n_items: int
    error: float  # expected calibration error
    said: list[float]
    true: list[float]
    n: list[int]


class LackingResult(TypedDict):
    """How one model does on test items that lack modalities; None: it cannot be measured."""

    fusion: str
    metric: str
    n_items: int
    draws: int
    subsets: dict[str, float | None]  # "A+T" -> of items that have no other modalities
    shares: list[float]  # of the modalities, that are hidden at random
    curve: list[float | None]  # one figure for each share


class FoundLeak(TypedDict):
    """A name or text that is in several splits."""

    kind: str
    value: str
    splits: list[str]
    ids: list[str]  # the first


class AuditResult(TypedDict):
    """What items of different splits share, as far as the run knows."""

    checked: list[str]
    n_leaks: int
    leaks: list[FoundLeak]  # the first


class Qualitative(TypedDict):
    """qualitative.json of a run; `missing` holds, for each part that is None, the reason."""

    fingerprint: str
    metrics_sha256: str  # of the metrics.json that it belongs to
    words: WordsResult | None
    heat: HeatResult | None
    neighbours: NeighbourResult | None
    factors: PointMap | None
    covers: PointMap | None
    guesses: list[GuessTable] | None
    human: list[Agreement] | None
    examples: ExamplesResult | None
    reliability: ReliabilityResult | None
    lacking: LackingResult | None
    audit: AuditResult | None
    missing: dict[str, str]
