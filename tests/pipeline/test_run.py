"""What a run is made from: splits, leaks, labels, and reopening it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mmgenre.disk.records import write_record
from mmgenre.errors import LabelError, ManifestError, MmgenreError, RecipeError, SplitError
from mmgenre.items.item import Item, Split
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import extract_features
from mmgenre.pipeline.notes import run_notes
from mmgenre.pipeline.prepare import prepare_run
from mmgenre.pipeline.recipe import Recipe, load_recipe, validate
from mmgenre.pipeline.run import check_address, open_run
from mmgenre.pipeline.shards import read_shard
from mmgenre.pipeline.split import with_splits
from mmgenre.reading.extraction import Shard

ODD_STATES = [
    *("", "{", "[]", "{}", '{"dataset": "x"}', "\udcff", "[" * 100_000, "null", "\0"),
    '{"dataset": "x", "recipe": 7}',
    '{"dataset": "x", "recipe": {}, "decided": 7}',
    '{"dataset": "x", "recipe": {}, "made_from": 7}',
    '{"dataset": "x", "recipe": {}, "format": "three"}',
    '{"dataset": "x", "recipe": {}, "format": ' + "9" * 5000 + "}",
]
ADDRESS = "https://x.org/annotate"
ASKING = ["text.input.entities.annotator=spotlight", f"text.input.entities.url={ADDRESS}"]


def items(n: int = 30) -> list[Item]:
    return [
        Item(
            f"i{k:02}",
            artist=f"artist {k % 15}",
            album=f"album {k}",
            labels=("Rock",) if k % 3 else ("Jazz/Bebop", "Rock"),
            media={"text": (f"Words about number {k}.",)},
        )
        for k in range(n)
    ]


def split_of(k: int) -> Split:
    artist = k % 15
    return "train" if artist < 9 else "val" if artist < 12 else "test"


def given() -> list[Item]:
    return [replace(item, split=split_of(k)) for k, item in enumerate(items())]


def splits(manifest: Manifest) -> dict[str, Split | None]:
    return {item.id: item.split for item in manifest}


def recipe(**values: object) -> Recipe:
    return validate(values, where="test")


def test_drawn_splits_are_the_same_each_time_and_disjoint() -> None:
    first, again = (with_splits(Manifest(items()), recipe(seed=3)) for _ in range(2))
    assert splits(first) == splits(again)
    places: dict[str, set[Split | None]] = {}
    for item in first:
        places.setdefault(item.artist, set()).add(item.split)
    assert all(len(where) == 1 for where in places.values())
    assert {item.split for item in first} == {"train", "val", "test"}


def test_another_seed_draws_others() -> None:
    drawn = [splits(with_splits(Manifest(items()), recipe(seed=s))) for s in range(4)]
    assert any(one != drawn[0] for one in drawn[1:])


def test_ratios_are_the_recipe_s() -> None:
    half = with_splits(Manifest(items()), recipe(split={"ratios": (0.5, 0.25, 0.25)}))
    most = with_splits(Manifest(items()), recipe(split={"ratios": (0.8, 0.1, 0.1)}))
    assert 13 <= len(half.ids("train")) <= 17
    assert 22 <= len(most.ids("train")) <= 26


def test_given_splits_are_kept() -> None:
    before = Manifest(given())
    assert splits(with_splits(before, recipe(seed=9))) == splits(before)


def test_a_leak_is_refused_or_allowed() -> None:
    leaking = [replace(i, split="test" if i.id == "i00" else i.split) for i in given()]
    with pytest.raises(SplitError, match=r"leak in 1 place.*\n.*artist 'artist 0' in train and te"):
        with_splits(Manifest(leaking), recipe())
    allowed = with_splits(Manifest(leaking), recipe(split={"leakage": "report"}))
    assert allowed["i00"].split == "test"


def test_an_artist_under_two_spellings_is_noted_and_not_refused() -> None:
    names = {"i00": "Beak", "i13": "BEAK>"}
    assert {i.split for i in given() if i.id in names} == {"train", "test"}
    doubtful = [replace(i, artist=names.get(i.id, i.artist)) for i in given()]
    notes: list[str] = []
    for _ in range(2):
        with_splits(Manifest(doubtful), recipe(), notes)
    [note] = notes
    assert note.startswith("1 artist(s) or album(s) seem to be in two splits under two spellings")
    assert "Beak | BEAK>" in note


def test_some_splits_are_not_enough() -> None:
    mixed = [replace(i, split=None if i.id in ("i04", "i07") else i.split) for i in given()]
    with pytest.raises(ManifestError, match=r"2 of 30 items have no split \(first: 'i04'\)"):
        with_splits(Manifest(mixed), recipe())


@pytest.mark.parametrize("lacking", ["train", "val", "test"])
def test_no_split_may_be_empty(lacking: Split) -> None:
    """Without it a run would train for hours and then find nothing to measure on."""
    left = Manifest(i for i in given() if i.split != lacking)
    with pytest.raises(SplitError, match=f"no item is in {lacking};"):
        with_splits(left, recipe())


def test_unlabelled_items_are_in_no_split() -> None:
    bare = {"i05", "i06"}
    unlabelled = [replace(i, labels=() if i.id in bare else i.labels) for i in items()]
    drawn = with_splits(Manifest(unlabelled), recipe())
    assert {i for i, split in drawn.splits.items() if split is None} == bare
    alone = with_splits(Manifest(i for i in items() if i.id not in bare), recipe())
    assert {i: s for i, s in drawn.splits.items() if s} == alone.splits


def test_a_split_that_an_unlabelled_item_has_is_emptied_and_told() -> None:
    notes: list[str] = []
    placed = Manifest(replace(i, labels=() if i.id == "i05" else i.labels) for i in given())
    assert with_splits(placed, recipe(), notes).splits["i05"] is None
    assert notes == [
        "1 item(s) without a genre are in a split of the manifest: they are in none here "
        "(first: 'i05')"
    ]


def test_a_manifest_without_any_label_is_refused() -> None:
    bare = Manifest(replace(i, labels=()) for i in items())
    with pytest.raises(LabelError, match="none of 30 items has a label"):
        with_splits(bare, recipe())


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return Manifest(items()).write(tmp_path / "data" / "m.csv")


def test_a_new_run_with_a_manifest_takes_the_default_recipe(tmp_path: Path, csv: Path) -> None:
    run = prepare_run(tmp_path / "run", manifest=csv)
    assert run.recipe == load_recipe("default", manifest=Manifest.read(csv))
    assert run.dataset == str(csv)
    again = open_run(tmp_path / "run")
    assert again.recipe == run.recipe
    assert splits(again.manifest) == splits(run.manifest)
    assert again.manifest.task_digest == run.manifest.task_digest
    assert again.labels() == run.labels()


def test_what_is_not_given_comes_from_the_run(tmp_path: Path, csv: Path) -> None:
    folder = tmp_path / "run"
    first = prepare_run(folder, manifest=csv, recipe="quick", settings=["seed=4", "target.dim=3"])
    again = prepare_run(folder)
    assert (again.recipe, again.dataset) == (first.recipe, first.dataset)
    assert splits(again.manifest) == splits(first.manifest)


def test_a_setting_changes_the_run_s_recipe_and_nothing_else(tmp_path: Path, csv: Path) -> None:
    """A second --set must not bring back the default recipe, ImageNet weights and all."""
    folder = tmp_path / "run"
    first = prepare_run(folder, manifest=csv, recipe="quick", settings=["seed=4"])
    changed = prepare_run(folder, manifest=csv, settings=["text.max_words=77"])
    text = first.recipe.of("text").model_copy(update={"max_words": 77})
    assert changed.recipe == first.recipe.model_copy(update={"text": text})
    assert open_run(folder).recipe == changed.recipe


def test_a_named_recipe_replaces_the_run_s(tmp_path: Path, csv: Path) -> None:
    prepare_run(tmp_path / "run", manifest=csv, recipe="quick", settings=["seed=4"])
    assert prepare_run(tmp_path / "run", recipe="default").recipe == load_recipe(
        "default", manifest=Manifest.read(csv)
    )


def test_a_run_is_gone_on_with_from_another_folder(
    tmp_path: Path, csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(csv.parent)
    prepare_run(tmp_path / "run", manifest=Path("m.csv"), recipe="quick")
    monkeypatch.chdir(tmp_path)
    assert len(prepare_run(tmp_path / "run").manifest) == 30


def test_task_digest_follows_splits_and_labels_not_media(tmp_path: Path) -> None:
    def digest(name: str, change: Callable[[Item], Item]) -> str:
        path = Manifest(change(i) for i in given()).write(tmp_path / f"{name}.csv")
        return prepare_run(tmp_path / name, manifest=path).manifest.task_digest

    same = digest("same", lambda i: i)
    assert digest("media", lambda i: replace(i, media={"text": ("Other words.",)})) == same
    assert digest("labels", lambda i: replace(i, labels=(*i.labels, "New"))) != same
    assert digest("ids", lambda i: replace(i, id=f"x{i.id}")) != same
    swap: dict[Split | None, Split] = {"train": "train", "val": "test", "test": "val"}
    assert digest("splits", lambda i: replace(i, split=swap[i.split])) != same


def test_what_is_settled_already_is_not_written_again(tmp_path: Path, csv: Path) -> None:
    """Shards of one run begin at the same time, while others read what it is made from."""
    folder = tmp_path / "run"
    prepare_run(folder, manifest=csv, recipe="quick")
    names = ["manifest.csv", "run.json"]
    for name in names:  # or the number of an old inode is taken again at once
        (tmp_path / name).hardlink_to(folder / name)
    before = [(folder / name).stat().st_ino for name in names]
    prepare_run(folder, manifest=csv, recipe="quick")
    assert [(folder / name).stat().st_ino for name in names] == before
    prepare_run(folder, manifest=csv, recipe="quick", settings=["seed=9"])
    after = [(folder / name).stat().st_ino for name in names]
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_a_fault_leaves_no_run(tmp_path: Path, csv: Path) -> None:
    with pytest.raises(MmgenreError, match="no such file"):
        prepare_run(tmp_path / "run", manifest=tmp_path / "gone.csv")
    with pytest.raises(MmgenreError, match="unknown key"):
        prepare_run(tmp_path / "run", manifest=csv, settings=["sede=1"])
    assert not (tmp_path / "run").exists()


def test_opening_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(MmgenreError, match=r"no run here; make one: mmgenre extract-features --ru"):
        open_run(tmp_path)


@pytest.mark.parametrize("content", ODD_STATES)
def test_a_damaged_state_says_what_to_do(tmp_path: Path, csv: Path, content: str) -> None:
    folder = tmp_path / "run"
    prepare_run(folder, manifest=csv, recipe="quick")
    (folder / "run.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    for use in (open_run, prepare_run):
        with pytest.raises(MmgenreError, match=r"run\.json: damaged .*; delete it and give"):
            use(folder)


def test_a_state_of_another_version_names_the_key(tmp_path: Path, csv: Path) -> None:
    folder = tmp_path / "run"
    prepare_run(folder, manifest=csv, recipe="quick")
    state = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    state["recipe"]["audio"]["hop"] = 512
    write_record(folder / "run.json", state)
    with pytest.raises(MmgenreError, match=r"run\.json: unknown key 'audio\.hop'"):
        open_run(folder)


def test_the_built_in_catalogue_is_the_default(
    tmp_path: Path, csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []

    def instead(seed: int = 0, **_: object) -> Path:
        seeds.append(seed)
        return csv

    monkeypatch.setattr("mmgenre.pipeline.prepare.built_in_catalogue", instead)
    run = prepare_run(tmp_path / "run", settings=["seed=6"])
    assert (run.dataset, seeds) == ("synthetic", [6])
    assert run.recipe == load_recipe("quick", ["seed=6"], Manifest.read(csv))
    shutil.rmtree(tmp_path / "run")
    assert prepare_run(tmp_path / "run", recipe="default").recipe == load_recipe(
        "default", manifest=Manifest.read(csv)
    )


def test_a_service_is_asked_on_the_word_of_the_user_and_not_of_a_run(
    tmp_path: Path, csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMGENRE_CACHE", str(tmp_path / "cache"))
    own = tmp_path / "own"
    check_address(prepare_run(own, manifest=csv, recipe="quick", settings=ASKING), "text")
    check_address(prepare_run(own), "text")  # goes on here
    check_address(open_run(own), "text")
    other = tmp_path / "other"
    shutil.copytree(own, other)  # as if it had come from somebody
    opened = prepare_run(other, manifest=csv)
    for run in (opened, open_run(other), prepare_run(other, settings=["seed=3"])):
        with pytest.raises(RecipeError, match=rf"would send every text to {ADDRESS}.*--set text"):
            check_address(run, "text")
    with pytest.raises(RecipeError, match="would send every text"):
        read_shard(Shard(1, 1), run=other, modalities=("text",))
    with pytest.raises(RecipeError, match="would send every text"):
        extract_features(run=other, modalities=("text",))
    check_address(prepare_run(other, manifest=csv, settings=ASKING[1:]), "text")
    check_address(prepare_run(other, manifest=csv), "text")


def test_a_recipe_without_a_service_asks_none(tmp_path: Path, csv: Path) -> None:
    check_address(prepare_run(tmp_path / "run", manifest=csv, recipe="quick"), "text")
    check_address(open_run(tmp_path / "run"), "text")


def test_copies_of_an_inline_text_are_a_leak() -> None:
    text = "One review that stands under every edition of this album."
    doubled = [
        replace(i, media={"text": (text,)}) if i.id in ("i00", "i13") else i for i in given()
    ]
    with pytest.raises(SplitError, match=r"leak in 1 place.*\n.*identical text 'One review that"):
        with_splits(Manifest(doubled), recipe())
    undrawn = [replace(item, split=None) for item in doubled]
    drawn = splits(with_splits(Manifest(undrawn), recipe()))
    assert drawn["i00"] == drawn["i13"]


def test_artists_that_are_nobody_leak_nothing() -> None:
    for name in ("Various Artists", "Unknown Artist", "N/A"):
        compiled = [replace(item, artist=name) for item in given()]
        assert len(with_splits(Manifest(compiled), recipe())) == len(compiled)


def test_a_run_notes_names_that_look_wrong(tmp_path: Path) -> None:
    renamed = [replace(i, labels=("hip-hop" if k else "Hip Hop",)) for k, i in enumerate(given())]
    path = Manifest(renamed).write(tmp_path / "m.csv")
    run = prepare_run(tmp_path / "run", manifest=path, recipe="quick")
    assert any("are written in several ways" in note for note in run_notes(run))
