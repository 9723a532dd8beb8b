"""What a page shows of test items: which are chosen, what is said of them, whose media it holds."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import Call
from PIL import Image
from small import NAME, Small

from mmgenre.errors import MmgenreError
from mmgenre.explain.excerpt import RATE_HZ, mp3_base64
from mmgenre.explain.results import Qualitative
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.labels import ancestors
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline import examples, judged
from mmgenre.pipeline.examples import examples_of
from mmgenre.pipeline.judged import Judged, audit_of, judged_test, lacking_of, reliability_of
from mmgenre.pipeline.qualitative import make_report, write_qualitative
from mmgenre.pipeline.run import Run, open_run


@pytest.fixture(scope="module")
def run(small: Small) -> Run:
    return open_run(small.run)


@pytest.fixture(autouse=True)
def _curves_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged, "FEWEST", 1)


@pytest.fixture(scope="module")
def own(run: Run) -> Judged:
    return judged_test(run, seed=0)


def test_the_first_are_chosen_whatever_is_predicted(
    run: Run, own: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "N_FIRST", 3)
    upside_down = replace(own, scores=1 - own.scores)
    first = []
    for which in (own, upside_down):
        found = examples_of(run, which, with_media=False)["items"]
        first.append([item["id"] for item in found if not item["is_mistake"]])
    assert first[0] == first[1]
    items = [run.manifest[i] for i in first[0]]
    assert len(items) == 3
    all_genres = {ancestors(run.manifest[i].labels[0])[0] for i in run.manifest.ids("test")}
    genres = [ancestors(item.labels[0])[0] for item in items]
    assert len(set(genres)) == min(3, len(all_genres)) > 1
    assert {item.split for item in items} == {"test"}
    assert len(items[0].media) == 3


def test_mistakes_are_the_surest_of_the_other_wrong_ones(
    run: Run, own: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "N_FIRST", 1)
    monkeypatch.setattr(examples, "N_MISTAKES", 2)
    found = examples_of(run, own, with_media=False)["items"]
    best = own.scores.argmax(axis=1)
    wrong = {
        own.table.ids[k]: own.scores[k, j]
        for k, j in enumerate(best)
        if not own.whole.y[k, j] and own.table.ids[k] != found[0]["id"]
    }
    expected = sorted(wrong, key=lambda i: -wrong[i])[:2]
    assert [item["id"] for item in found if item["is_mistake"]] == expected
    assert len(expected) == 2
    for item in found:
        assert item["guesses"][0]["right"] is (item["guesses"][0]["genre"] in item["truth"])
        if item["is_mistake"]:
            assert not item["guesses"][0]["right"]


def test_guesses_and_reasons_are_those_of_the_tagger(run: Run, own: Judged, small: Small) -> None:
    item = examples_of(run, own, with_media=False)["items"][0]
    tagger = GenreTagger.from_pretrained(small.run)
    [told], _ = tagger.predict_manifest(Manifest([run.manifest[item["id"]]]), explain=True)
    assert told.reasons is not None
    assert [g["genre"] for g in item["guesses"]] == [g.name for g in told.genres[:5]]
    assert item["guesses"][0]["score"] == pytest.approx(told.genres[0].score, abs=1e-3)
    assert item["shares"] == pytest.approx(dict(told.reasons.shares), abs=2e-3)
    assert sum(item["shares"].values()) + item["base"] == pytest.approx(
        item["guesses"][0]["score"], abs=1e-6
    )
    assert item["nearest"][0]["id"] == told.reasons.nearest[0].id
    seconds = [s.share for s in told.reasons.seconds if s.track == 0]
    assert seconds
    assert [share for *_, share in item["seconds"]] == pytest.approx(seconds, abs=2e-3)
    np.testing.assert_allclose(item["places"], told.reasons.cover, atol=2e-3)
    words = {word.name: word.share for word in told.reasons.words}
    assert item["words"]
    assert dict(item["words"]) == pytest.approx({w: words[w] for w, _ in item["words"]}, abs=1e-3)
    assert [abs(share) for _, share in item["words"]] == sorted(
        (abs(share) for _, share in item["words"]), reverse=True
    )


def test_media_of_ones_own_are_in_the_page_only_when_asked_for(run: Run, own: Judged) -> None:
    without = examples_of(run, own, with_media=False)["items"]
    assert {item["excerpt"] for item in without} == {item["text"] for item in without} == {None}
    assert any(item["cover"] for item in without)
    for item in examples_of(run, own, with_media=True)["items"]:
        media = run.manifest[item["id"]].media
        assert (item["cover"] is None) is ("image" not in media)
        assert (item["excerpt"] is None) is ("audio" not in media)
        assert (item["text"] is None) is ("text" not in media)
        if item["cover"]:
            picture = Image.open(io.BytesIO(base64.b64decode(item["cover"])))
            assert (picture.format, picture.size) == ("JPEG", (320, 320))  # inputs have 40 pixels
        if item["excerpt"]:
            sound, rate = soundfile.read(io.BytesIO(base64.b64decode(item["excerpt"])))
            assert rate == RATE_HZ
            assert len(sound) / rate == pytest.approx(8, abs=0.2)


def test_a_damaged_medium_is_told_and_the_rest_is_shown(
    run: Run, own: Judged, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"no sound" * 99)
    items = [
        replace(i, media={**i.media, "audio": (broken,), "image": (tmp_path / "gone.jpg",)})
        for i in run.manifest
    ]
    other = replace(run, manifest=Manifest(items))
    for item in examples_of(other, own, with_media=True)["items"]:
        assert [fault.partition(":")[0] for fault in item["faults"]] == ["cover", "excerpt"]
        assert (item["cover"], item["excerpt"]) == (None, None)
        assert item["guesses"]


def test_media_outside_of_what_the_user_named_are_not_opened(
    run: Run, own: Judged, tmp_path: Path
) -> None:
    columns = replace(run.manifest.columns, roots=(tmp_path,))
    other = replace(run, manifest=Manifest(columns, where=run.manifest.where))
    found = examples_of(other, own, with_media=True)["items"]
    assert all(item["cover"] is None and item["excerpt"] is None for item in found)
    assert sum(len(item["faults"]) for item in found) >= len(found)


def test_an_excerpt_sounds_like_the_track_and_does_not_click() -> None:
    x = np.sin(2 * np.pi * 440 * np.arange(2 * RATE_HZ) / RATE_HZ).astype(np.float32) / 2
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(mp3_base64(x))))
    loudest = np.abs(np.fft.rfft(sound)).argmax() * rate / len(sound)
    assert loudest == pytest.approx(440, abs=2)
    assert np.abs(sound[:50]).max() < 0.1


def test_what_is_likely_is_so_as_often_as_is_said(own: Judged) -> None:
    found = reliability_of(own)
    assert sum(found["n"]) == own.whole.y.size
    assert np.dot(found["true"], found["n"]) == pytest.approx(own.whole.y.sum())
    assert 0 <= found["error"] <= 1
    perfect = reliability_of(replace(own, scores=own.whole.y.astype(float)))
    assert perfect["error"] == 0


def test_of_few_items_no_curve_is_drawn(own: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged, "FEWEST", len(own.table) + 1)
    with pytest.raises(MmgenreError, match=f"{len(own.table)} test items: .* are needed"):
        reliability_of(own)
    with pytest.raises(MmgenreError, match="are needed"):
        lacking_of(own, seed=0)


def test_with_all_modalities_the_whole_is_measured(own: Judged, small: Small) -> None:
    found = lacking_of(own, seed=0)
    assert list(found["subsets"]) == ["A", "T", "I", "A+T", "A+I", "T+I", "A+T+I"]
    assert found["curve"][0] == pytest.approx(found["subsets"]["A+T+I"])
    row = next(r for r in small.result["rows"] if r["name"] == "A+T+I")
    assert own.n_test == len(own.table) == row["all"]["n_items"]  # every test item has something


def test_many_test_items_are_judged_by_a_sample(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged, "MOST_ITEMS", 3)
    found = judged_test(run, seed=0)
    assert len(found.table) == 3 < found.n_test
    assert judged_test(run, seed=0).table.ids == found.table.ids


def test_what_two_splits_share_is_told(run: Run) -> None:
    assert audit_of(run)["n_leaks"] == 0
    test = run.manifest.ids("test")[0]
    train = run.manifest[run.manifest.ids("train")[0]]
    items = [replace(i, artist=train.artist) if i.id == test else i for i in run.manifest]
    found = audit_of(replace(run, manifest=Manifest(items)))
    assert found["n_leaks"] >= 1
    leak = found["leaks"][0]
    assert (leak["kind"], leak["value"]) == ("artist", train.artist)
    assert {"train", "test"} <= set(leak["splits"])
    assert "artists" in found["checked"]


def test_the_page_of_the_command_has_media_when_asked_for(
    small: Small, tmp_path: Path, call: Call
) -> None:
    folder = small.copy(tmp_path / "run")
    (tmp_path / "catalogue").symlink_to(small.manifest.parent)  # media lie beside the run
    call("report", folder, "--media")
    assert "<audio" in (folder / "report.html").read_text(encoding="utf-8")
    found: Qualitative = json.loads((folder / "qualitative.json").read_text(encoding="utf-8"))
    assert found["examples"]
    assert found["examples"]["fusion"] == NAME
    assert not any(item["faults"] for item in found["examples"]["items"])


def test_without_encoders_all_but_pieces_are_shown(run: Run, own: Judged, tmp_path: Path) -> None:
    found = examples_of(replace(run, folder=tmp_path), own, with_media=False)
    assert [reason.partition(":")[0] for reason in found["unsaid"]] == ["audio", "text", "image"]
    assert str(tmp_path) in found["unsaid"][1]
    for item in found["items"]:
        assert item["guesses"]
        assert [item["words"], item["seconds"], item["places"]] == [[], [], []]


def test_of_one_modality_without_an_encoder_nothing_is_said_and_of_others_it_is(
    small: Small, own: Judged, tmp_path: Path
) -> None:
    folder = small.copy(tmp_path / "run")
    (folder / "encoders" / "text").rename(tmp_path / "text")
    found = examples_of(open_run(folder), own, with_media=False)
    [reason] = found["unsaid"]
    assert reason.startswith("text: ")
    assert not any(item["words"] for item in found["items"])
    assert any(item["places"] for item in found["items"])
    assert any(item["seconds"] for item in found["items"])


@pytest.mark.slow
def test_without_a_fusion_parts_that_need_one_are_left_out(small: Small, tmp_path: Path) -> None:
    folder = small.copy(tmp_path / "run")
    (folder / "fusion" / NAME / "model").rename(folder / "elsewhere")
    write_qualitative(open_run(folder))
    found: Qualitative = json.loads((folder / "qualitative.json").read_text(encoding="utf-8"))
    for part in ("examples", "reliability", "lacking"):
        assert found[part] is None
        assert "no fusion head" in found["missing"][part]
    assert 'id="examples"' not in make_report(folder).read_text(encoding="utf-8")
