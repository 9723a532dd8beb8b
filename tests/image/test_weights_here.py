"""Whether ImageNet weights are used depends on the files of this machine; no server is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmgenre.image.weights import are_here
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.recipe import load_recipe

FILE = "hub/checkpoints/resnet50-11ad3fa6.pth"


def test_weights_are_here_if_their_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert not are_here("resnet-50")
    assert are_here("resnet-50", "none")
    assert are_here("resnet-50", "weights.pth")  # whose absence is an error that says so
    (tmp_path / FILE).parent.mkdir(parents=True)
    (tmp_path / FILE).touch()
    assert are_here("resnet-50")
    assert not are_here("resnet-101")


@pytest.mark.parametrize("here", [True, False])
def test_auto_is_decided_by_that_alone(here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmgenre.image.weights.are_here", lambda *_: here)
    covers = [Item(f"i{k}", labels=("Jazz",), media={"image": (Path("c.jpg"),)}) for k in range(9)]
    notes: list[str] = []
    recipe = load_recipe("default", [], Manifest(covers), notes)
    own = ("network", "descriptors") if here else ("descriptors",)
    assert recipe.of("image").encoders == own
    told = [note for note in notes if note.startswith("image.encoders = descriptors")]
    assert [("--set image.weights=imagenet downloads them" in note) for note in told] == (
        [] if here else [True]
    )
    asked = load_recipe("default", ["image.weights=imagenet"], Manifest(covers), [])
    assert asked.of("image").encoders == ("network", "descriptors")
