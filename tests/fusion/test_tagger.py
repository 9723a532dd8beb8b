"""The tagger: gives a test item the scores that the table measured, from any of its modalities."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from small import MODEL, NAME, Small

from mmgenre.disk.provenance import sha256_file
from mmgenre.errors import BundleError, InputError, MmgenreError
from mmgenre.fusion.prediction import Prediction
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.item import Item
from mmgenre.items.labels import closure
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.pipeline.commands import fuse
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.scores import read_scores

SUBSETS = [s for k in (1, 2, 3) for s in combinations(MODALITIES, k)]


@pytest.fixture(scope="module")
def tagger(small: Small) -> GenreTagger:
    return GenreTagger.from_pretrained(small.run)


@pytest.fixture(scope="module")
def run(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with fusions of several kinds."""
    folder = small.copy(tmp_path_factory.mktemp("tagger") / "run")
    fuse(run=folder, seeds=1, task="single", joint=True)
    fuse(("audio", "text"), run=folder, seeds=1, head="cosine")
    return folder


@pytest.fixture(scope="module")
def held_out(small: Small) -> Manifest:
    return Manifest(i for i in open_run(small.run).manifest if i.split == "test")


def only(item: Item, modalities: tuple[Modality, ...]) -> Item:
    return replace(item, media={m: item.media[m] for m in modalities})


def one_of_everything(manifest: Manifest) -> Item:
    """An item with all modalities whose text is one file or one string."""
    return next(
        i for i in manifest if len(i.media) == len(MODALITIES) and len(i.media["text"]) == 1
    )


def given(item: Item, modalities: tuple[Modality, ...] = tuple(MODALITIES)) -> dict[str, Any]:
    """Arguments of `predict`."""
    media = {m: item.media[m] for m in modalities}
    return {m: list(v) if m == "audio" else v[0] for m, v in media.items()}


def scores(prediction: Prediction, names: list[str]) -> NDArray[np.float64]:
    by_name = {g.name: g.score for g in prediction.genres}
    assert sorted(by_name) == sorted(names)
    return np.array([by_name[name] for name in names])


@pytest.mark.parametrize(
    ("fusion", "row"),
    [
        (NAME, "A+T+I"),
        ("single-logistic-a+t+i-with-joint", "A+T+I+joint.A+joint.T+joint.I"),
        ("multi-cosine-a+t", "A+T"),
    ],
)
def test_predictions_are_the_measured_scores(
    run: Path, held_out: Manifest, fusion: str, row: str
) -> None:
    tagger = replace(GenreTagger.from_pretrained(run, fusion), trust=None)  # scores as they are
    predictions, refused = tagger.predict_manifest(held_out)
    assert refused == []
    assert [p.id for p in predictions] == list(held_out.ids())
    names = list(tagger.fusion.labels.names)
    measured = read_scores(run / "fusion" / fusion).of(row, 0, held_out.ids())
    for prediction, expected in zip(predictions, measured, strict=True):
        np.testing.assert_allclose(scores(prediction, names), expected, atol=1e-5)
        has = tuple(m for m in tagger.encoders if m in held_out[prediction.id].media)
        assert prediction.used == has
    assert len({p.used for p in predictions}) > 1


def test_one_item_alone_gets_the_same_scores(
    tagger: GenreTagger, small: Small, held_out: Manifest
) -> None:
    item = one_of_everything(held_out)
    prediction = replace(tagger, trust=None).predict(**given(item))
    [expected] = read_scores(small.run / "fusion" / NAME).of("A+T+I", 0, [item.id])
    np.testing.assert_allclose(
        scores(prediction, list(tagger.fusion.labels.names)), expected, atol=1e-5
    )


def test_every_subset_gives_a_ranking_of_its_own(tagger: GenreTagger, held_out: Manifest) -> None:
    item = one_of_everything(held_out)
    found = []
    for subset in SUBSETS:
        prediction = tagger.predict(**given(item, subset))
        assert prediction.used == subset
        assert prediction.kind == "probability"
        values = [g.score for g in prediction.genres]
        assert values == sorted(values, reverse=True)
        assert 0 <= values[-1] <= values[0] <= 1
        assert tagger.trust is not None
        rules = tagger.trust.rules
        least = rules.get(tuple(sorted(subset)), rules[()]).least
        assert least is not None
        of_genre = dict(zip(tagger.fusion.labels.names, least, strict=True))
        above = {g.name for g in prediction.genres if g.score >= of_genre[g.name]}
        if prediction.unsure:
            assert prediction.named == ()
        else:
            assert set(prediction.named) == closure(above)
        found.append(scores(prediction, list(tagger.fusion.labels.names)))
        [many], _ = tagger.predict_manifest(Manifest([only(item, subset)]))
        np.testing.assert_allclose(found[-1], scores(many, list(tagger.fusion.labels.names)))
    for a, b in combinations(found, 2):
        assert not np.allclose(a, b, atol=1e-6)


