from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmgenre.errors import ManifestError
from mmgenre.items.item import SPLITS, Item
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import Modality


def catalogue(folder: Path) -> list[Item]:
    return [
        Item(
            "b2",
            "Beyoncé; live",
            'The "Album", vol. 1',
            "train",
            ("Jazz/Vocal Jazz", "R&B"),
            {
                "audio": (folder / "audio" / "1.mp3", folder / "audio" / "2.mp3"),
                "text": (folder / "b2.txt", 'Quoted: "yes", no;\nsecond line\r\n\r\nthird'),
                "image": (folder / "covers" / "b 2.jpg",),
            },
            {"year": "1999", "note": "a,b"},
        ),
        Item("a1", labels=("Rock",), split="val", extra={"year": "", "note": ""}),
        Item("é3", media={"text": ("  padded  ",)}, extra={"year": "2", "note": "'"}),
    ]


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_round_trip(tmp_path: Path) -> None:
    manifest = Manifest(catalogue(tmp_path))
    back = Manifest.read(manifest.write(tmp_path / "m.csv"))
    assert back.items == manifest.items
    assert back.sha256 == manifest.sha256
    again = back.write(tmp_path / "again.csv")
    assert again.read_bytes() == (tmp_path / "m.csv").read_bytes()


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    manifest = Manifest(catalogue(tmp_path))
    path = manifest.write(tmp_path / "runs" / "x" / "m.csv")
    assert "../../audio/1.mp3;../../audio/2.mp3" in path.read_text()
    found = Manifest.read(path)["b2"].media["audio"][0]
    assert Path(found).resolve() == tmp_path / "audio" / "1.mp3"


def test_paths_lead_home_from_a_folder_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "deep" / "runs").mkdir(parents=True)
    (tmp_path / "runs").symlink_to(tmp_path / "disk" / "deep" / "runs")
    media = tmp_path / "audio" / "1.mp3"
    media.parent.mkdir()
    media.touch()
    path = Manifest([Item("a", media={"audio": (media,)})]).write(tmp_path / "runs" / "m.csv")
    assert Path(Manifest.read(path)["a"].media["audio"][0]).is_file()


def test_paths_lead_home_from_a_manifest_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "set" / "lists").mkdir(parents=True)
    (tmp_path / "disk" / "set" / "1.mp3").touch()
    (tmp_path / "lists").symlink_to(tmp_path / "disk" / "set" / "lists")
    given = Manifest.read(write(tmp_path / "lists" / "m.csv", "id,audio\na,../1.mp3\n"))
    copy = Manifest.read(given.write(tmp_path / "runs" / "m.csv"))
    for manifest in (given, copy):
        assert Path(manifest["a"].media["audio"][0]).is_file()


def test_a_medium_that_is_a_link_keeps_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "blob").touch()
    (tmp_path / "1.mp3").symlink_to(tmp_path / "blob")
    manifest = Manifest([Item("a", media={"audio": (tmp_path / "1.mp3",)})])
    assert Manifest.read(manifest.write(tmp_path / "m.csv")).sha256 == manifest.sha256


def test_several_inline_texts_become_one_and_the_hash_stays(tmp_path: Path) -> None:
    manifest = Manifest([Item("a", media={"text": ("first", "second")})])
    back = Manifest.read(manifest.write(tmp_path / "m.csv"))
    assert back["a"].media["text"] == ("first\n\nsecond",)
    assert back.sha256 == manifest.sha256


def test_items_are_sorted_by_id_and_found(tmp_path: Path) -> None:
    manifest = Manifest(catalogue(tmp_path))
    assert manifest.ids() == ("a1", "b2", "é3")
    assert [item.id for item in manifest] == list(manifest.ids())
    assert manifest["b2"].artist == "Beyoncé; live"
    assert "b2" in manifest
    assert "b3" not in manifest
    assert len(manifest) == 3


def test_ids_by_split_and_modality(tmp_path: Path) -> None:
    manifest = Manifest(catalogue(tmp_path))
    assert manifest.ids("train") == ("b2",)
    assert manifest.ids("test") == ()
    assert manifest.ids(having=["text"]) == ("b2", "é3")
    assert manifest.ids("train", having=["text", "audio"]) == ("b2",)
    assert manifest.ids("val", having=["text"]) == ()


