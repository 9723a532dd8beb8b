"""Small folders in the layouts that the authors of the datasets published."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from music import make_sound
from PIL import Image

from mmgenre.datasets.folders import ARCHIVE_FOLDER, GENRES, LEFT_OUT
from mmgenre.datasets.sources import Published
from mmgenre.errors import ManifestError
from mmgenre.items.item import Item

MUMU = "MuMu_dataset_multi-label.csv"
MUMU_HEADER = "amazon_id,album_mbid,MSD_track_id,recording_mbid,artist_mbid,genres"
MUMU_ROWS = (
    'B01,mb-1,TRA,rec-1,art-1,"Jazz,Vocal Jazz"',
    'B01,mb-1,TRB,rec-2,art-1,"Jazz,Vocal Jazz"',
    'B01,mb-1,TRC,rec-3,art-2,"Jazz,Vocal Jazz"',
    "B02,mb-2,TRD,rec-4,art-3,R&B",
    'B03,mb-3,TRE,rec-5,art-3,"Pop,Blues/Rock"',
)
METADATA = [
    {"amazon_id": "B01", "title": "First", "imUrl": "http://x/1.jpg", "categories": [["Jazz"]]},
    {"amazon_id": "B02", "price": 3.5},
    {"amazon_id": "B99", "title": "Elsewhere"},
]
REVIEWS = [
    {"amazon_id": "B01", "reviewText": "third", "unixReviewTime": 30, "overall": 5.0},
    {"amazon_id": "B01", "reviewText": "first", "unixReviewTime": 10},
    {"amazon_id": "B01", "reviewText": "second", "unixReviewTime": 20},
    {"amazon_id": "B02", "reviewText": " ", "unixReviewTime": 20},
    {"amazon_id": "B99", "reviewText": "of another", "unixReviewTime": 20},
]
MSDI_HEADER = "msd_track_id\tgenre\talbum_index\tset\tmsd_artist_id\timage_url"
MSDI_ROWS = (
    "TRA\tRock\t1\ttrain\tAR1\thttp://x/a.jpg",
    "TRB\tNew Age\t2\tval\tAR2\thttp://x/b.jpg",
    'TRC\tRnB\t3\ttest\tAR3\thttp://x/"c.jpg',
)


def make_mumu(folder: Path, rows: Sequence[str] = MUMU_ROWS, header: str = MUMU_HEADER) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MUMU).write_text("\n".join([header, *rows]) + "\n")
    (folder / "amazon_metadata_MuMu.json").write_text(json.dumps(METADATA))
    (folder / "amazon_reviews_MuMu.json").write_text(json.dumps(REVIEWS))
    return folder


def make_msdi(folder: Path, rows: Sequence[str] = MSDI_ROWS, header: str = MSDI_HEADER) -> Path:
    (folder / "MSD-I_dataset.tsv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def make_covers(folder: Path, *names: str) -> Path:
    """Noise, in each file another."""
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
    return folder


def make_covers20k(folder: Path) -> Path:
    names = [f"{ARCHIVE_FOLDER}/{genre}/{k}.jpg" for genre in (*GENRES, *LEFT_OUT) for k in (1, 2)]
    return make_covers(folder, *names)


def make_folders(folder: Path) -> Path:
    return make_covers(folder, "Rock/1.jpg", "Rock/2.png", "Jazz/1.jpg")


def make_table(folder: Path, text: str = "path,genre\na.jpg,Rock\nb.jpg,Jazz;Pop\n") -> Path:
    make_covers(folder, "a.jpg", "b.jpg")
    (folder / "covers.csv").write_text(text, encoding="utf-8")
    return folder


def by_id(published: Published) -> dict[str, Item]:
    return {item.id: item for item in published.items}


def faults(read: Callable[[Path], Published], path: Path) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as caught:
        read(path)
    return caught.value.faults


def noted(published: Published, words: str) -> str:
    """The only note with these words."""
    (note,) = [note for note in published.notes if words in note]
    return note


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


FMA_COLUMNS = (
    *(("album", "id"), ("album", "information"), ("album", "title")),
    *(("artist", "bio"), ("artist", "id"), ("artist", "name")),
    *(("set", "split"), ("set", "subset")),
    *(("track", "genre_top"), ("track", "genres"), ("track", "genres_all")),
    *(("track", "language_code"), ("track", "license"), ("track", "title")),
)
FMA_ROWS = (
    '2,1,"<p>First &amp; only,\nlast.</p>",AWOL,<p></p>,1,AWOL,training,small,'
    "Hip-Hop,[21],[21],en,CC,Food",
    '3,1,"<p>First &amp; only,\nlast.</p>",AWOL,<p></p>,1,AWOL,training,medium,'
    ',"[76, 103]","[17, 10, 76, 103]",en,CC,Electric',
    '5,2,,Two,"<p>A <b>band</b></p>",7,Duo,validation,small,Rock,[12],[12],,CC,"Five, six"',
    "10,3,,Three,,8,Trio,test,large,Pop,[10],[10],,CC,Ten",
    "99134,4,,Four,,9,Quartet,training,small,Rock,[12],[12],,CC,Nothing",
    "1486,4,,Four,,9,Quartet,test,small,Rock,[12],[12],,CC,Short",
)
FMA_GENRES = (
    "genre_id,#tracks,parent,title,top_level\n10,1,0,Pop,10\n12,1,0,Rock,12\n17,1,0,Folk,17\n"
    "21,1,0,Hip-Hop,21\n76,1,10,Experimental Pop,10\n103,1,17,Old-Time / Historic,17\n"
)


def make_fma(folder: Path, rows: Sequence[str] = FMA_ROWS) -> Path:
    """fma_metadata with its two header rows and the third that only says track_id, and audio."""
    upper, lower = ([",".join(["", *(pair[k] for pair in FMA_COLUMNS)])] for k in (0, 1))
    third = "track_id" + "," * len(FMA_COLUMNS)
    table = "\n".join([*upper, *lower, third, *rows]) + "\n"
    _write(folder / "fma_metadata" / "tracks.csv", table)
    _write(folder / "fma_metadata" / "genres.csv", FMA_GENRES)
    albums = "album_id,album_handle,album_image_file\n1,awol,https://x/1.jpg\n2,two,\n"
    _write(folder / "fma_metadata" / "raw_albums.csv", albums)
    for number in (2, 5, 10):
        make_sound(folder / "fma_large" / "000" / f"{number:06}.mp3", hz=100.0 * number)
    return folder


JAMENDO_HEADER = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"
JAMENDO_ROWS = {
    "train": (
        "track_0000241\tartist_000005\talbum_000033\t41/241.mp3\t340.1\tgenre---rock",
        "track_0000242\tartist_000005\talbum_000033\t42/242.mp3\t1.0\tgenre---pop\tgenre---rock"
        "\tmood/theme---sad",
    ),
    "validation": ("track_0000302\tartist_6\talbum_7\t02/302.mp3\t2.0\tgenre---jazz",),
    "test": ("track_0000400\tartist_8\talbum_9\t00/400.mp3\t2.0\tgenre---rock",),
}


def make_jamendo(folder: Path) -> Path:
    for split in range(2):
        for name, rows in JAMENDO_ROWS.items():
            place = folder / "data" / "splits" / f"split-{split}"
            own = rows if split == 0 else rows[:1]
            text = "\n".join([JAMENDO_HEADER, *own]) + "\n"
            _write(place / f"autotagging_genre-{name}.tsv", text)
    return folder


GTZAN_NAMES = ("blues.00000", "blues.00029", "jazz.00001", "jazz.00054", "rock.00007", "rock.00008")


def make_gtzan(folder: Path) -> Path:
    """The copy at Kaggle, with the lists of the filtered split and of fold 1 beside it."""
    for number, name in enumerate(GTZAN_NAMES):
        genre = name.partition(".")[0]
        path = folder / "Data" / "genres_original" / genre / f"{name}.wav"
        make_sound(path, hz=150.0 * (number + 1))
    lists = {
        "train_filtered": ("blues/blues.00029.wav", "rock/rock.00007.wav"),
        "valid_filtered": ("jazz/jazz.00001.wav",),
        "test_filtered": ("rock/rock.00008.wav", "pop/pop.00003.wav"),
        "f1_train": (
            "./blues_00000.wav\tblues",
            "./blues_00029.wav\tblues",
            "./rock_00007.wav\trock",
        ),
        "f1_train_groups": ("1", "2", "3"),
        "f1_test": ("./jazz_00001.wav", "./rock_00008.wav"),
        "f1_evaluate": ("./jazz_00001.wav\tjazz", "./rock_00008.wav\trock"),
    }
    for name, lines in lists.items():
        _write(folder / f"{name}.txt", "\n".join(lines) + "\n")
    return folder


def make_music4all(folder: Path) -> Path:
    _write(
        folder / "id_genres.csv", "id\tgenres\n0009fF\trock,pop\n00Abc1\tr&b/soul\n00Xyz2\tjazz\n"
    )
    _write(
        folder / "id_information.csv",
        'id\tartist\tsong\talbum_name\n0009fF\tOne\tSong "A"\tFirst\n00Abc1\tTwo\tB\tSecond\n',
    )
    _write(folder / "id_lang.csv", "id\tlang\n0009fF\ten\n00Abc1\tINTRUMENTAL\n")
    make_sound(folder / "audios" / "0009fF.mp3")
    _write(folder / "lyrics" / "0009fF.txt", "words of a song")
    return folder


def make_music4all_aa(folder: Path) -> Path:
    """Sixteen albums, of which the first ten are of training; the rest keep a modality in lists."""
    place = folder / "dataset"
    ids = [f"{k:08}-aaaa" for k in range(16)]
    for number, mbid in enumerate(ids):
        about = {"name": f"Album {number}", "artist": f"Artist {number}", "genres": ["rock"]}
        about |= {"wiki": {"summary": f"Album number {number}."}}  # type: ignore[dict-item]
        told = {"mbid": mbid, "album_info": {"album": about}}
        _write(place / "album" / f"{mbid}.json", json.dumps(told))
    make_covers(place / "album", *(f"{mbid}{end}.jpg" for mbid in ids for end in ("", "_2", "_10")))
    _write(place / "music4all_album_split.json", json.dumps({"train": ids[:10]}))
    test = ids[10:]
    lists = {str(p): test[: max(1, len(test) * p // 100)] for p in range(10, 101, 10)}
    _write(
        place / "album_modality_splits.json", json.dumps({"train": [], "missing_modality": lists})
    )
    return folder


def make_hf(folder: Path) -> Path:
    """An audiofolder with covers: a table in train/, lines of JSON in test/."""
    for split, names in (("train", "ab"), ("test", "c")):
        for number, name in enumerate(names):
            make_sound(folder / split / f"{name}.wav", hz=200.0 + 100 * ord(name))
            make_covers(folder / split, f"{split}{number}.png")
    table = "file_name,cover_file_name,label,artist,mood\na.wav,train0.png,Rock,One,calm\n"
    _write(folder / "train" / "metadata.csv", table + "b.wav,,Jazz,Two,\n")
    row = {"file_name": "c.wav", "genres": ["Rock", "R&B/Soul"], "text": "loud", "artist": "Three"}
    _write(folder / "test" / "metadata.jsonl", json.dumps(row) + "\n")
    return folder
