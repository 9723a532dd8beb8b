"""Genres of files and folders on the command line, in every format, and into tags."""

from __future__ import annotations

import csv
import io
import json
import signal
import stat
from pathlib import Path

import numpy as np
import pytest
from coded import RATE_HZ, encode
from command_line import Call
from killing import killed_at_each_step
from limits import files_up_to
from music import cover, make_library, make_sound, tag
from small import Small

from mmgenre.datasets import tag_writing
from mmgenre.datasets.tag_writing import Change, write_genres
from mmgenre.datasets.tags import TagsError, read_tags
from mmgenre.errors import Interrupted
from mmgenre.pipeline.export import export_model

EXTENSIONS = ("mp3", "flac", "ogg", "wav", "m4a", "wma", "aiff")


@pytest.fixture(scope="module")
def model(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_model(small.run, tmp_path_factory.mktemp("exported") / "model")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = make_library(tmp_path / "music")
    for path in folder.rglob("*.flac"):
        tags = read_tags(path)
        path.unlink()
        make_sound(path, seconds=8, hz=300)
        tag(path, artist=tags.artist, album=tags.album, genre=list(tags.genres))
    tag(folder / "One/First/01.flac", cover(1), artist="One", album="First", genre=["Old", "Rock"])
    return folder


def test_files_folders_manifests_and_stdin(
    call: Call, model: Path, music: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = music / "One/First/01.flac"
    done = call("predict", model, music, small.manifest, "--json")
    assert done.code == 0
    found = {p["id"]: p for p in done.json["predictions"]}
    assert {i for i in found if i.startswith(str(music))} == {
        str(path) for path in music.rglob("*.flac")
    }
    assert len(found) > 6 + 20
    assert found[str(one)]["used"] == ["audio", "image"]  # the cover in its tags
    alone = call("predict", model, one, "--json").json["predictions"][0]
    assert (alone["id"], alone["used"]) == (str(one), ["audio"])
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{one}\n{music / 'Two'}\n"))
    listed = call("predict", model, "-", "--json").json["predictions"]
    assert [p["id"] for p in listed] == sorted(
        [str(one), *(str(path) for path in (music / "Two").rglob("*.flac"))]
    )
    by_album = call("predict", model, music, "--by", "album", "--json").json["predictions"]
    assert len(by_album) == 3


def test_every_format_says_the_same(call: Call, model: Path, music: Path, tmp_path: Path) -> None:
    nested = call("predict", model, music, "--format", "json", "--top", 3).json["predictions"]
    text = call("predict", model, music, "--format", "jsonl", "--top", 3).out
    assert [json.loads(line) for line in text.splitlines()] == nested
    for form, delimiter in (("csv", ","), ("tsv", "\t")):
        out = tmp_path / f"genres.{form}"
        done = call("predict", model, music, "--format", form, "--top", 3, "--out", out)
        assert (done.code, done.out) == (0, "")
        with out.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter=delimiter))
        for row, prediction in zip(rows, nested, strict=True):
            assert row["id"] == prediction["id"]
            assert row["named"] == ";".join(prediction["named"])
            for k, genre in enumerate(prediction["genres"], 1):
                assert row[f"genre_{k}"] == genre["name"]
                assert float(row[f"score_{k}"]) == pytest.approx(genre["score"], abs=1e-6)
    table = call("predict", model, music, "--top", 3).out
    assert all(p["id"] in table for p in nested)


def test_wrong_paths_are_named_before_anything_is_read(
    call: Call, model: Path, music: Path, tmp_path: Path
) -> None:
    strange = tmp_path / "notes.xyz"
    strange.write_text("x")
    done = call("predict", model, music, tmp_path / "gone.mp3", strange)
    assert done.code == 1
    assert "2 fault(s)" in done.err
    assert "gone.mp3: no such file or folder" in done.err
    assert "notes.xyz: neither audio, cover, text nor manifest" in done.err
    assert call("predict", model).code == 2
    assert call("predict", model, music, "--manifest", strange).code == 2
    assert call("predict", model, music, "--dry-run").code == 2
    assert call("predict", model, music, "--only-untagged").code == 2


def test_a_damaged_file_costs_itself(call: Call, model: Path, music: Path) -> None:
    (music / "One/First/02.flac").write_bytes(b"fLaC" + bytes(range(256)) * 8)
    done = call("predict", model, music, "--json")
    assert done.code == 3
    assert len(done.json["predictions"]) == 5
    assert any("One/First/02.flac" in refusal["id"] for refusal in done.json["refused"])