def test_tracks_are_numbered() -> None:
    manifest = Manifest([Item("x", media={"audio": (Path("a"), Path("b"))})])
    assert list(manifest.rows("audio")) == [("x#0", (Path("a"),)), ("x#1", (Path("b"),))]


def test_only_the_id_column_is_needed(tmp_path: Path) -> None:
    assert Manifest.read(write(tmp_path / "m.csv", "id\nb\na\n")).items == (Item("a"), Item("b"))


def test_file_texts_come_before_the_inline_text(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "text,id,text_file\ninline,a,1.txt; 2.txt\n")
    texts = Manifest.read(path)["a"].media["text"]
    assert texts == (tmp_path / "1.txt", tmp_path / "2.txt", "inline")


def test_an_absolute_path_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "id,audio\na,/data/a.mp3\n")
    assert Manifest.read(path)["a"].media["audio"] == (Path("/data/a.mp3"),)


def test_unknown_columns_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "licence,id,source\nCC BY,a,x y\n")
    manifest = Manifest.read(path)
    assert manifest["a"].extra == {"licence": "CC BY", "source": "x y"}
    assert Manifest.read(manifest.write(tmp_path / "n.csv"))["a"].extra == manifest["a"].extra


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_byte_order_marks_and_line_ends(tmp_path: Path, bom: str, end: str) -> None:
    text = bom + end.join(["id,labels,text", 'a,Rock;Pop,"one', 'two"', "b,Jazz,", ""])
    manifest = Manifest.read(write(tmp_path / "m.csv", text))
    assert manifest.ids() == ("a", "b")
    assert manifest["a"].labels == ("Rock", "Pop")
    assert manifest["a"].media == {"text": (f"one{end}two",)}
    assert manifest["b"].media == {}


@pytest.mark.parametrize(
    "text",
    [
        'a "quoted" word, a comma; a semicolon',
        "line\nline\r\nline\rline",
        "next\u0085line \u2028 separator \u2029 paragraph \x0b tab \x0c feed \x1c \x1e",
        "emoji 🎵, combining e\u0301, right-to-left שלום, zero\u200bwidth, bom \ufeff inside",
        "=cmd()|-@",
        "x" * (1 << 20),
    ],
)
def test_any_text_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    items = [Item("a", media={"text": (text,)}), Item("b", media={"text": ("short",)})]
    back = Manifest.read(Manifest(items).write(tmp_path / "m.csv"))
    assert back.items == tuple(items)


def test_random_texts_round_trip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    alphabet = list("ab ,;\"'\n\r\t\\#/|=é\u2028\u0085\ufeff\x00")
    texts = ["x" + "".join(rng.choice(alphabet, size=rng.integers(1, 30))) for _ in range(300)]
    items = [Item(f"{k:03d}", media={"text": (text,)}) for k, text in enumerate(texts)]
    assert Manifest.read(Manifest(items).write(tmp_path / "m.csv")).items == tuple(items)


