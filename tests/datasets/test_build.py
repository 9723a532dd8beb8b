"""From published files to a manifest that the other commands read, and the cards behind it."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from command_line import Call
from music import make_library
from published_layouts import (
    make_covers20k,
    make_fma,
    make_folders,
    make_gtzan,
    make_hf,
    make_jamendo,
    make_msdi,
    make_mumu,
    make_music4all,
    make_music4all_aa,
    make_table,
    touch,
)

from mmgenre.datasets import sources
from mmgenre.datasets.build import build_manifest
from mmgenre.datasets.folders import ARCHIVE_FOLDER, GENRES, LEFT_OUT
from mmgenre.datasets.hugging_face import TABLES
from mmgenre.datasets.layouts import LAYOUTS, Layout
from mmgenre.datasets.msd import COLUMNS, TABLE
from mmgenre.datasets.mumu import ALBUMS, METADATA, REVIEWS, SPLIT_FILES
from mmgenre.datasets.sources import card_folder, card_names, load_card
from mmgenre.errors import ManifestError
from mmgenre.items.manifest import Manifest


def make_cls(folder: Path) -> Path:
    (folder / "a.cls").write_text("TRA\tRock\nTRB\tPunk\tRock\n")
    return folder


MAKERS: dict[str, Callable[[Path], Path]] = {
    "library": make_library,
    "mumu": make_mumu,
    "msdi": make_msdi,
    "cls": make_cls,
    "folders": make_folders,
    "csv": make_table,
    "covers20k": make_covers20k,
    "fma": make_fma,
    "jamendo": make_jamendo,
    "gtzan": make_gtzan,
    "music4all": make_music4all,
    "music4all-aa": make_music4all_aa,
    "hf": make_hf,
}


@pytest.mark.parametrize("layout", MAKERS)
def test_command_builds_what_check_reads(layout: str, tmp_path: Path, call: Call) -> None:
    folder, out = MAKERS[layout](tmp_path), tmp_path / "out" / "manifest.csv"
    built = call("manifest", "build", layout, folder, "--out", out)
    assert built.code == 0, built.err
    assert built.out.startswith(f"{out}: items ")
    assert f"next: mmgenre manifest check {out}" in built.out
    checked = call("manifest", "check", out)
    assert checked.code == 0, checked.err
    assert "0 leaks" in checked.out


def test_command_as_json(tmp_path: Path, call: Call) -> None:
    out = tmp_path / "m.csv"
    result = call("manifest", "build", "msdi", make_msdi(tmp_path), "--out", out, "--json").json
    assert result["manifest"] == str(out)
    assert result["info"]["splits"] == {"train": 1, "val": 1, "test": 1}
    assert result["store"] is None


def test_command_says_which_file_is_missing(tmp_path: Path, call: Call) -> None:
    result = call("manifest", "build", "msdi", tmp_path, "--out", tmp_path / "m.csv")
    assert result.code == 1
    for words in (TABLE, "https://zenodo.org/record/1240485", str(tmp_path)):
        assert words in result.err
    assert not (tmp_path / "m.csv").exists()


def test_unknown_layout_is_a_usage_error(tmp_path: Path, call: Call) -> None:
    assert call("manifest", "build", "nope", tmp_path, "--out", "m.csv").code == 2


def test_media_and_notes_reach_the_manifest(tmp_path: Path) -> None:
    make_mumu(tmp_path)
    audio, images = touch(tmp_path / "audio", "TRA.mp3"), touch(tmp_path / "covers", "B02.jpg")
    built = build_manifest("mumu", tmp_path, tmp_path / "m.csv", audio=audio, images=images)
    manifest = Manifest.read(tmp_path / "m.csv")
    assert manifest.ids(having=["audio", "text"]) == ("B01",)
    assert manifest["B01"].media["text"] == ("first\n\nsecond\n\nthird",)
    assert manifest["B01"].extra["artist_mbids"] == "art-1;art-2"
    assert manifest["B02"].media == {"image": (tmp_path / "covers" / "B02.jpg",)}
    assert any(line.startswith("note: 4 of 5 tracks have no file") for line in built.summary())
    assert built.summary()[0].endswith(
        "items 3; artists 2; splits 3 none; modalities 1 audio, 1 text, 1 image; labels 5"
    )


def test_frequent_genres_of_albums_with_a_cover(tmp_path: Path, call: Call) -> None:
    make_mumu(tmp_path)
    covers, out = touch(tmp_path / "covers", "B01.jpg", "B03.jpg"), tmp_path / "m.csv"
    words = ("manifest", "build", "mumu", tmp_path, "--images", covers, "--out", out)
    built = call(*words, "--only-with", "image", "--min-share", 0.5)
    assert built.code == 0, built.err
    assert Manifest.read(out).ids() == ("B01", "B03")
    assert Manifest.read(out)["B01"].labels == ("Jazz", "Vocal Jazz")
    assert "note: 1 of 3 items are left out, without image (first: 'B02')" in built.out
    assert "note: 4 of 4 genres are kept: those of 1 items or more" in built.out
    assert call(*words, "--only-with", "cover").code == 2
    assert "between 0 and 1" in call(*words, "--min-share", 3).err


def test_columns_of_a_table(tmp_path: Path, call: Call) -> None:
    make_table(tmp_path, "what,kind\na,Rock\nb,Jazz\n")
    out = tmp_path / "m.csv"
    words = ("manifest", "build", "csv", tmp_path / "covers.csv", "--out", out)
    assert "the header is what, kind" in call(*words).err
    built = call(*words, "--columns", "image=what,labels=kind", "--images", tmp_path)
    assert built.code == 0, built.err
    assert Manifest.read(out)["a"].media["image"] == (tmp_path / "a.jpg",)
    assert call(*words, "--columns", "image").code == 2
    with pytest.raises(ManifestError, match="only the layout csv"):
        build_manifest("folders", tmp_path, out, columns={"image": "what"})
    with pytest.raises(ManifestError, match="covers are in"):
        build_manifest("folders", tmp_path, out, images=tmp_path)


def test_dataset_is_for_tartarus_only(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="only the layout tartarus, mirdata"):
        build_manifest("cls", make_cls(tmp_path), tmp_path / "m.csv", dataset="MSD-I")
    assert set(MAKERS) == set(LAYOUTS) - {"tartarus", "mirdata"}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_reader_takes_the_options_of_its_layout(layout: Layout) -> None:
    module, function = layout.reader.split(":")
    reader = getattr(import_module(f"mmgenre.datasets.{module}"), function)
    _, *options = inspect.signature(reader).parameters
    assert set(options) - {"kept_characters"} == set(layout.options)  # MuMu's, of the library only
    assert not (layout.has_covers and "images" in options)


def test_an_unknown_layout_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        ManifestError, match="unknown layout 'nope'; layouts are library, mumu, msdi"
    ):
        build_manifest("nope", tmp_path, tmp_path / "m.csv")


# Cards


def test_every_card_loads() -> None:
    assert card_names() == [
        *("covers20k", "fma", "gtzan", "hf", "jamendo", "mirdata", "morrison-covers", "msdi"),
        *("mumu", "mumu-covers", "music4all", "music4all-aa"),
    ]
    for name in card_names():
        card = load_card(name)
        assert card.defects
        assert card.published == (name != "morrison-covers")
    for name in ("msdi", "mumu", "mumu-covers"):
        doi, urls = load_card(name).doi, load_card(name).urls
        assert doi
        assert doi.startswith("10.5281/zenodo.")
        assert any(doi.rsplit(".", 1)[1] in url for url in urls)


def test_nothing_is_claimed_of_files_that_nobody_had() -> None:
    files = [file for name in card_names() for file in load_card(name).files]
    assert {(file.size_bytes, file.sha256) for file in files} == {(None, None)}


def test_a_card_says_where_its_dataset_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (card_folder() / "morrison-covers" / "card.toml").read_text(encoding="utf-8")
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "card.toml").write_text(text.replace("published = false\n", ""))
    monkeypatch.setattr(sources, "card_folder", lambda: tmp_path)
    with pytest.raises(ManifestError, match="a published dataset needs urls and files"):
        load_card("lost")


def test_cards_name_the_files_that_are_read() -> None:
    files = {name: {file.name: file for file in load_card(name).files} for name in card_names()}
    assert set(files["mumu-covers"]) <= set(files["mumu"])
    assert list(files["covers20k"]) == [ARCHIVE_FOLDER]
    assert tuple(files["hf"]) == TABLES
    assert sorted(load_card("covers20k").labels) == sorted((*GENRES, *LEFT_OUT))
    assert {ALBUMS, METADATA, REVIEWS, *SPLIT_FILES} <= set(files["mumu"])
    assert files["mumu"][ALBUMS].required
    assert not files["mumu"][REVIEWS].required
    assert files["msdi"][TABLE].required
    assert all(column in files["msdi"][TABLE].holds for column in COLUMNS)


def test_known_defects_stand_in_the_cards() -> None:
    assert any("30 933" in d and "30 713" in d for d in load_card("msdi").defects)
    assert any(".53, .44, .90" in d for d in load_card("mumu").defects)
    assert load_card("msdi").counts["tracks"] == 30713


def test_cards_are_found_in_a_wheel_and_in_a_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "mmgenre"
    package.mkdir(parents=True)
    monkeypatch.setattr(sources, "files", lambda name: package)
    assert card_folder.__wrapped__() == tmp_path / "site-packages" / "data_manifests"
    (package / "data_manifests").mkdir()
    assert card_folder.__wrapped__() == package / "data_manifests"


def test_unknown_card() -> None:
    with pytest.raises(
        ManifestError, match=r"did you mean mumu or mumu-covers\? known: covers20k,"
    ):
        load_card("mumus")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('licence = "x"', "licence"),
        ("size_bytes = -1", "files.0.size_bytes"),
        ('sha256 = "abc"', "files.0.sha256"),
        ("colour = 1", "files.0.colour: Extra inputs"),
        ("[broken", "not TOML"),
    ],
)
def test_faulty_card_lists_its_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, words: str
) -> None:
    text = (card_folder() / "msdi" / "card.toml").read_text(encoding="utf-8")
    tomllib.loads(text)
    if change.startswith("licence"):
        text = text.replace("licence = ", "license = ")
    else:
        text += f"{change}\n"
    (tmp_path / "msdi").mkdir()
    (tmp_path / "msdi" / "card.toml").write_text(text)
    monkeypatch.setattr(sources, "card_folder", lambda: tmp_path)
    with pytest.raises(ManifestError) as caught:
        load_card("msdi")
    assert any(words in fault for fault in caught.value.faults)