def test_tags_are_written_and_taken_back(
    call: Call, model: Path, music: Path, tmp_path: Path
) -> None:
    files = sorted(music.rglob("*.flac"))
    before = {path: (path.read_bytes(), read_tags(path).genres) for path in files}
    undo = tmp_path / "undo.jsonl"
    how = ("--write-tags", "--confidence", 0, "--undo", undo, "--json")
    dry = call("predict", model, music, *how, "--dry-run")
    assert {path: path.read_bytes() for path in files} == {p: b for p, (b, _) in before.items()}
    assert not undo.exists()
    done = call("predict", model, music, *how)
    assert (dry.code, done.code) == (0, 0)
    named = {p["id"]: tuple(p["named"]) for p in done.json["predictions"]}
    assert dry.json["predictions"] == done.json["predictions"]
    assert any(named.values())
    for path, (_, genres) in before.items():
        assert read_tags(path).genres == (named[str(path)] or genres)
        assert ("->" in done.err) == any(named.values())
    assert len(list(music.rglob("*"))) == len(files) + 6  # and folders: nothing is left beside
    again = call("predict", model, music, *how)
    assert f"0 file(s); {sum(map(bool, named.values()))} had them" in again.err
    back = call("untag", undo)
    assert back.code == 0
    assert {path: read_tags(path).genres for path in files} == {
        path: genres for path, (_, genres) in before.items()
    }


def test_files_that_have_a_genre_keep_it_if_asked(
    call: Call, model: Path, music: Path, tmp_path: Path
) -> None:
    files = sorted(music.rglob("*.flac"))
    before = {path: path.read_bytes() for path in files if read_tags(path).genres}
    untagged = [path for path in files if path not in before]
    undo = tmp_path / "undo.jsonl"
    how = ("--write-tags", "--confidence", 0, "--undo", undo, "--only-untagged", "--json")
    dry = call("predict", model, music, *how, "--dry-run")
    assert not any(read_tags(path).genres for path in untagged)
    done = call("predict", model, music, *how)
    assert (dry.code, done.code) == (0, 0)
    named = {p["id"]: tuple(p["named"]) for p in done.json["predictions"]}
    written, kept = ([p for p in paths if named[str(p)]] for paths in (untagged, before))
    assert written
    assert kept
    assert {p: read_tags(p).genres for p in written} == {p: named[str(p)] for p in written}
    assert {path: path.read_bytes() for path in before} == before
    told = f"{len(written)} file(s); 0 had them; {len(kept)} had others, which stay; "
    assert f"genres would be written: {told}" in dry.err
    assert f"genres written: {told}" in done.err
    assert "had others" not in call("predict", model, music, *how[:-2], "--dry-run").err