def test_all_faults_at_once_with_their_lines(tmp_path: Path) -> None:
    lines = [
        "id,split,labels,audio,image,text",
        "a,train,Rock,,,",
        ",train,Rock,,,",
        "a,Train,Rock;;Pop,,,",
        'c,,Jazz/,,,"two',
        'lines"',
        "d#0,,,x.mp3;x.mp3,1.jpg;2.jpg,",
        "e,too few",
        "f,,,,,,too many",
        "g,,Jazz / Vocal Jazz,,,",
        "h,test,/Rock,,,",
    ]
    with pytest.raises(ManifestError) as caught:
        Manifest.read(write(tmp_path / "m.csv", "\n".join(lines)))
    assert caught.value.faults == (
        "line 3: empty id",
        "line 4: split 'Train': must be train, val, test or empty",
        "line 4: labels: empty entry in 'Rock;;Pop'",
        "line 4: labels: '' has an empty part or spaces around '/'; a path reads Jazz/Vocal Jazz, "
        "a name with a slash R&B//Soul",
        "line 4: id 'a' stands in line 2 already",
        "line 5: labels: 'Jazz/' has an empty part or spaces around '/'; "
        "a path reads Jazz/Vocal Jazz, a name with a slash R&B//Soul",
        "line 7: id 'd#0': '#', spaces around it, line breaks and control characters "
        "are not allowed",
        "line 7: audio: an entry appears twice in 'x.mp3;x.mp3'",
        "line 7: image: one cover an item, got several",
        "line 8: 2 fields, but the header has 6; is a comma unquoted?",
        "line 9: 7 fields, but the header has 6; is a comma unquoted?",
        "line 10: labels: 'Jazz / Vocal Jazz' has an empty part or spaces around '/'; "
        "a path reads Jazz/Vocal Jazz, a name with a slash R&B//Soul",
        "line 11: labels: '/Rock' has an empty part or spaces around '/'; "
        "a path reads Jazz/Vocal Jazz, a name with a slash R&B//Soul",
    )
    assert "m.csv: 13 fault(s)" in str(caught.value)


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0", "a\tb"])
def test_ids_without_control_characters(tmp_path: Path, bad: str) -> None:
    with pytest.raises(ManifestError, match="control characters are not allowed"):
        Manifest.read(write(tmp_path / "m.csv", f'id\n"{bad}"\n'))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column 'id'"),
        (b"ID,labels\na,Rock\n", r"no column 'id'; .*got \['ID', 'labels'\]"),
        (b"id,labels,labels\na,Rock,Pop\n", "line 1: column 'labels' twice"),
        (b"id,labels\n", "no items below the header"),
        (b'id,text\na,"never closed\n', "line 2: unexpected end of data"),
        (b'id,text\na,"x"y\n', "line 2: .*expected after"),
        (b"id\nBeyonc\xe9\n", "not UTF-8: .*position 9.*; save it as UTF-8"),
    ],
)
def test_files_that_are_no_manifest(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        Manifest.read(tmp_path / "m.csv")


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"m\.csv: 1 fault.*\n.*no such file"):
        Manifest.read(tmp_path / "m.csv")
    with pytest.raises(ManifestError, match="a folder, not a CSV file"):
        Manifest.read(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ManifestError, match="cannot be read: Not a directory"):
        Manifest.read(tmp_path / "file" / "m.csv")


