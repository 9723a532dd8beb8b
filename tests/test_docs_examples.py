"""Every example of docs/examples runs, as a person would call it, and says what its page says."""

from __future__ import annotations

import doctest
import json
import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from music import make_sound, tag
from notebooks import executed
from pages import ROOT
from published_layouts import FMA_COLUMNS, FMA_GENRES

from mmgenre.datasets.tags import read_tags
from mmgenre.errors import MmgenreError
from mmgenre.pipeline.experiment import load_experiment

FOLDER = ROOT / "docs" / "examples"
MOST_LINES = 70
FILES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".py", ".toml", ".ipynb"))
Example = Callable[..., list[str]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples find the catalogue that the first of them has made."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMGENRE_CACHE", str(cache))
    monkeypatch.syspath_prepend(str(FOLDER))  # Python does so for a script
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Example:
    """Runs a file with arguments and returns the lines that it prints."""

    def run(name: str, *arguments: object) -> list[str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capsys.readouterr()
        runpy.run_path(str(FOLDER / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def figures(lines: list[str], after: str = ": ") -> dict[str, float]:
    """What lines such as `A+T: 0.812 [...]` say, by their first words."""
    pairs = (line.partition(after) for line in lines)
    return {name: float(rest.split()[0]) for name, _, rest in pairs}


@pytest.mark.slow
def test_own_encoder(example: Example) -> None:
    found = figures(example("own_encoder.py"))
    assert found.keys() == {"A.statistics", "A.moments", "A"}
    assert found["A.moments"] > 0.55  # it has learned something
    config = json.loads(Path("runs/own-encoder/encoders/audio.moments/config.json").read_text())
    assert config["config"]["width"] == 64


@pytest.mark.slow
def test_own_head(example: Example) -> None:
    found = figures(example("own_head.py"), ": macro ROC-AUC ")
    assert found.keys() == {"KNeighborsClassifier", "LogisticRegression"}
    assert min(found.values()) > 0.6


@pytest.mark.slow
def test_own_metric(example: Example) -> None:
    found = figures(example("own_metric.py"))
    assert {"A", "T", "A+T"} <= found.keys()
    assert all(0.1 < value <= 1 for value in found.values())


def test_own_metric_is_as_its_docstring_says() -> None:
    import own_metric  # type: ignore[import-not-found, unused-ignore]

    assert doctest.testmod(own_metric) == (0, 2)


@pytest.mark.slow
def test_ablation(example: Example) -> None:
    *lines, page = example("my_ablation.py")
    assert [line.partition(":")[0] for line in lines] == [
        *("T", "A+T", "A+T+I"),
        *("T less A+T", "T less A+T+I", "A+T less A+T+I"),
    ]
    assert all(0 <= float(line.split(", p ")[1].split(",")[0]) <= 1 for line in lines[3:])
    assert "A+T+I" in Path(page).read_text(encoding="utf-8")


def test_the_recipe_of_the_ablation_is_an_experiment() -> None:
    assert len(load_experiment(str(FOLDER / "my_ablation.toml")).cells) == 3


@pytest.mark.slow
def test_frozen_trio(example: Example, tiny: Mapping[str, Path]) -> None:
    models = [f"dir:{tiny[name]}" for name in ("clap", "bert", "dinov2")]
    first, *rows, prediction, licence = example("frozen_trio.py", *models)
    assert "audio of" in first
    assert {"A", "T", "I", "A+T+I"} <= figures(rows).keys()
    assert prediction.startswith("Prediction(")
    assert licence


@pytest.mark.slow
def test_frozen_trio_without_a_network_says_what_to_get(
    example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MmgenreError, match="laion/larger_clap_music"):
        example("frozen_trio.py")


def make_fma(folder: Path, n: int = 60) -> Path:
    """FMA's layout: tables with two header rows and a third, and clips named by number."""
    upper, lower = ([",".join(["", *(pair[k] for pair in FMA_COLUMNS)])] for k in (0, 1))
    rows = [*upper, *lower, "track_id" + "," * len(FMA_COLUMNS)]
    for number in range(200, 200 + n):
        genre, hz = (("Rock", 12), 220.0) if number % 2 else (("Hip-Hop", 21), 2000.0)
        split = ("training", "training", "training", "validation", "test")[number // 2 % 5]
        bio = f"<p>{('loud guitars', 'deep beats')[number % 2 == 0]} of band {number}</p>"
        cells = [number, bio, f"Album {number}", bio, number, f"Band {number}", split, "small"]
        cells += [genre[0], f"[{genre[1]}]", f"[{genre[1]}]", "en", "CC", f"Song {number}"]
        rows.append(",".join(map(str, [number, *cells])))
        make_sound(folder / "fma_small" / "000" / f"{number:06}.mp3", 3.0, hz + number)
    tables = folder / "fma_metadata"
    tables.mkdir()
    (tables / "tracks.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tables / "genres.csv").write_text(FMA_GENRES, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_fma(example: Example, here: Path) -> None:
    lines = example("fma.py", make_fma(here / "fma"))
    assert "{'train': 36, 'val': 12, 'test': 12}" in lines
    rows = [line for line in lines if ": accuracy " in line]
    assert figures(rows, ": accuracy ")["A"] > 0.9  # tones of two heights
    assert all("on 12 test items" in line for line in rows)


def make_music(folder: Path) -> Path:
    """Low tones are Rock and high ones Jazz; every fifth artist's second track has no genre."""
    for number in range(24):
        genre, hz = (("Rock", 150.0), ("Jazz", 2500.0))[number % 2]
        for track in (1, 2):
            path = make_sound(folder / f"Artist {number}" / f"{track}.flac", 3.0, hz + 9 * number)
            own = [] if number % 5 == 0 and track == 2 else [genre]
            tag(path, artist=f"Artist {number}", album="First", genre=own)
    return folder


@pytest.mark.slow
def test_music_to_tags(example: Example, here: Path) -> None:
    music = make_music(here / "music")
    untagged = [music / f"Artist {number}" / "2.flac" for number in range(0, 24, 5)]
    told = example("music_to_tags.py", music)
    assert told
    assert all(" no genre -> " in line for line in told)
    assert [read_tags(path).genres for path in untagged] == [()] * 5
    assert example("music_to_tags.py", music, "write") == told
    written = [read_tags(path).genres for path in untagged]
    assert sum(map(bool, written)) == len(told)
    right = [((("Rock",), ("Jazz",))[n % 2]) for n in range(0, 24, 5)]
    assert all(own in ((), truth) for own, truth in zip(written, right, strict=True))
    assert Path("undo.jsonl").is_file()


@pytest.mark.slow
def test_the_notebook_shows_what_is_stored_in_it() -> None:
    notebook = json.loads((FOLDER / "report.ipynb").read_text(encoding="utf-8"))
    n_html = 0
    for cell, outputs in executed(notebook):
        stored = cell["outputs"]
        assert [o["output_type"] for o in outputs] == [o["output_type"] for o in stored]
        for now, then in zip(outputs, stored, strict=True):
            assert now.get("data", {}).keys() == then.get("data", {}).keys()
            n_html += "text/html" in now.get("data", {})
    assert n_html == 4
    assert Path("runs/notebook/report.html").is_file()


def test_the_notebook_has_a_table_and_nothing_of_this_machine() -> None:
    text = (FOLDER / "report.ipynb").read_text(encoding="utf-8")
    outputs = [o for c in json.loads(text)["cells"] for o in c.get("outputs", ())]
    shown = "".join("".join(o.get("data", {}).get("text/html", ())) for o in outputs)
    assert shown.count("<table") >= 2
    assert "/home/" not in text
    assert "/tmp/" not in text


@pytest.mark.parametrize("name", FILES)
def test_examples_are_short_and_listed(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert f"({name})" in (FOLDER / "index.md").read_text(encoding="utf-8")
    if not name.endswith(".ipynb"):
        assert len(text.splitlines()) <= MOST_LINES
    assert f'"{name}"' in Path(__file__).read_text(encoding="utf-8")  # a test runs it