def test_one_track_need_not_be_a_list(tagger: GenreTagger, held_out: Manifest) -> None:
    track = next(i for i in held_out if "audio" in i.media).media["audio"][0]
    path = Path(track)
    assert tagger.predict(audio=path) == tagger.predict(audio=[path])
    assert tagger.predict(audio=str(path)) == tagger.predict(audio=path)


def test_text_is_a_file_if_a_path_else_itself(tagger: GenreTagger, tmp_path: Path) -> None:
    words = "Loud riffs and heavy amplifiers; catchy hooks."
    file = tmp_path / "review.txt"
    file.write_text(words, encoding="utf-8")
    assert tagger.predict(text=file) == tagger.predict(text=words)
    assert tagger.predict(text=words) != tagger.predict(text="Intimate ballads, hushed and warm.")


def test_one_genre_an_item(run: Path, held_out: Manifest) -> None:
    tagger = GenreTagger.from_pretrained(run, "single-logistic-a+t+i-with-joint")
    item = one_of_everything(held_out)
    for subset in SUBSETS:
        prediction = tagger.predict(**given(item, subset))
        assert prediction.used == subset
        assert sum(g.score for g in prediction.genres) == pytest.approx(1, abs=1e-5)
        assert prediction.named == (() if prediction.unsure else (prediction.genres[0].name,))


def test_cosines_become_probabilities(run: Path) -> None:
    tagger = GenreTagger.from_pretrained(run, "multi-cosine-a+t")
    prediction = tagger.predict(text="Heavy riffs, loud amplifiers.")
    assert prediction.kind == "probability"
    assert all(0 <= g.score <= 1 for g in prediction.genres)


def test_cosines_of_earlier_versions_are_called_so(run: Path) -> None:
    tagger = replace(GenreTagger.from_pretrained(run, "multi-cosine-a+t"), trust=None)
    prediction = tagger.predict(text="Heavy riffs, loud amplifiers.")
    assert prediction.kind == "cosine"
    values = [g.score for g in prediction.genres]
    assert -1 - 1e-6 <= values[-1] < values[0] <= 1 + 1e-6
    assert list(tagger.encoders) == ["audio", "text"]


def test_nothing_given(tagger: GenreTagger) -> None:
    with pytest.raises(ValueError, match="at least one of audio, text, image"):
        tagger.predict()
    with pytest.raises(ValueError, match="at least one of audio, text, image"):
        tagger.predict(audio=[])


def test_a_modality_that_the_model_does_not_know(run: Path) -> None:
    tagger = GenreTagger.from_pretrained(run, "multi-cosine-a+t")
    with pytest.raises(ValueError, match="image: this model reads audio, text"):
        tagger.predict(image="cover.png", text="Heavy riffs, loud amplifiers.")


def test_damaged_files(tagger: GenreTagger, tmp_path: Path) -> None:
    bad = tmp_path / "bad.flac"
    bad.write_bytes(b"fLaC is what it says")
    calls: list[tuple[dict[str, Any], str]] = [
        ({"audio": bad}, "unreadable"),
        ({"audio": [bad, tmp_path / "gone.mp3"]}, "unreadable"),
        ({"image": bad}, "unreadable"),
        ({"text": tmp_path / "gone.txt"}, "missing"),
        ({"text": "..."}, "empty"),
        ({"text": tmp_path / "gone.txt", "image": tmp_path / "gone.png"}, "missing"),
    ]
    for call, code in calls:
        with pytest.raises(InputError) as caught:
            tagger.predict(**call)
        assert caught.value.code == code
        assert str(caught.value).count(f"[{code}]") == 1
        if "bad" in str(call):
            assert caught.value.where == str(bad)


def test_what_is_damaged_of_one_item_is_left_out(
    tagger: GenreTagger, tmp_path: Path, held_out: Manifest
) -> None:
    item = one_of_everything(held_out)
    good = item.media["audio"][0]
    gone, silent = tmp_path / "gone.mp3", tmp_path / "silent.flac"
    soundfile.write(silent, np.zeros(22050 * 5), 22050)
    rest = given(item, ("text", "image"))
    calls: list[tuple[dict[str, Any], dict[str, Any], list[tuple[str, str]]]] = [
        ({"audio": [good, silent]}, {"audio": good}, [("item#1", "silent")]),
        ({"audio": [gone, good]}, {"audio": good}, [("item#0", "missing")]),
        ({**rest, "audio": [gone, silent]}, rest, [("item#0", "missing"), ("item#1", "silent")]),
        ({"audio": good, "image": gone}, {"audio": good}, [("item", "missing")]),
        ({"audio": good, "text": "..."}, {"audio": good}, [("item", "empty")]),
    ]
    for call, without, expected in calls:
        found = tagger.predict(**call)
        assert [(r.id, r.code) for r in found.refused] == expected
        assert replace(found, refused=()) == tagger.predict(**without), call


