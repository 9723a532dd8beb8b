"""What a model says of itself before its predictions are trusted."""

from __future__ import annotations

from pathlib import Path

import torch
from command_line import Call
from small import Small

from mmgenre.disk.bundle import write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.fusion.notes import curve_notes, model_notes
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.learning.settings import TrainingConfig
from mmgenre.measuring.curves import Curve


def encoder(folder: Path, auc: float, n_train: int = 900) -> Path:
    epochs = [
        {"epoch": k, "train_loss": 0.5, "val_loss": 0.5, "metrics": {"macro_roc_auc": auc}}
        for k in (1, 2)
    ]
    curve = {"epochs": epochs, "best_epoch": 2, "n_train": n_train, "n_val": 60, "chance_auc": 0.56}
    about = {"encoder": "cnn", "n_parameters": 1}
    files, weights = {"curve.json": curve}, {"w": torch.ones(1)}
    return write_bundle(
        folder, "audio encoder", about, weights, Provenance("encoder", 1, {}), files=files
    )


def test_an_encoder_at_chance_is_told_and_a_good_one_is_not(tmp_path: Path) -> None:
    encoders = {
        "audio": encoder(tmp_path / "a", 0.52),
        "audio.other": encoder(tmp_path / "b", 0.8),
        "text": encoder(tmp_path / "c", 0.8, n_train=31),
    }
    assert model_notes({}, encoders) == (
        "audio (cnn): is at chance on validation (ROC-AUC .52 of 60 rows; chance reaches .56)",
        "text (cnn): learned from 31 training rows only",
    )


def test_an_expert_at_chance_is_told_and_a_good_one_is_not() -> None:
    experts = {
        "image": {"roc_auc": 0.51, "chance": 0.55},
        "text": {"roc_auc": 0.8, "chance": 0.55},
        "clap": {"roc_auc": None, "chance": None},
    }
    assert model_notes({"experts": experts}, {}) == (
        "image: at chance on training items, cross-fitted (ROC-AUC 0.51; chance reaches 0.55): it "
        "says nothing about genres",
    )


def test_an_early_stop_is_told_where_the_training_is_known(tmp_path: Path) -> None:
    folder = encoder(tmp_path / "a", 0.8)
    assert curve_notes(folder) == []
    [stopped] = curve_notes(folder, TrainingConfig(max_epochs=9))
    assert stopped == "stopped after 2 of 9 evaluations, as none after number 2 was better"
    empty: Curve = {"epochs": [], "best_epoch": 0}
    write_bundle(
        tmp_path / "fixed", "audio encoder", {}, {}, Provenance("encoder", 1, {}),
        files={"curve.json": empty},
    )  # fmt: skip
    assert curve_notes(tmp_path / "fixed") == []


def test_predict_says_them_at_its_end(small: Small, tmp_path: Path, call: Call) -> None:
    text = tmp_path / "t.txt"
    text.write_text("Heavy riffs, loud amplifiers.", encoding="utf-8")
    notes = GenreTagger.from_pretrained(small.run).notes
    assert any(note.startswith("text (vsm): learned from ") for note in notes)
    done = call("predict", small.run, "--text", text, "--json")
    assert done.err.splitlines()[-len(notes) :] == [f"note: {note}" for note in notes]
    assert done.json  # alone on stdout
    model = tmp_path / "model"
    assert call("export", small.run, model).code == 0  # what is exported says the same
    assert GenreTagger.from_pretrained(model).notes == notes
