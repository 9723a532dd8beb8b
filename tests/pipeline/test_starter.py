"""The model that the package carries: it predicts, is marked synthetic, and can be made anew."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
from command_line import Call
from safetensors.numpy import load_file
from small import Small

from mmgenre import GenreTagger, Manifest
from mmgenre.errors import BundleError, MmgenreError, NameWarning
from mmgenre.fusion.built_in import BUILT_IN, model_folder
from mmgenre.fusion.by_parts import Loading
from mmgenre.fusion.exported import CARD, NOTES, list_files
from mmgenre.items.labels import closure, levels
from mmgenre.pipeline.export import OF_SYNTHETIC
from mmgenre.pipeline.recipe import load_recipe
from mmgenre.pipeline.starter import LICENCE, RECIPE, train_starter

NAME = "catalogue"
MOST_BYTES = 3_000_000  # of the model, in every wheel and clone


@pytest.fixture(scope="module")
def tagger() -> GenreTagger:
    return GenreTagger.from_pretrained(NAME)


def test_it_is_the_only_one_and_small() -> None:
    assert BUILT_IN == (NAME,)
    folder = model_folder(NAME)
    assert [path.name for path in folder.parent.iterdir()] == [NAME]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < MOST_BYTES


def test_it_names_genres_of_tracks_texts_and_covers(small: Small, tagger: GenreTagger) -> None:
    assert tagger.modalities == ("audio", "text", "image")
    manifest = Manifest.read(small.manifest)
    for having in ("audio", "text", "image"):
        some = manifest.only([i for i in manifest.ids() if manifest[i].media.get(having)][:24])
        alone = Manifest([_only(some[i], having) for i in some.ids()])
        found, refused = tagger.predict_manifest(alone, workers=1)
        assert (len(found), refused) == (24, [])
        own = {i: {levels(name)[0] for name in closure(some[i].labels)} for i in some.ids()}
        right = [levels(p.genres[0].name)[0] in own[p.id] for p in found]
        assert sum(right) > 12  # of ten genres, one by chance
        assert all(p.used == (having,) for p in found)


def _only(item: Any, having: str) -> Any:
    from dataclasses import replace

    return replace(item, media={having: item.media[having]})


def test_it_says_that_it_is_synthetic(
    call: Call, tagger: GenreTagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tagger.notes[0] == OF_SYNTHETIC
    assert "not those of real music" in OF_SYNTHETIC
    card = (model_folder(NAME) / CARD).read_text("utf-8")
    assert f"- {OF_SYNTHETIC}\n" in card
    assert f'license: "{LICENCE}"' in card
    text = tmp_path / "review.txt"
    text.write_text("A quiet record of nylon strings.", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = call("predict", NAME, "--text", text, "--json")
    assert done.code == 0
    assert len(done.json["predictions"][0]["genres"]) == 5
    assert f"note: {OF_SYNTHETIC}\n" in done.err


def test_a_copy_says_it_too_and_a_changed_note_is_refused(
    tagger: GenreTagger, tmp_path: Path
) -> None:
    copy = tagger.save_pretrained(tmp_path / "copy")
    assert GenreTagger.from_pretrained(copy).notes == tagger.notes
    (copy / NOTES).write_text("[]", encoding="utf-8")
    with pytest.raises(BundleError, match=rf"{NOTES}: not the file that was exported"):
        GenreTagger.from_pretrained(copy)
    (copy / NOTES).write_text('{"a": 1}', encoding="utf-8")
    list_files(copy, NAME)
    with pytest.raises(BundleError, match=rf"{NOTES}: damaged \(not a list of sentences\)"):
        GenreTagger.from_pretrained(copy)


def test_a_folder_of_its_name_is_said_and_can_be_reached(
    tagger: GenreTagger, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model_folder(NAME) == tagger.folder
    small.copy(tmp_path / NAME)
    with pytest.warns(NameWarning, match=r"catalogue: .*mmgenre carries.*here: \./catalogue"):
        assert GenreTagger.from_pretrained(NAME).folder == tagger.folder
    for here in ("./catalogue", "catalogue/", Path(NAME)):
        own = GenreTagger.from_pretrained(here)
        assert own.fusion.labels.names == tuple(small.result["labels"])
        assert own.folder is not None
        assert own.folder.absolute().is_relative_to(tmp_path)


def test_other_processes_are_told_its_name() -> None:
    assert Loading(NAME).for_others().run == NAME
    assert Path(Loading(f"./{NAME}").for_others().run).is_absolute()


def test_it_is_of_the_recipe_as_it_is_now() -> None:
    card = (model_folder(NAME) / CARD).read_text("utf-8")
    settings = json.loads(card.rpartition("```json\n")[2].partition("```")[0])
    recipe = load_recipe(RECIPE, manifest=Manifest.of_ids(["a"])).model_dump(mode="json")
    for section in ("seed", "labels", "split", "target", "fusion"):
        assert settings[section] == recipe[section], f"{section}: make it anew: train-starter"
    for modality in ("audio", "text", "image"):
        for setting in ("encoders", "embedding_dim", "input"):
            assert settings[modality][setting] == recipe[modality][setting], (modality, setting)


def test_a_target_that_exists_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(MmgenreError, match=r"model: exists"):
        train_starter(_touched(tmp_path / "model"), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def _touched(path: Path) -> Path:
    path.touch()
    return path


@pytest.mark.slow
def test_made_anew_it_is_the_same(small: Small, tagger: GenreTagger, tmp_path: Path) -> None:
    made = train_starter(tmp_path / "model", run=tmp_path / "run")
    old = model_folder(NAME)
    names = {p.relative_to(old) for p in old.rglob("*") if p.is_file()}
    assert {p.relative_to(made) for p in made.rglob("*") if p.is_file()} == names
    for view in ("audio", "text", "image"):
        weights = Path("encoders") / view / "model.safetensors"
        a, b = load_file(old / weights), load_file(made / weights)
        for key, value in a.items():
            assert b[key] == pytest.approx(value, rel=1e-3, abs=1e-3), (view, key)
    shutil.rmtree(tmp_path / "run")  # whole without it
    again = GenreTagger.from_pretrained(made)
    assert again.notes == tagger.notes
    manifest = Manifest.read(small.manifest)
    some = manifest.only(manifest.ids()[:16])
    for one, other in zip(
        tagger.predict_manifest(some)[0], again.predict_manifest(some)[0], strict=True
    ):
        scores = {genre.name: genre.score for genre in one.genres}
        assert {g.name: g.score for g in other.genres} == pytest.approx(scores, abs=0.01)
