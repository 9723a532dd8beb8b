"""FMA: tracks with a tree of genres, covers of albums, biographies, and published splits.

Defferrard et al., "FMA: a dataset for music analysis", ISMIR 2017; card `fma`.
"""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from mmgenre.datasets import sources
from mmgenre.datasets.media_files import by_stem
from mmgenre.datasets.sources import Published, flat_label, refuse
from mmgenre.items.item import Item, Media
from mmgenre.items.labels import SEPARATOR
from mmgenre.items.markup import readable

Subset = Literal["small", "medium", "large"]
SUBSETS: tuple[Subset, ...] = get_args(Subset)  # each contains those before it
Labels = Literal["top", "all"]
TRACKS, GENRES, ALBUMS = "tracks.csv", "genres.csv", "raw_albums.csv"
TEXTS = (("artist", "bio"), ("album", "information"), ("track", "information"))
NEEDED = (
    *(("set", "split"), ("set", "subset"), ("track", "genre_top"), ("track", "genres")),
    *(("artist", "id"), ("artist", "name"), ("album", "id"), ("album", "title")),
)
EXTRA = {
    "title": ("track", "title"),
    "language": ("track", "language_code"),
    "licence": ("track", "license"),
    "artist_number": ("artist", "id"),
    "album_number": ("album", "id"),
}
# Of the small subset, as users report (mdeff/fma, issues 8 and 44 and its wiki).
NO_AUDIO = (99134, 108925, 133297)
SHORT = (1486, 5574, 65753, *range(98565, 98572))

Cells = Mapping[tuple[str, str], str]


def read_fma(
    folder: Path,
    *,
    subset: Subset | None = None,
    labels: Labels | None = None,
    images: Path | None = None,
) -> Published:
    """Reads `fma_metadata`: an item is a track, its split the published one.

    `subset`: "small" (8 genres), "medium" (16) or "large" (default: all tracks). `labels`: "top"
    (default), the one broadest genre, which many tracks of the large subset lack, or "all", every
    genre as a path down the tree of genres. `images`: a folder of covers named by album id
    (`1234.jpg`); their addresses are kept in the column `image_url`. Texts are the artist's
    biography and what is told of album and track, without HTML. Audio is found in `fma_small`,
    `fma_medium`, `fma_large` or `fma_full` in the folder (`000/000002.mp3`). Tracks whose files are
    known to have no audio, or less than 30 s, are left out by name.
    """
    if subset is not None and subset not in SUBSETS:
        refuse(folder, [f"subset {subset!r}: allowed are {', '.join(SUBSETS)}"])
    if labels is not None and labels not in get_args(Labels):
        refuse(folder, [f"labels {labels!r}: allowed are {', '.join(get_args(Labels))}"])
    found = sources.find_files(folder, [TRACKS, GENRES, ALBUMS])
    missing = [name for name in (TRACKS, GENRES) if name not in found]
    refuse(folder, sources.where_to_get(sources.load_card("fma"), missing, folder))
    tree = _paths(found[GENRES])
    addresses = _addresses(found[ALBUMS]) if ALBUMS in found else {}
    covers = by_stem(images, "image") if images is not None else {}
    allowed = SUBSETS[: SUBSETS.index(subset or "large") + 1]
    audio = _audio_folder(folder, subset)
    left_out: list[int] = []
    faults: list[str] = []
    items: list[Item] = []
    written: set[str] = set()
    for line, number, cells in _tracks(found[TRACKS]):
        if cells["set", "subset"] not in allowed:
            continue
        if number in NO_AUDIO or number in SHORT:
            left_out.append(number)
            continue
        try:
            names = _genres(cells, labels or "top", tree)
        except (ValueError, SyntaxError, KeyError, TypeError) as error:
            faults.append(f"line {line}: genres {cells['track', 'genres']!r}: {error!r}")
            continue
        written.update(names)
        items.append(_item(number, cells, names, audio, covers, addresses))
    refuse(found[TRACKS], faults or ([] if items else [f"no track of the subset {subset}"]))
    notes = list(_notes(items, left_out, found, audio, images))
    return Published(str(found[TRACKS]), tuple(items), (*notes, *sources.renamed_note(written)))