def test_writing_tags_that_is_stopped_says_what_takes_them_back(
    call: Call, model: Path, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undo, n_before = tmp_path / "my undo.jsonl", 0
    before = {path: read_tags(path).genres for path in music.rglob("*.flac")}

    def stopped(change: Change, undo: Path | None) -> None:
        nonlocal n_before
        if n_before == 2:
            raise Interrupted(signal.SIGTERM)
        n_before += 1
        write_genres(change, undo)

    monkeypatch.setattr(tag_writing, "write_genres", stopped)
    how = ("--write-tags", "--confidence", 0, "--undo", undo)
    done = call("predict", model, music, *how)
    assert done.code == 143
    told, again = done.err.splitlines()[-2:]
    command = f"mmgenre untag '{undo}'"
    assert told.endswith(f"files that were written are listed; to take them back: {command}")
    assert again.startswith("to begin again: mmgenre predict ")
    assert sum(read_tags(path).genres != genres for path, genres in before.items()) == 2

    n_before = 1
    done = call("untag", undo)
    assert done.code == 143
    assert done.err.splitlines()[-2:] == [
        "stopped by SIGTERM; finished steps are kept",
        f"to go on: {command}",
    ]
    monkeypatch.undo()
    assert call("untag", undo).code == 0
    assert {path: read_tags(path).genres for path in before} == before


def test_only_above_the_confidence(call: Call, model: Path, music: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in music.rglob("*.flac")}
    undo = tmp_path / "undo.jsonl"
    done = call("predict", model, music, "--write-tags", "--confidence", 1.01, "--undo", undo)
    assert "0 file(s)" in done.err
    assert "6 item(s) unsure or below 1.01" in done.err
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("suffix", EXTENSIONS)
def test_every_family_of_tags(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"song.{suffix}"
    if codec := {"m4a": "aac", "wma": "wmav2"}.get(suffix):
        samples = 3000 * np.sin(np.arange(2 * RATE_HZ) / 20)
        encode(path, codec, samples.astype(np.int16))
    else:
        make_sound(path)
    tag(path, artist="Someone", genre=["One", "Two & More"])
    path.chmod(0o640)
    before = path.read_bytes()
    genres = ("Jazz", "Rock;Pop", "Música")
    undo = tmp_path / "undo.jsonl"
    write_genres(Change(path, ("One", "Two & More"), genres), undo)
    tags = read_tags(path)
    assert (tags.genres, tags.artist) == (genres, "Someone")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    [change] = tag_writing.changes_in(undo)
    assert tag_writing.taken_back(change)
    assert read_tags(path).genres == ("One", "Two & More")
    assert not tag_writing.taken_back(change)
    if suffix in {"flac", "ogg"}:  # the order of their tags
        assert path.read_bytes() == before
    with pytest.raises(TagsError, match="have changed meanwhile"):
        write_genres(Change(path, ("Other",), genres), None)


def test_a_failure_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tag(make_sound(tmp_path / "song.flac"), genre=["Old"])
    before, names = path.read_bytes(), set(tmp_path.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for broken in ("sync", "append_line", "_set_genres"):
        with monkeypatch.context() as patch:
            patch.setattr(tag_writing, broken, full)
            with pytest.raises(OSError, match="No space"):
                write_genres(Change(path, ("Old",), ("New",)), tmp_path / "undo.jsonl")
        assert path.read_bytes() == before
        assert set(tmp_path.iterdir()) == names
    with monkeypatch.context() as patch:  # a program that writes something else
        patch.setattr(tag_writing, "_set_genres", lambda *_: None)
        with pytest.raises(TagsError, match="would read 'Old' after writing"):
            write_genres(Change(path, ("Old",), ("New",)), None)
    assert path.read_bytes() == before


def test_a_full_disk_leaves_files_and_undo_file_whole(tmp_path: Path) -> None:
    path, undo = tag(make_sound(tmp_path / "song.flac"), genre=["Old"]), tmp_path / "undo.jsonl"
    write_genres(Change(path, ("Old",), ("New",)), undo)
    before, listed, names = path.read_bytes(), undo.read_bytes(), set(tmp_path.iterdir())
    with files_up_to(len(before) // 2), pytest.raises((TagsError, OSError)):
        write_genres(Change(path, ("New",), ("Newer",)), undo)
    small = tag(make_sound(tmp_path / "small.flac", seconds=0.01), genre=["Old"])
    undo.write_bytes(listed * (small.stat().st_size // len(listed) + 1))
    listed = undo.read_bytes()
    with files_up_to(len(listed) + 10), pytest.raises(OSError, match="too large"):
        write_genres(Change(small, ("Old",), ("New",)), undo)  # the list has room for ten bytes
    assert (path.read_bytes(), undo.read_bytes()) == (before, listed)
    assert read_tags(small).genres == ("Old",)
    assert set(tmp_path.iterdir()) == names | {small}


def test_killed_at_any_step_everything_can_be_taken_back(tmp_path: Path) -> None:
    files = [tag(make_sound(tmp_path / f"{k}.flac"), genre=["Old"]) for k in range(3)]
    undo = tmp_path / "undo.jsonl"

    def write() -> None:
        for path in files:
            if read_tags(path).genres == ("Old",):
                write_genres(Change(path, ("Old",), ("New",)), undo)

    n_killed = 0
    for _ in killed_at_each_step(write, *((tag_writing, s) for s in ("append_line", "sync"))):
        n_killed += 1
        assert {read_tags(path).genres for path in files} <= {("Old",), ("New",)}
        new = {path for path in files if read_tags(path).genres == ("New",)}
        listed = list(tag_writing.changes_in(undo)) if undo.exists() else []
        assert new <= {change.path for change in listed}
        if undo.exists():  # killed within a line
            with undo.open("a") as file:
                file.write('{"path": "/mus')
        for change in tag_writing.changes_in(undo) if undo.exists() else ():
            tag_writing.taken_back(change)
        assert {read_tags(path).genres for path in files} == {("Old",)}
    assert n_killed > 10
    assert {read_tags(path).genres for path in files} == {("New",)}


def test_what_is_no_list_of_changes_is_named(call: Call, tmp_path: Path) -> None:
    done = call("untag", tmp_path / "gone.jsonl")
    assert done.code == 1
    assert "gone.jsonl: is no list of changes" in done.err
    assert "predict --write-tags wrote" in done.err
    other = tmp_path / "other.jsonl"
    other.write_text('{"path": 1}\n')
    assert "other.jsonl, line 1: not a change of genres" in call("untag", other).err


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    path = tag(make_sound(tmp_path / "song.flac"), genre=["Old"])
    link = tmp_path / "link.flac"
    link.symlink_to(path)
    write_genres(Change(link, ("Old",), ("New",)), None)
    assert link.is_symlink()
    assert read_tags(path).genres == ("New",)