def test_an_id_may_not_appear_twice() -> None:
    with pytest.raises(ManifestError, match="id 'a' appears more than once"):
        Manifest([Item("a"), Item("b"), Item("a")])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (Item("a", labels=("Drum;Bass",)), "labels: 'Drum;Bass' cannot stand in a list"),
        (Item("a", labels=(" Rock",)), "labels: ' Rock' cannot stand in a list"),
        (Item("a", labels=("",)), "labels: '' cannot stand in a list"),
        (Item("a", media={"audio": (Path("/x;y/1.mp3"),)}), "audio: .* cannot stand in a list"),
        (Item("a#1"), "id 'a#1': '#'"),
        (Item(" a"), "id ' a': '#', spaces"),
        (Item(""), "empty id"),
        (Item("a", extra={"split": "train"}), "extra column 'split' is one of ours"),
    ],
)
def test_what_would_be_read_otherwise_is_not_written(
    tmp_path: Path, item: Item, message: str
) -> None:
    path = Manifest([Item("old")]).write(tmp_path / "m.csv")
    with pytest.raises(ManifestError, match=message):
        Manifest([item]).write(path)
    assert Manifest.read(path).ids() == ("old",)
    assert [p.name for p in tmp_path.iterdir()] == ["m.csv"]


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Manifest([Item("old")]).write(tmp_path / "m.csv")
    before = path.read_bytes()

    def full(path: Path) -> None:
        assert path.stat().st_size
        raise OSError("no space left on device")

    monkeypatch.setattr("mmgenre.disk.files.sync", full)
    with pytest.raises(OSError, match="no space left"):
        Manifest([Item("new")]).write(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.csv"]


def test_what_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    path = Manifest([Item("a", artist="é")]).write(tmp_path / "m.csv")
    first = path.stat().st_ino
    spare = tmp_path / "spare"  # or the old inode's number is taken again at once
    spare.hardlink_to(path)
    assert Manifest([Item("a", artist="é")]).write(path).stat().st_ino == first
    assert Manifest([Item("a", artist="e")]).write(path).stat().st_ino != first


def test_hash_ignores_row_order_and_folder(tmp_path: Path) -> None:
    items = catalogue(tmp_path)
    assert Manifest(items[::-1]).sha256 == Manifest(items).sha256
    assert Manifest(catalogue(tmp_path / "elsewhere")).sha256 == Manifest(items).sha256
    text = "id,labels,audio\na,Rock,x/1.mp3\nb,Pop,x/2.mp3\n"
    turned = "audio,id,labels\nx/2.mp3,b,Pop\nx/1.mp3,a,Rock\n"
    (tmp_path / "sub").mkdir()
    one = Manifest.read(write(tmp_path / "m.csv", text))
    assert one.sha256 == Manifest.read(write(tmp_path / "sub" / "n.csv", turned)).sha256


def test_hash_sees_everything_else(tmp_path: Path) -> None:
    item = catalogue(tmp_path)[0]
    text = item.media["text"]
    others = [
        replace(item, id="b3"),
        replace(item, artist="x"),
        replace(item, album="x"),
        replace(item, split="test"),
        replace(item, split=None),
        replace(item, labels=item.labels[::-1]),
        replace(item, labels=item.labels[:1]),
        replace(item, media={**item.media, "audio": item.media["audio"][::-1]}),
        replace(item, media={**item.media, "image": (Path("other.jpg"),)}),
        replace(item, media={**item.media, "text": text[:1]}),
        replace(item, media={**item.media, "text": (text[0], "another")}),
        replace(item, media={**item.media, "text": text[1:]}),
    ]
    hashes = {Manifest([other]).sha256 for other in [item, *others]}
    assert len(hashes) == len(others) + 1
    assert Manifest([replace(item, extra={})]).sha256 == Manifest([item]).sha256


def test_with_splits_wants_one_for_every_item_and_for_no_other() -> None:
    manifest = Manifest([Item("a"), Item("b", split="test")])
    assert [i.split for i in manifest.with_splits({"a": "train", "b": "val"})] == ["train", "val"]
    assert manifest["b"].split == "test"
    with pytest.raises(ManifestError, match="id 'b' is given no split"):
        manifest.with_splits({"a": "train"})
    with pytest.raises(ManifestError, match="a split is given to 'c', which is no item"):
        manifest.with_splits({"a": "train", "b": "val", "c": "val"})


def test_rows_are_tracks_of_audio_and_items_of_other_media(tmp_path: Path) -> None:
    manifest = Manifest(catalogue(tmp_path))
    back = Manifest.read(manifest.write(tmp_path / "m.csv"))
    for one in (manifest, back):
        assert list(one.rows("audio")) == [
            ("b2#0", (tmp_path / "audio" / "1.mp3",)),
            ("b2#1", (tmp_path / "audio" / "2.mp3",)),
        ]
        assert list(one.rows("image")) == [("b2", (tmp_path / "covers" / "b 2.jpg",))]
        assert list(one.rows("text")) == [
            ("b2", one["b2"].media["text"]),
            ("é3", ("  padded  ",)),
        ]


def test_inline_texts_and_the_other_rows_are_all_rows(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_text("id,text_file,text\na,,words\nb,b.txt,words\nc,c.txt,\nd,,\ne,,more", "utf-8")
    manifest = Manifest.read(file)
    assert manifest.inline("text") == (["a", "e"], ["words", "more"])
    assert [i for i, _ in manifest.rows("text", inline=False)] == ["b", "c"]
    assert [i for i, _ in manifest.rows("text")] == ["a", "b", "c", "e"]
    made = Manifest(list(manifest))  # in Python
    assert made.inline("text") == ([], [])
    assert list(made.rows("text", inline=False)) == list(manifest.rows("text"))
    assert manifest.inline("audio") == ([], [])


def test_columns_answer_as_the_items_do(tmp_path: Path) -> None:
    manifest = Manifest(catalogue(tmp_path))
    assert manifest.labels() == (("Rock",), ("Jazz/Vocal Jazz", "R&B"), ())
    assert manifest.labels("val") == (("Rock",),)
    assert manifest.splits == {"a1": "val", "b2": "train", "é3": None}
    for split in (None, *SPLITS):
        for having in ((), ("text",), ("text", "audio"), ("image",)):
            assert manifest.count(split, having) == len(manifest.ids(split, having))
    assert manifest.ids("val") is manifest.ids("val")
    with pytest.raises(KeyError, match="b3"):
        manifest["b3"]


def test_equal_label_cells_share_their_labels(tmp_path: Path) -> None:
    manifest = Manifest.read(write(tmp_path / "m.csv", "id,labels\na,X;Y\nb,Z\nc,X;Y\n"))
    first, _, third = manifest.labels()
    assert first == ("X", "Y")
    assert first is third


def test_task_digest_follows_ids_splits_and_labels_only() -> None:
    item = Item("a", "artist", "album", "train", ("Rock", "Pop"), {"text": ("x",)}, {"n": "1"})
    digest = Manifest([item]).task_digest
    assert Manifest([Item("a", split="train", labels=("Rock", "Pop"))]).task_digest == digest
    others = [
        replace(item, id="b"),
        replace(item, split="val"),
        replace(item, split=None),
        replace(item, labels=("Pop", "Rock")),
        replace(item, labels=("Rock;Pop",)),
    ]
    assert len({digest, *(Manifest([other]).task_digest for other in others)}) == 6


def test_media_of_an_unknown_modality_are_refused() -> None:
    with pytest.raises(ManifestError, match="id 'a': 'video' is no modality; those are audio, te"):
        Manifest([Item("a", media={"video": (Path("a.mp4"),)})])


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "n", "counts"),
    [
        ("real", 42, {"audio": 23, "image": 33, "text": 42}),
        ("captions", 2348, {"audio": 0, "image": 0, "text": 2348}),
    ],
)
def test_published_manifests_load(
    real_data: Path, tmp_path: Path, name: str, n: int, counts: dict[Modality, int]
) -> None:
    manifest = Manifest.read(real_data / name / "items.csv")
    assert len(manifest) == n
    assert {m: len(manifest.ids(having=[m])) for m in counts} == counts
    for item in manifest:
        assert item.labels
        for files in item.media.values():
            assert all(f.is_file() for f in files if isinstance(f, Path))
    # Without splits of its own, and back again from another folder.
    assert not any(manifest.ids(split) for split in SPLITS)
    copy = Manifest.read(manifest.write(tmp_path / "copy.csv"))
    assert copy.sha256 == manifest.sha256
    assert all(f.is_file() for i in copy for f in i.media.get("audio", ()) if isinstance(f, Path))