def test_of_many_the_damaged_are_listed(
    tagger: GenreTagger, tmp_path: Path, held_out: Manifest
) -> None:
    good = one_of_everything(held_out)
    gone = tmp_path / "gone.mp3"
    items = [
        replace(good, id="good"),
        replace(
            good, id="half", media={"audio": (gone,), "text": ("Heavy riffs, loud amplifiers.",)}
        ),
        replace(good, id="lost", media={"audio": (gone,)}),
        replace(good, id="none", media={}),
        replace(good, id="one-track", media={"audio": (good.media["audio"][0], gone)}),
    ]
    predictions, refused = tagger.predict_manifest(Manifest(items), workers=1)
    assert {p.id: p.used for p in predictions} == {
        "good": tuple(MODALITIES),
        "half": ("text",),
        "one-track": ("audio",),
    }
    assert [(r.id, r.modality, r.code) for r in refused] == [
        ("half#0", "audio", "missing"),
        ("lost#0", "audio", "missing"),
        ("one-track#1", "audio", "missing"),
        ("none", "all", "missing"),
    ]
    alone, _ = tagger.predict_manifest(Manifest([replace(good, id="good")]))
    expected = scores(alone[0], list(tagger.fusion.labels.names))
    found = scores(predictions[0], list(tagger.fusion.labels.names))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_nobody_has_anything(tagger: GenreTagger) -> None:
    predictions, refused = tagger.predict_manifest(Manifest([Item("x"), Item("y")]))
    assert predictions == []
    assert [r.id for r in refused] == ["x", "y"]


def test_the_models_alone_are_enough(small: Small, tmp_path: Path, tagger: GenreTagger) -> None:
    """The model folder can be given away without its run."""
    shutil.copytree(small.run / MODEL, tmp_path / "mine")
    moved = GenreTagger.from_pretrained(tmp_path / "mine")
    assert moved.name == "mine"
    assert moved.predict(text="Heavy riffs, loud amplifiers.") == tagger.predict(
        text="Heavy riffs, loud amplifiers."
    )


def test_of_several_fusions_the_runs_own_is_the_default(run: Path) -> None:
    own = GenreTagger.from_pretrained(run)
    named = GenreTagger.from_pretrained(run, "multi-logistic-a+t+i")
    assert own.predict(text="Heavy riffs, loud amplifiers.") == named.predict(
        text="Heavy riffs, loud amplifiers."
    )


def test_of_several_fusions_without_a_run_one_is_named(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "fusion", tmp_path / "fusion")
    message = r"has multi-cosine-a\+t, multi-logistic-a\+t\+i, single-.*; name one with --fusion"
    with pytest.raises(BundleError, match=message):
        GenreTagger.from_pretrained(tmp_path)


def test_an_unknown_fusion_is_refused(run: Path) -> None:
    with pytest.raises(BundleError, match=r"no fusion 'multi-cosine-a'; has multi-cosine-a\+t, "):
        GenreTagger.from_pretrained(run, "multi-cosine-a")


