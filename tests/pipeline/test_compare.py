"""Runs on the same items: the better one is named, equal ones are not told apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Call

from mmgenre.errors import MmgenreError
from mmgenre.items.item import Item, Split
from mmgenre.items.manifest import Manifest
from mmgenre.measuring.metrics import main_figures
from mmgenre.pipeline.commands import fuse
from mmgenre.pipeline.compare import compare
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.scores import read_scores
from mmgenre.report.compare import render_comparison, verdict

N, GENRES = 240, 3
SPLITS: tuple[Split, ...] = ("train", "val", "test")


def made(folder: Path, noise: float, *, names: str = "genre", first: int = 0) -> Path:
    """A run on given vectors that tell genres the less, the more noise there is."""
    folder.mkdir()
    genre = np.arange(N) % GENRES
    directions = 3 * np.random.default_rng(0).standard_normal((GENRES, 6))
    x = directions[genre] + noise * np.random.default_rng(1).standard_normal((N, 6))
    items = [
        Item(
            f"i{k + first}", artist=f"artist {k // 2}", labels=(f"{names} {genre[k]}",),
            split=SPLITS[0 if k < 120 else 1 + k // 2 % 2],
        )
        for k in range(N)
    ]  # fmt: skip
    manifest = Manifest(items).write(folder / "m.csv")
    np.savez(folder / "v.npz", ids=np.array([item.id for item in items]), x=x)
    fuse(run=folder / "run", manifest=manifest, features={"v": folder / "v.npz"})
    return folder / "run"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("compare")
    return [made(folder / name, noise) for name, noise in (("good", 0.5), ("bad", 9.0))]


def test_the_better_run_is_named(runs: list[Path]) -> None:
    found = compare(runs)
    assert [side["name"] for side in found["sides"]] == ["good/run", "bad/run"]
    assert (found["n_items"], found["n_groups"]) == (60, 30)
    [d] = found["differences"]
    assert d["verdict"] == "better"
    assert verdict(found).endswith("better than bad/run.")
    for side, run in zip(found["sides"], map(open_run, runs), strict=True):
        scores = read_scores(run.fusions / side["fusion"], "val")
        y, own = run.truth(scores.ids), scores.values[:, -1, 0].astype(float)
        assert side["figures"] == pytest.approx(main_figures(y, own, exclusive=True))
    assert d["value"] == pytest.approx(
        found["sides"][0]["figures"]["macro_f1"] - found["sides"][1]["figures"]["macro_f1"]
    )
    assert len(found["genres"]) == GENRES
    assert found["items"]
    for item in found["items"]:
        assert item["first"]["good/run"][0] != item["first"]["bad/run"][0]


def test_the_page_says_so_and_loads_nothing(runs: list[Path], tmp_path: Path, call: Call) -> None:
    page = tmp_path / "c.html"
    done = call("compare", *map(str, runs), "--out", page, "--json")
    assert done.json == json.loads(json.dumps(compare(runs)))
    html = page.read_text(encoding="utf-8")
    assert html == render_comparison(compare(runs))
    assert "better than bad/run" in html
    assert "http" not in html.replace("http-equiv", "")
    assert "better than bad/run" in call("compare", *map(str, runs)).out


def test_what_cannot_be_compared_is_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(MmgenreError, match="needs two different runs"):
        compare([runs[0], runs[0]])
    with pytest.raises(MmgenreError, match="has no row A; its rows are v"):
        compare(runs, row="A")
    other = made(tmp_path / "other", 1.0, names="style")
    with pytest.raises(MmgenreError, match="have not the same genres"):
        compare([runs[0], other])
    apart = made(tmp_path / "apart", 1.0, first=N)
    with pytest.raises(MmgenreError, match="have no val item in common"):
        compare([runs[0], apart])