def _item(
    number: int,
    cells: Cells,
    names: tuple[str, ...],
    audio: Path | None,
    covers: Mapping[str, Path],
    addresses: Mapping[str, str],
) -> Item:
    item_id, album = f"{number:06}", cells["album", "id"]
    media: dict[str, Media] = {}
    if audio is not None and (track := audio / item_id[:3] / f"{item_id}.mp3").is_file():
        media["audio"] = (track,)
    if album in covers:
        media["image"] = (covers[album],)
    texts = (readable(cells.get(key, "")).strip() for key in TEXTS)
    if told := tuple(text for text in dict.fromkeys(texts) if any(map(str.isalnum, text))):
        media["text"] = told
    extra = {name: cells[key] for name, key in EXTRA.items() if cells.get(key)}
    extra |= {"image_url": addresses[album]} if album in addresses else {}
    split = sources.SPLIT_NAMES.get(cells["set", "split"])
    artist, title = cells["artist", "name"], cells["album", "title"]
    return Item(item_id, artist, title, split, names, media, extra)


def _tracks(path: Path) -> Iterator[tuple[int, int, Cells]]:
    """Lines, track ids and cells by the two names that a column has: there are two header rows."""
    csv.field_size_limit(max(csv.field_size_limit(), 1 << 24))
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        upper, lower, third = (next(rows, []) for _ in range(3))
        columns = list(zip(upper, lower, strict=False))
        lacking = [f"{a}, {b}" for a, b in NEEDED if (a, b) not in columns]
        faults = [f"no column ({name}); its names stand in two rows" for name in lacking]
        if not third or third[0] != "track_id" or any(third[1:]):
            faults.append("line 3: expected 'track_id' alone, as published")
        refuse(path, faults)
        line = rows.line_num + 1
        for row in rows:
            if len(row) != len(columns) or not row[0].isdigit():
                refuse(path, [f"line {line}: {len(row)} cells, the header has {len(columns)}"])
            stripped = map(str.strip, row)
            yield line, int(row[0]), dict(zip(columns, stripped, strict=True))
            line = rows.line_num + 1


def _paths(path: Path) -> dict[int, str]:
    """Genre id -> its path in the tree, broadest first."""
    rows = sources.read_table(path, ("genre_id", "parent", "title"), delimiter=",")
    titles = {int(row["genre_id"]): flat_label(row["title"]) for _, row in rows}
    parents = {int(row["genre_id"]): int(row["parent"]) for _, row in rows}
    found: dict[int, str] = {}
    for genre in titles:
        names, at = [titles[genre]], parents[genre]
        while at:
            if at not in titles or len(names) > len(titles):
                refuse(path, [f"genre {genre}: no way up from {at} to a genre without a parent"])
            names.append(titles[at])
            at = parents[at]
        found[genre] = SEPARATOR.join(reversed(names))
    return found


def _genres(cells: Cells, labels: Labels, tree: Mapping[int, str]) -> tuple[str, ...]:
    if labels == "top":
        top = cells["track", "genre_top"]
        return (flat_label(top),) if top else ()
    ids = ast.literal_eval(cells["track", "genres"] or "[]")
    return tuple(dict.fromkeys(tree[genre] for genre in ids))


def _addresses(path: Path) -> dict[str, str]:
    """Album id -> the address of its cover."""
    csv.field_size_limit(max(csv.field_size_limit(), 1 << 24))
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        name = (rows.fieldnames or ["album_id"])[0]
        return {
            row[name]: address for row in rows if (address := row.get("album_image_file") or "")
        }


def _audio_folder(folder: Path, subset: str | None) -> Path | None:
    """The folder of audio that holds a subset: its own, or a larger one."""
    names = [f"fma_{name}" for name in (*SUBSETS, "full")]
    if subset is not None:
        names = names[names.index(f"fma_{subset}") :]
    else:
        names.reverse()
    places = [place / name for name in names for place in (folder, folder.parent)]
    return next((place for place in places if place.is_dir()), None)


def _notes(
    items: Sequence[Item],
    left_out: Sequence[int],
    found: Mapping[str, Path],
    audio: Path | None,
    images: Path | None,
) -> Iterator[str]:
    if left_out:
        names = ", ".join(f"{n:06}" for n in left_out)
        what = "tracks are left out, whose files are known to have no audio or less than 30 s"
        yield f"{len(left_out)} {what}: {names}"
    bare = sum(not item.labels for item in items)
    if bare:
        yield f"{bare} of {len(items)} tracks have no such genre: they are kept"
    if audio is None:
        yield "no folder fma_small, fma_medium, fma_large or fma_full here: give --audio"
    else:
        lacking = [item.id for item in items if "audio" not in item.media]
        yield from sources.found_note(lacking, f"of {len(items)} tracks have no file in {audio}")
    if images is not None:
        without = sum("image" not in item.media for item in items)
        yield f"{without} of {len(items)} tracks are without a cover of their album"
    elif ALBUMS in found:
        yield "covers are addresses, in column image_url: fetch them, name them by album id"
    yield from sources.split_note(items)
