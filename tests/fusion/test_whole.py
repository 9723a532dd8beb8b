"""A fusion predicts with its own encoders, whatever becomes of those of its run."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small import MODEL, NAME, Small

from mmgenre.disk.bundle import bundle_fingerprint, link_bundle
from mmgenre.errors import BundleError
from mmgenre.fusion.prediction import Prediction
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.modalities import MODALITIES
from mmgenre.learning.encoder import load_encoder
from mmgenre.pipeline.commands import extract_features, fuse

WAIT_S = 120
CHANGE = "text.hidden_dim=40"


def predicted(run: Path, fusion: str | None = None) -> Prediction:
    return GenreTagger.from_pretrained(run, fusion).predict(text="Heavy riffs, loud amplifiers.")


def test_a_fusion_carries_its_encoders_as_links(small: Small) -> None:
    for modality in MODALITIES:
        own, of_run = small.run / MODEL / "encoders" / modality, small.run / "encoders" / modality
        names = {path.name for path in of_run.iterdir()}
        assert {path.name for path in own.iterdir()} == names
        assert all((own / name).samefile(of_run / name) for name in names)


@pytest.mark.slow
def test_after_a_kill_between_encoder_and_fusion_the_old_model_goes_on(
    small: Small, tmp_path: Path
) -> None:
    run = small.copy(tmp_path / "run")
    before, encoder = predicted(run), run / "encoders" / "text"
    fingerprint = bundle_fingerprint(encoder)
    words = ("extract-features", "--run", str(run), "--modalities", "t", "--set", CHANGE)
    process = subprocess.Popen([sys.executable, "-m", "mmgenre", *words])
    deadline = time.monotonic() + WAIT_S
    while bundle_fingerprint(encoder) in (fingerprint, None):
        assert process.poll() is None, "ended before it replaced the encoder"
        assert time.monotonic() < deadline, "the encoder was not replaced"
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert predicted(run) == before
    extract_features(run=run)
    assert predicted(run) == before
    fuse(run=run, seeds=2)
    assert predicted(run) != before


def test_without_links_a_fusion_carries_copies(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small.copy(tmp_path / "run")

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refused)
    fuse(("text",), run=run, seeds=1)
    own, of_run = run / "fusion/multi-logistic-t/model/encoders/text", run / "encoders/text"
    for file in of_run.iterdir():
        assert (own / file.name).read_bytes() == file.read_bytes()
        assert not (own / file.name).samefile(file)
    shutil.rmtree(run / "encoders")
    assert predicted(run, "multi-logistic-t").used == ("text",)


def test_a_full_disk_while_parts_are_copied_leaves_what_was_there(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small.copy(tmp_path / "run")
    before = sorted(path.name for path in (run / "fusion").iterdir())

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="no room"):
        fuse(("text",), run=run, seeds=1)
    assert sorted(path.name for path in (run / "fusion").iterdir()) == before
    assert predicted(run) == predicted(small.run)


def test_a_fusion_of_an_earlier_version_takes_the_encoders_of_its_run(
    small: Small, tmp_path: Path
) -> None:
    run = small.copy(tmp_path / "run")
    shutil.rmtree(run / MODEL / "encoders")
    assert predicted(run) == predicted(small.run)
    shutil.rmtree(run / "encoders" / "text")
    with pytest.raises(BundleError, match=r"encoders/text: not the one that the fusion .* fuse"):
        predicted(run)


def test_a_carried_encoder_of_another_fusion_is_refused(small: Small, tmp_path: Path) -> None:
    run = small.copy(tmp_path / "run")
    extract_features(run=run, modalities=("text",), settings=[CHANGE])
    shutil.rmtree(run / MODEL / "encoders" / "text")
    link_bundle(run / "encoders" / "text", run / MODEL / "encoders" / "text")
    with pytest.raises(BundleError, match=r"model/encoders/text: not the one that the fusion"):
        predicted(run)
    with pytest.raises(BundleError, match=r"not the one .* copy the whole folder again"):
        predicted(run / MODEL)


def test_a_model_that_is_replaced_while_it_is_read_is_read_again(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other = small.copy(tmp_path / "run"), small.copy(tmp_path / "other")
    extract_features(run=other, settings=[CHANGE])
    fuse(run=other, seeds=2)

    def swapped(*args: object, **kwargs: object) -> object:
        if (other / "fusion" / NAME).exists():
            shutil.rmtree(run / "fusion" / NAME)
            (other / "fusion" / NAME).rename(run / "fusion" / NAME)
        return load_encoder(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("mmgenre.learning.encoder.load_encoder", swapped)
    found = predicted(run)
    monkeypatch.undo()
    assert found == predicted(run) != predicted(small.run)


@pytest.mark.parametrize("name", ["../../run.json", "gone.json"])
def test_only_files_of_the_folder_are_carried(small: Small, tmp_path: Path, name: str) -> None:
    source = tmp_path / "encoder"
    shutil.copytree(small.run / "encoders" / "text", source)
    sums = source / "sha256.json"
    sums.write_text(sums.read_text(encoding="utf-8").replace("curve.json", name), encoding="utf-8")
    with pytest.raises(BundleError, match="not a file of this model folder, or gone"):
        link_bundle(source, tmp_path / "target")
    assert not (tmp_path / "target").exists()