def test_cells_that_spreadsheets_take_for_formulas_come_back_as_they_were(tmp_path: Path) -> None:
    names = ["-M-", "+/-", "@", "=1+1", "=HYPERLINK(1)", "'=x", "+44", "-1", "@home", "%x", "|y"]
    items = [
        Item(
            id=name,
            artist=name,
            album=f"{name} live",
            labels=(name, f"{name}a"),
            media={"text": (f"{name} is a text",), "audio": (tmp_path / f"{name.strip('/')}.mp3",)},
            extra={"note": name},
        )
        for name in names
        if "/" not in name
    ]
    items.append(Item("slash", artist="+/-", album="+/-", extra={"note": "+/-"}))
    path = Manifest(items).write(tmp_path / "m.csv")
    again = Manifest.read(path)
    assert list(again) == sorted(items, key=lambda item: item.id)
    with path.open(newline="") as file:  # as any other program reads it
        assert {row["artist"] for row in csv.DictReader(file)} == set(names)
    before = path.read_bytes()
    again.write(path)
    assert path.read_bytes() == before


def test_of_ids_alone_and_some_rows() -> None:
    manifest = Manifest.of_ids(["c", "a", "b", "a"])
    assert manifest.ids() == ("a", "b", "c")
    assert manifest.only_rows(1, 9).ids() == ("b", "c")
    assert manifest["b"].media == {}
    assert manifest.count(having=["audio"]) == 0
