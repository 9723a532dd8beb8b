"""Manifests and labels of any content, drawn by hypothesis."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mmgenre.items.item import SPLITS, Item, Media
from mmgenre.items.labels import LabelSpace, ancestors, closure
from mmgenre.items.manifest import Manifest

QUICK = settings(max_examples=40, deadline=None)

# Any text that UTF-8 can hold, with what CSV treats specially drawn often.
NASTY = st.text(
    st.one_of(
        st.sampled_from(list(",;\"'\n\r\t #/|=\\\ufeff\u2028\u0085🎵é")),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    max_size=20,
)
INLINE = NASTY.filter(str.strip)
# Names as a cell of a manifest gives them back: without spaces around them.
NAMES = NASTY.map(str.strip)
ENTRIES = NAMES.filter(lambda name: name and ";" not in name)
LABELS = st.lists(st.sampled_from(["A", "A/B", "A/B/C", "Ä b", 'D "x", y', "E"]), unique=True)
FILES = st.lists(
    st.sampled_from(["a.mp3", "b c.mp3", 'd"e,f.mp3', "g\nh.mp3", "sub/i.mp3"]), unique=True
)
IDS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="#"), min_size=1, max_size=8
).filter(lambda text: text == text.strip())


@st.composite
def items(draw: st.DrawFn) -> list[Item]:
    """Items with distinct ids; media are files of /media and inline texts."""
    made = []
    for item_id in draw(st.lists(IDS, min_size=1, max_size=6, unique=True)):
        audio: Media = tuple(Path("/media", name) for name in draw(FILES))
        reviews = [Path("/media", name) for name in draw(FILES)]
        text: Media = (*reviews, *draw(st.lists(INLINE, max_size=1)))
        media = {"audio": audio, "text": text, "image": audio[:1]}
        made.append(
            Item(
                item_id,
                draw(NAMES),
                draw(NAMES),
                draw(st.sampled_from([*SPLITS, None])),
                tuple(draw(LABELS)),
                {m: found for m, found in media.items() if found},
                {"note": draw(NASTY), "blank row?": draw(NASTY)},
            )
        )
    return made


def resolved(manifest: Manifest) -> list[Item]:
    """The items, their files as absolute paths."""
    return [
        Item(
            i.id,
            i.artist,
            i.album,
            i.split,
            i.labels,
            {
                m: tuple(f.resolve() if isinstance(f, Path) else f for f in media)
                for m, media in i.media.items()
            },
            i.extra,
        )
        for i in manifest
    ]


@QUICK
@given(items(), st.randoms(use_true_random=False))
def test_any_manifest_comes_back_as_it_was_and_in_any_order(
    given_items: list[Item], rng: random.Random
) -> None:
    manifest = Manifest(given_items)
    with tempfile.TemporaryDirectory() as folder:
        path = manifest.write(Path(folder, "m.csv"))
        back = Manifest.read(path)
        again = back.write(Path(folder, "again.csv"))
        assert again.read_bytes() == path.read_bytes()
    assert resolved(back) == resolved(manifest) == sorted(given_items, key=lambda item: item.id)
    permuted = Manifest(rng.sample(given_items, len(given_items)))
    for other in (back, permuted):
        assert other.sha256 == manifest.sha256
        assert other.task_digest == manifest.task_digest
        assert other.info() == manifest.info()


@QUICK
@given(st.permutations(range(6)), INLINE)
def test_rows_of_a_file_in_any_order_are_the_same_manifest(order: list[int], text: str) -> None:
    quoted = text.replace('"', '""')
    rows = [f'i{k},Artist {k % 2},Rock;Pop/{k % 3},{k}.mp3,"{quoted}{k}"' for k in range(6)]
    header = "id,artist,labels,audio,text"
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, "a.csv"), Path(folder, "b.csv")]
        paths[0].write_bytes("\n".join([header, *rows]).encode())
        paths[1].write_bytes("\n".join([header, *(rows[k] for k in order)]).encode())
        one, two = (Manifest.read(path) for path in paths)
    assert one.items == two.items
    assert one.sha256 == two.sha256
    assert [dict(one.rows(m)) for m in ("audio", "text")] == [
        dict(two.rows(m)) for m in ("audio", "text")
    ]


@QUICK
@given(st.lists(LABELS.filter(bool), min_size=1, max_size=30), st.booleans())
def test_labels_come_back_from_their_matrix(rows: list[list[str]], exclusive: bool) -> None:
    space = LabelSpace(tuple(sorted(closure(name for row in rows for name in row))), exclusive)
    y = space.encode(rows)
    for row, encoded in zip(rows, y, strict=True):
        found = {space.names[j] for j in encoded.nonzero()[0]}
        assert found == ({ancestors(row[0])[0]} if exclusive else closure(row))
        assert closure(found) == found


@QUICK
@given(st.lists(LABELS.filter(bool), min_size=1, max_size=30))
def test_the_closure_adds_all_ancestors_and_nothing_else(rows: list[list[str]]) -> None:
    for row in rows:
        found = closure(row)
        assert found >= set(row)
        assert all(any(f"{label}/".startswith(f"{name}/") for label in row) for name in found)
        assert {name.rpartition("/")[0] for name in found} - {""} <= found
