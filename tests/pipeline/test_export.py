"""A run's model as a folder: whole without the run, checked to the last byte, described."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from small import NAME, Small

from mmgenre import GenreTagger, Manifest
from mmgenre.disk.files import write_json
from mmgenre.disk.records import SEAL, sealed
from mmgenre.errors import BundleError, MmgenreError, WeightsError
from mmgenre.fusion.exported import EXPORT, check_exported, list_files
from mmgenre.pipeline.export import export_model

READ = """
import json, sys
from mmgenre import GenreTagger, Manifest
tagger = GenreTagger.from_pretrained(sys.argv[1])
found, _ = tagger.predict_manifest(Manifest.read(sys.argv[2]), workers=1)
print(json.dumps({p.id: {g.name: g.score for g in p.genres} for p in found}))
"""


@pytest.fixture(scope="module")
def exported(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_model(small.run, tmp_path_factory.mktemp("exported") / "model")


def test_a_fresh_process_without_the_run_predicts_the_same(
    small: Small, exported: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(exported, tmp_path / "elsewhere" / "model")
    manifest = Manifest.read(small.manifest)
    some = manifest.only(manifest.ids()[:8]).write(small.manifest.with_name("some.csv"))
    command = [sys.executable, "-c", READ, str(moved), str(some)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    found = json.loads(done.stdout)
    some_items = Manifest.read(some)
    expected, _ = GenreTagger.from_pretrained(small.run).predict_manifest(some_items, workers=1)
    assert len(expected) == len(found) == 8
    for prediction in expected:
        of_run = {genre.name: genre.score for genre in prediction.genres}
        assert found[prediction.id] == pytest.approx(of_run, abs=1e-6)


def test_it_holds_what_prediction_needs_and_its_card(small: Small, exported: Path) -> None:
    above = {path.relative_to(exported).parts[0] for path in exported.rglob("*")}
    parts = {"config.json", "model.safetensors", "sha256.json", "encoders", "trust"}
    assert above == parts | {EXPORT, "README.md"}
    listed = json.loads((exported / EXPORT).read_text("utf-8"))["files"]
    there = {p.relative_to(exported).as_posix() for p in exported.rglob("*") if p.is_file()}
    assert set(listed) == there - {EXPORT, "README.md"}
    of_run = sum(p.stat().st_size for p in (small.run / "fusion" / NAME / "model").rglob("*.*"))
    of_export = sum(p.stat().st_size for p in exported.rglob("*") if p.is_file())
    assert of_export < of_run + 40_000


def test_the_card_tells_data_figures_and_limits(small: Small, exported: Path) -> None:
    text = (exported / "README.md").read_text("utf-8")
    assert text.startswith("---\nlibrary_name: mmgenre\n")
    whole = small.result["rows"][-1]
    assert f"| {whole['name']} |" in text
    for row in small.result["rows"]:
        assert f"{row['all']['summary']['macro_roc_auc']['mean']:.3f}" in text
    manifest = Manifest.read(small.run / "manifest.csv")
    assert f"{manifest.count('train'):,} train" in text
    for genre in small.result["labels"]:
        line = next(line for line in text.splitlines() if line.startswith(f"| {genre} |"))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        support = whole["all"]["per_seed"][0]["per_label"][genre]
        assert int(cells[2]) == support["support"]
        if support["roc_auc"] is None:
            assert cells[3:] == ["", ""]
            continue
        low, high = map(float, cells[4].split(" to "))
        assert float(cells[3]) == pytest.approx(support["roc_auc"], abs=6e-4)
        assert low <= float(cells[3]) <= high
    assert "Fewer than 20 training items have" in text


def test_a_flipped_byte_anywhere_is_refused_by_name(exported: Path, tmp_path: Path) -> None:
    files = {p.relative_to(exported) for p in exported.rglob("*") if p.is_file()}
    files -= {Path("README.md")}
    assert len(files) > 10
    for name in sorted(files):
        model = shutil.copytree(exported, tmp_path / "model")
        content = bytearray((model / name).read_bytes())
        content[len(content) // 2] ^= 0x10
        (model / name).write_bytes(bytes(content))
        with pytest.raises(BundleError) as caught:
            GenreTagger.from_pretrained(model)
        assert str(model / name) in str(caught.value)
        (model / name).unlink()
        if name != Path(EXPORT):
            with pytest.raises(BundleError, match="is gone"):
                GenreTagger.from_pretrained(model)
        shutil.rmtree(model)


def test_a_card_may_be_edited(exported: Path, tmp_path: Path) -> None:
    model = shutil.copytree(exported, tmp_path / "model")
    card = model / "README.md"
    card.write_text(card.read_text("utf-8") + "\nWrite to us.\n", encoding="utf-8")
    GenreTagger.from_pretrained(model)
    about = json.loads((model / EXPORT).read_text("utf-8"))
    about["files"]["README.md"] = "0" * 64  # as earlier versions listed it
    del about[SEAL]
    write_json(model / EXPORT, sealed(about))
    GenreTagger.from_pretrained(model)


def test_each_flipped_bit_of_the_list_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    list_files(tmp_path, "multi-logistic-a+t+i")
    path = tmp_path / EXPORT
    written = path.read_bytes()
    check_exported(tmp_path)
    for place in range(len(written)):
        for bit in range(8):
            content = bytearray(written)
            content[place] ^= 1 << bit
            path.write_bytes(bytes(content))
            with pytest.raises(BundleError) as caught:
                check_exported(tmp_path)
            assert str(path) in str(caught.value)


def test_a_list_made_before_lists_had_a_hash_opens(exported: Path, tmp_path: Path) -> None:
    old = shutil.copytree(exported, tmp_path / "old")
    about = json.loads((old / EXPORT).read_text("utf-8"))
    del about[SEAL]
    write_json(old / EXPORT, about)
    words = "Heavy riffs, loud amplifiers."
    expected = GenreTagger.from_pretrained(exported).predict(text=words)
    assert GenreTagger.from_pretrained(old).predict(text=words) == expected
    write_json(old / EXPORT, about | {"sha257": "0" * 64})
    with pytest.raises(BundleError, match=r"export\.json: damaged.*sha257"):
        GenreTagger.from_pretrained(old)


def test_a_newer_version_and_foreign_folders_are_named(exported: Path, tmp_path: Path) -> None:
    newer = shutil.copytree(exported, tmp_path / "newer")
    about = json.loads((newer / EXPORT).read_text("utf-8"))
    of_newer = about | {"format": 2, "made_by": "mmgenre 9.9"}
    write_json(newer / EXPORT, sealed(of_newer))
    with pytest.raises(BundleError, match=r"newer version \(mmgenre 9.9\); update mmgenre"):
        GenreTagger.from_pretrained(newer)
    outside = shutil.copytree(exported, tmp_path / "outside")
    of_outside = about | {"files": {"../../secret": "0" * 64}}
    write_json(outside / EXPORT, sealed(of_outside))
    with pytest.raises(BundleError, match="is not in the folder"):
        GenreTagger.from_pretrained(outside)
    with pytest.raises(BundleError, match="no fusion head"):
        GenreTagger.from_pretrained(tmp_path)


def test_nothing_is_written_over(small: Small, exported: Path, tmp_path: Path) -> None:
    before = (exported / EXPORT).read_bytes()
    with pytest.raises(MmgenreError, match="exists; give the name of a new folder"):
        export_model(small.run, exported)
    assert (exported / EXPORT).read_bytes() == before
    with pytest.raises(BundleError, match="is a model already"):
        export_model(exported, tmp_path / "again")
    assert not list(tmp_path.iterdir())


def test_save_pretrained_is_whole(exported: Path, tmp_path: Path) -> None:
    tagger = GenreTagger.from_pretrained(exported)
    again = GenreTagger.from_pretrained(tagger.save_pretrained(tmp_path / "again"))
    words = "Heavy riffs, loud amplifiers."
    assert again.predict(text=words) == tagger.predict(text=words)
    with pytest.raises(MmgenreError, match="exists"):
        tagger.save_pretrained(tmp_path / "again")


def test_media_in_memory_are_as_files(small: Small, exported: Path) -> None:
    tagger = GenreTagger.from_pretrained(exported)
    items = Manifest.read(small.manifest)
    item = next(i for i in items if {"audio", "image"} <= i.media.keys())
    sound, cover = Path(item.media["audio"][0]), Path(item.media["image"][0])
    expected = tagger.predict(audio=sound, image=cover)
    samples, rate = soundfile.read(sound, dtype="float32", always_2d=True)
    with Image.open(cover) as picture:
        pixels = np.asarray(picture.convert("RGB"))
        found = [
            tagger.predict(audio=sound.read_bytes(), image=cover.read_bytes()),
            tagger.predict(audio=samples.T, sr=rate, image=picture),
            tagger.predict(audio=[samples.mean(axis=1)], sr=rate, image=pixels),
        ]
    of_file = {genre.name: genre.score for genre in expected.genres}
    for prediction in found:
        own = {genre.name: genre.score for genre in prediction.genres}
        assert own == pytest.approx(of_file, abs=2e-3)
    for wrong in (
        {"audio": samples.T},
        {"audio": sound, "sr": rate},
        {"audio": np.zeros((4, 4, 4)), "sr": rate},
        {"image": pixels.astype(float)},
    ):
        with pytest.raises(ValueError, match=r"audio|sr|image"):
            tagger.predict(**wrong)


def test_without_network_the_hub_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"hf download owner/name --local-dir FOLDER"):
        GenreTagger.from_pretrained("hf:owner/name")