def test_a_folder_without_models(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no fusion head; train one: mmgenre fuse --run"):
        GenreTagger.from_pretrained(tmp_path)


def test_a_model_folder_has_no_fusions_to_choose_from(small: Small) -> None:
    with pytest.raises(
        BundleError, match=rf"model: is one model and no run; .*'{NAME}'".replace("+", r"\+")
    ):
        GenreTagger.from_pretrained(small.run / MODEL, NAME)


def test_a_damaged_model_is_refused(small: Small, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(small.run / "fusion", folder / "fusion")
    vocabulary = folder / MODEL / "encoders" / "text" / "vocabulary.json"
    content = json.loads(vocabulary.read_text(encoding="utf-8"))
    content["words"][0] = "zyzzyva"
    vocabulary.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BundleError, match=r"vocabulary\.json: not the file that was written"):
        GenreTagger.from_pretrained(folder)


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the config of a model folder, and its checksums with it, as only a person can."""
    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    change(described)
    (folder / "config.json").write_text(json.dumps(described), encoding="utf-8")
    sums = json.loads((folder / "sha256.json").read_text(encoding="utf-8"))
    sums["config.json"] = sha256_file(folder / "config.json")
    (folder / "sha256.json").write_text(json.dumps(sums), encoding="utf-8")


@pytest.mark.parametrize(
    ("part", "change"),
    [
        (f"{MODEL}/encoders/text", lambda d: d["config"].pop("reads")),
        (f"{MODEL}/encoders/text", lambda d: d["config"].update(reads=7)),
        (f"{MODEL}/encoders/text", lambda d: d.update(config=[])),
        (f"{MODEL}/encoders/text", lambda d: d["config"].update(config={"no": "setting"})),
        (f"{MODEL}/encoders/text", lambda d: d["config"].update(encoder="no.such:thing")),
        (MODEL, lambda d: d.update(config=None)),
        (MODEL, lambda d: d.update(config={})),
        (MODEL, lambda d: d.update(kind=["x"])),
        (MODEL, lambda d: d["provenance"].update(parents=7)),
        (MODEL, lambda d: d["provenance"].pop("parents")),
    ],
)
def test_an_odd_config_is_an_error_that_names_the_folder(
    small: Small, tmp_path: Path, part: str, change: Callable[[dict[str, Any]], object]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(small.run / "fusion", folder / "fusion")
    rewritten(folder / part, change)
    with pytest.raises(MmgenreError, match=re.escape(part)):
        GenreTagger.from_pretrained(folder)


def test_a_fusion_that_is_being_written_or_was_set_aside_is_none(
    small: Small, tmp_path: Path, tagger: GenreTagger
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(small.run / "fusion", folder / "fusion")
    for name in (f".{NAME}.box-1-0123abcd.tmp", f"{NAME}.damaged", f".{NAME}.old"):
        shutil.copytree(folder / "fusion" / NAME, folder / "fusion" / name)
    found = GenreTagger.from_pretrained(folder)
    assert found.name == NAME
    assert found.predict(text="Heavy riffs.") == tagger.predict(text="Heavy riffs.")


def test_texts_are_sent_nowhere_on_the_word_of_a_model(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMGENRE_CACHE", str(tmp_path / "cache"))
    folder, url = tmp_path / "run", "https://x.org/annotate"
    shutil.copytree(small.run / "fusion", folder / "fusion")
    entities = {"annotator": "spotlight", "url": url}
    rewritten(
        folder / MODEL / "encoders/text", lambda d: d["config"]["reads"].update(entities=entities)
    )
    asking = GenreTagger.from_pretrained(folder)
    with pytest.raises(BundleError, match=rf"would send every text to {url}.*--entities-url"):
        asking.predict(text="Heavy riffs.")
    other = GenreTagger.from_pretrained(folder, entities_url="https://y.org/annotate")
    with pytest.raises(BundleError, match=rf"would send every text to {url}"):
        other.predict(text="Heavy riffs.")
    assert GenreTagger.from_pretrained(folder, entities_url=url).unasked == {}
    cover = next(i.media["image"][0] for i in open_run(small.run).manifest if "image" in i.media)
    assert asking.predict(image=cover).used == ("image",)  # no text, nothing to send


def test_no_genre_is_named_at_a_risk_that_is_too_high(tagger: GenreTagger) -> None:
    text = "Heavy riffs, loud amplifiers."
    plain, careful = tagger.predict(text=text), tagger.predict(text=text, risk=0.001)
    assert careful.genres == plain.genres
    assert careful.named == ()
    assert careful.unsure is not None
    with pytest.raises(ValueError, match="between 0 and 1"):
        tagger.predict(text=text, risk=1.5)
    with pytest.raises(MmgenreError, match="no probabilities"):
        replace(tagger, trust=None).predict(text=text, risk=0.1)


def test_label_sets_grow_with_their_coverage(tagger: GenreTagger) -> None:
    text = "Heavy riffs, loud amplifiers."
    sets = [set(tagger.predict(text=text, coverage=c).likely) for c in (0.8, 0.9, 0.95)]
    assert sets[0] <= sets[1] <= sets[2]
    assert sets[2]
    with pytest.raises(ValueError, match=r"0\.8, 0\.9, 0\.95"):
        tagger.predict(text=text, coverage=0.5)


def test_a_text_of_hardly_known_words_is_unsure(tagger: GenreTagger) -> None:
    text = "heavy xkwq zpql vrrt mnbv qqwe rtzu plok ijhu zgtf rdes"
    prediction = tagger.predict(text=text)
    assert prediction.notes == ("text: 1 of 11 words known",)
    assert prediction.unsure == "too little is known: 1 of 11 words known"
    assert prediction.named == ()


def test_nearest_training_items_are_said_with_their_genres(
    tagger: GenreTagger, small: Small, held_out: Manifest
) -> None:
    reasons = tagger.predict(**given(one_of_everything(held_out)), explain=True).reasons
    assert reasons is not None
    manifest = Manifest.read(small.run / "manifest.csv")
    assert len(reasons.nearest) == 5
    for neighbour in reasons.nearest:
        assert neighbour.id in manifest.ids("train")
        assert set(neighbour.genres) == closure(manifest[neighbour.id].labels)
        assert -1 <= neighbour.similarity <= 1
