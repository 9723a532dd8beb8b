"""The benchmark on tiny folders: our figures, the peers beside them, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Call
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from small import SETTINGS

from mmgenre.datasets.synthetic import make_catalogue
from mmgenre.errors import MmgenreError
from mmgenre.items.item import Item, Split
from mmgenre.items.labels import ancestors
from mmgenre.items.manifest import Manifest
from mmgenre.items.splits import make_splits
from mmgenre.measuring.benchmark_results import BenchmarkFigure, BenchmarkFolder, BenchmarkResult
from mmgenre.pipeline.benchmark import run_benchmark
from mmgenre.pipeline.notes import run_notes
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.scores import Scores, read_scores

RATIOS = (0.5, 0.2, 0.3)
ON = "test"  # the default is val
HOW: dict[str, Any] = {"on": ON, "recipe": "quick", "settings": SETTINGS, "seeds": 2}
# Groups in any order of letters; the best on validation is not the best on test.
PEERS = {
    "words LR": {"group": "t", "val": 0.81, "auc": 0.61, "ap": 0.31},
    "words NB": {"group": "t", "val": 0.80, "auc": 0.91, "ap": 0.91},
    "sound LR": {"group": "a", "val": 0.70, "auc": 0.60, "ap": 0.30},
    "late mean": {"group": "t+a", "val": 0.85, "auc": 0.75, "ap": 0.45},
}


def write_peers(folder: Path, *, main: str = "auc", **changes: Any) -> None:
    names = {"auc": ("auc", "ap"), "f1": ("f1",)}[main]
    peers = {
        name: {
            "group": peer["group"],
            "val": peer["val"],
            "test": {m: {"mean": peer["auc" if m == "f1" else m]} for m in names},
        }
        for name, peer in PEERS.items()
    }
    (folder / "peers.json").write_text(json.dumps({"main": main, "peers": peers, **changes}))


def write_manifests(folder: Path, items: list[Item]) -> None:
    folder.mkdir()
    for number in range(3):
        drawn = make_splits(Manifest(items), RATIOS, seed=number)
        Manifest(replace(i, split=drawn[i.id]) for i in items).write(
            folder / f"manifest-{number}.csv"
        )


@dataclass(frozen=True)
class Tiny:
    """Folders `many` (text, given audio, given clap) and `one` (text alone), and their result."""

    folder: Path
    result: BenchmarkResult

    @property
    def folders(self) -> list[Path]:
        return [self.folder / "many", self.folder / "one"]

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def of(self, name: str) -> BenchmarkFolder:
        return next(found for found in self.result["folders"] if found["name"] == name)

    def figure(self, name: str, row: str, metric: str) -> BenchmarkFigure:
        return next(r for r in self.of(name)["rows"] if r["name"] == row)["figures"][metric]

    def scores(self, name: str, number: int) -> tuple[Manifest, Scores]:
        run = open_run(self.runs / f"{name}-{number}")
        (fusion,) = run.fusions.iterdir()
        return run.manifest, read_scores(fusion)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("benchmark")
    catalogue = Manifest.read(make_catalogue(folder / "media", seed=1, n_albums=32))
    with_text = [
        replace(item, media={"text": item.media["text"]})
        for item in catalogue
        if "text" in item.media
    ]
    many, one = folder / "many", folder / "one"
    write_manifests(many, with_text)
    ids = [item.id for item in with_text]
    rng = np.random.default_rng(0)
    audio = rng.normal(size=(len(ids), 6))
    audio[0], audio[1, 2] = 0.0, np.nan  # two items without a vector
    np.savez(many / "vectors.npz", ids=ids, X_audio=audio, X_clap=rng.normal(size=(len(ids), 4)))
    write_peers(many)
    write_manifests(one, [replace(i, labels=ancestors(i.labels[0])[:1]) for i in with_text])
    write_peers(one, main="f1")
    return Tiny(folder, run_benchmark([many, one], runs=folder / "runs", **HOW))


def truth(
    manifest: Manifest, ids: tuple[str, ...], of: Split | None = "train"
) -> tuple[list[str], NDArray[np.bool_]]:
    """Labels of training or all items as the manifest names them, without any taxonomy."""
    names = sorted({name for labels in manifest.labels(of) for name in labels})
    return names, np.array([[name in manifest[i].labels for name in names] for i in ids])


def one_genre(y: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The column of each item's genre; -1 for one that no training item has."""
    return np.where(y.any(axis=1), y.argmax(axis=1), -1)


@pytest.mark.parametrize(
    ("metric", "peer"),
    [("macro_roc_auc", roc_auc_score), ("macro_pr_auc", average_precision_score)],
)
def test_figures_are_of_the_labels_that_the_manifest_names(
    tiny: Tiny, metric: str, peer: Callable[..., float]
) -> None:
    """scikit-learn on the stored scores; broader genres that our task adds are no labels here."""
    of_splits = []
    for number in range(3):
        manifest, scores = tiny.scores("many", number)
        names, y = truth(manifest, scores.ids)
        assert len(names) < len(scores.about["labels"])
        columns = [scores.about["labels"].index(name) for name in names]
        kept = y.any(axis=0) & ~y.all(axis=0)
        row = [r["name"] for r in scores.about["rows"]].index("A+T")
        values = [scores.values[:, row, k][:, columns] for k in range(2)]
        of_splits.append(np.mean([peer(y[:, kept], v[:, kept]) for v in values]))
    figure = tiny.figure("many", "A+T", metric)
    assert figure["per_split"] == pytest.approx(of_splits)
    assert figure["ours"] == pytest.approx(np.mean(of_splits))


def test_one_label_for_every_item_means_one_genre(tiny: Tiny) -> None:
    assert [tiny.of(name)["exclusive"] for name in ("many", "one")] == [False, True]
    manifest, scores = tiny.scores("one", 1)
    names, y = truth(manifest, scores.ids)
    assert names == scores.about["labels"]
    predicted = [scores.values[:, 0, k].argmax(axis=1) for k in range(2)]
    there = np.flatnonzero(y.any(axis=0))
    f1 = [
        f1_score(one_genre(y), p, labels=there, average="macro", zero_division=0) for p in predicted
    ]
    assert tiny.figure("one", "T", "macro_f1")["per_split"][1] == pytest.approx(np.mean(f1))


def test_rows_and_their_peers(tiny: Tiny) -> None:
    assert tiny.result["failed"] == []
    peers = {row["name"]: row["peer"] for row in tiny.of("many")["rows"]}
    # Groups are sets of letters; the peer is chosen by val; inputs that no peer has stand alone.
    expected = {"A": "sound LR", "T": "words LR", "A+T": "late mean"}
    alone = ("clap", "A+clap", "T+clap", "A+T+clap")
    assert peers == expected | dict.fromkeys(alone)
    figure = tiny.figure("many", "A+T", "macro_pr_auc")
    assert figure["peer"] == 0.45
    assert figure["ours"] is not None
    assert figure["difference"] == pytest.approx(figure["ours"] - 0.45)
    assert tiny.figure("many", "clap", "macro_pr_auc")["difference"] is None
    assert {row["name"]: row["peer"] for row in tiny.of("one")["rows"]} == {"T": "words LR"}


def test_vectors_are_given_and_their_empty_rows_are_missing(tiny: Tiny) -> None:
    run = open_run(tiny.runs / "many-2")
    n = len(run.manifest)
    assert run.given_vectors() == {
        "audio": {"n_items": n - 2, "n_unknown": 0},
        "clap": {"n_items": n, "n_unknown": 0},
    }
    assert not (run.folder / "inputs" / "audio.h5").exists()


Change = Callable[[dict[str, NDArray[Any]]], object]


def write_peer_scores(tiny: Tiny, folder: Path, change: Change = lambda arrays: None) -> None:
    """Peers of `many`: A perfect, T wrong, A+T our own first seed. Items and labels reversed."""
    arrays: dict[str, NDArray[Any]] = {}
    for number in range(3):
        manifest, scores = tiny.scores("many", number)
        names, y = truth(manifest, scores.ids, None)
        rows = [r["name"] for r in scores.about["rows"]]
        # Peers score all labels, ours none that no training item has.
        column = {name: k for k, name in enumerate(scores.about["labels"])}
        padded = np.pad(scores.values[:, :, 0], ((0, 0), (0, 0), (0, 1)))
        columns = [column.get(name, -1) for name in names]
        ours = {name: padded[:, k][:, columns] for k, name in enumerate(rows)}
        arrays["labels"] = np.array(names[::-1])
        arrays[f"{number}|ids"] = np.array(scores.ids[::-1])
        of_groups = {"a": y.astype(float), "t": -y.astype(float), "t+a": ours["A+T"]}
        arrays |= {f"{number}|{group}": s[::-1, ::-1] for group, s in of_groups.items()}
    change(arrays)
    folder.mkdir(exist_ok=True)
    np.savez(folder / "many.npz", **arrays)  # type: ignore[arg-type]


def test_scores_of_peers_give_paired_intervals(tiny: Tiny, tmp_path: Path) -> None:
    write_peer_scores(tiny, tmp_path)
    how = HOW | {"runs": tiny.runs, "peer_scores": tmp_path}
    again = Tiny(tiny.folder, run_benchmark([tiny.folder / "many"], **how))
    assert again.result["failed"] == []
    found = {r["name"]: r["figures"]["macro_roc_auc"]["paired"] for r in again.of("many")["rows"]}
    audio, text, both = found["A"], found["T"], found["A+T"]
    assert audio is not None
    assert text is not None
    assert both is not None
    assert (audio["verdict"], text["verdict"]) == ("lost", "won")
    assert both["low"] <= both["value"] <= both["high"]
    assert found["clap"] is None
    # Ours is the mean over two seeds, theirs the first of them; truth and items are joined by id.
    ours = again.figure("many", "A", "macro_roc_auc")["ours"]
    assert ours is not None
    assert audio["value"] == pytest.approx(ours - 1)
    assert text["value"] == pytest.approx(ours_of(again, "T"))
    one = [tiny.scores("many", number) for number in range(3)]
    artists = {m[i].artist for m, scores in one for i in scores.ids}
    assert audio["n_groups"] == len(artists)


def ours_of(tiny: Tiny, row: str) -> float:
    ours = tiny.figure("many", row, "macro_roc_auc")["ours"]
    assert ours is not None
    return ours


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda a: a.pop("1|t"), r"many.npz: no array 1\|t; it has labels, 0\|ids"),
        (lambda a: a.update({"2|ids": np.char.add(a["2|ids"], "x")}), "split 2: no scores for"),
        (lambda a: a.update(labels=np.char.add(a["labels"], "x")), "many.npz: scores of"),
    ],
)
def test_scores_of_other_peers_are_refused(
    tiny: Tiny, tmp_path: Path, change: Change, match: str
) -> None:
    write_peer_scores(tiny, tmp_path, change)
    how = HOW | {"runs": tiny.runs, "peer_scores": tmp_path}
    (failed,) = run_benchmark([tiny.folder / "many"], **how)["failed"]
    assert re.search(match, failed["error"])


def failure(folder: Path, tiny: Tiny, **how: Any) -> str:
    """What a folder that is like `one` but for something fails with; runs are shared."""
    result = run_benchmark([folder], **{**HOW, "runs": folder.parent / "runs", **how})
    (failed,) = result["failed"]
    assert failed["folder"] == str(folder)
    return failed["error"]


@pytest.fixture
def one(tiny: Tiny, tmp_path: Path) -> Path:
    """A copy of the folder `one` and of its runs."""
    shutil.copytree(tiny.folder / "one", tmp_path / "one")
    shutil.copytree(tiny.runs, tmp_path / "runs")
    # Media lie where the manifests say, relative to their own folder.
    (tmp_path / "media").symlink_to(tiny.folder / "media")
    return tmp_path / "one"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "peers.json: not figures of peers (JSONDecodeError"),
        ('{"main": "mcc", "peers": {}}', "peers.json: not figures of peers (KeyError: 'mcc')"),
        ('{"main": "f1", "peers": {"x": {"group": "t"}}}', "(KeyError: 'val')"),
        (
            '{"main": "auc", "peers": {}}',
            "figures for several labels an item, but this task has one",
        ),
    ],
)
def test_peers_that_cannot_be_compared_are_refused(
    one: Path, tiny: Tiny, content: str, match: str
) -> None:
    (one / "peers.json").write_text(content)
    assert match in failure(one, tiny)


def test_labels_that_one_genre_merges_are_not_compared(tmp_path: Path, tiny: Tiny) -> None:
    rock = ("Rock/Punk", "Rock/Folk")
    items = [
        Item(
            f"i{k:02}", artist=f"artist {k}", labels=((*rock, "Jazz")[k % 3],),
            media={"text": (f"Guitars{k % 3} and songs{k % 4}.",)},
        )
        for k in range(30)
    ]  # fmt: skip
    folder = tmp_path / "merged"
    write_manifests(folder, items)
    write_peers(folder, main="f1")
    # Two labels of one broad genre: the task is that of many genres, and the peers' is not.
    assert "but this task has several labels" in failure(folder, tiny)


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"X_audio": np.ones((3, 2))}, "expected ids (n,) and arrays X_NAME (n, width); got X_aud"),
        ({"ids": np.array(["a"]), "x": np.ones((1, 2))}, "expected ids (n,)"),
        ({"ids": np.array(["a"]), "X_audio": np.ones((2, 2))}, "got ids (1,), X_audio (2, 2)"),
        ({"ids": np.array(["a"]), "X_audio": np.ones((1, 2))}, "none of the 1 ids of audio"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(
    one: Path, tiny: Tiny, arrays: Mapping[str, NDArray[Any]], match: str
) -> None:
    np.savez(one / "vectors.npz", **arrays)  # type: ignore[arg-type]
    assert match in failure(one, tiny)


def test_peer_scores_that_are_asked_for_must_be_there(one: Path, tiny: Tiny) -> None:
    assert "one.npz: no such file" in failure(one, tiny, peer_scores=one)


def test_a_folder_without_peers_is_measured_alone(one: Path, tiny: Tiny) -> None:
    (one / "peers.json").unlink()
    result = run_benchmark([one], **HOW, runs=one.parent / "runs")
    (row,) = result["folders"][0]["rows"]
    assert row["peer"] is None
    before = tiny.figure("one", "T", "macro_f1")
    assert row["figures"]["macro_f1"] == {**before, "peer": None, "difference": None}


@pytest.mark.slow
def test_settings_of_an_earlier_call_are_forgotten(one: Path) -> None:
    how = HOW | {"runs": one.parent / "runs"}
    run_benchmark([one], **{**how, "settings": [*SETTINGS, "text.training.max_epochs=1"]})
    assert open_run(one.parent / "runs" / "one-0").recipe.of("text").training.max_epochs == 1
    run_benchmark([one], **how)
    assert open_run(one.parent / "runs" / "one-0").recipe.of("text").training.max_epochs == 3


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MmgenreError, match="several folders are called same; their runs would"):
        run_benchmark([tmp_path / "a/same", tmp_path / "b/same/"], runs=tmp_path, **HOW)


def words(tiny: Tiny, *folders: Path) -> list[object]:
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    how = ["--on", ON, "--recipe", "quick", "--seeds", 2, "--runs", tiny.runs]
    return ["benchmark", *folders, *how, *sets]


@pytest.mark.slow
def test_the_command_prints_one_table(tiny: Tiny, call: Call) -> None:
    done = call(*words(tiny, *tiny.folders))
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    figure = tiny.figure("many", "T", "macro_roc_auc")
    expected = f"T AUC {figure['ours']:.3f} words LR 0.610 {figure['difference']:+.3f}"
    assert expected.split() in lines
    assert lines.index(["many"]) < lines.index(["one"])
    assert "quick on test items" in done.out
    assert "verdict" not in done.out
    assert call(*words(tiny, *tiny.folders), "--json").json == tiny.result


def test_the_command_prints_intervals(tiny: Tiny, tmp_path: Path, call: Call) -> None:
    write_peer_scores(tiny, tmp_path)
    done = call(*words(tiny, tiny.folder / "many"), "--peer-scores", tmp_path)
    assert done.code == 0
    (audio,) = [line for line in done.out.splitlines() if "sound LR" in line]
    assert audio.rstrip().endswith(" lost")


def test_a_failed_folder_is_told_and_the_others_go_on(tiny: Tiny, call: Call) -> None:
    done = call(*words(tiny, tiny.folder / "nowhere", tiny.folder / "one"))
    assert done.code == 1
    assert "words LR" in done.out
    assert f"failed: {tiny.folder / 'nowhere'}: " in done.err
    assert "manifest-0.csv" in done.err
    assert "no such file" in done.err


def test_notes_on_the_runs_are_told_at_the_end(tiny: Tiny, call: Call) -> None:
    notes = tiny.of("one")["notes"]
    few = [note for note in notes if "text (vsm): learned from" in note]
    assert few
    for number in range(3):
        for note in run_notes(open_run(tiny.runs / f"one-{number}")):
            assert [n for n in notes if n == note or n.endswith(f": {note}")], note
    assert len(set(notes)) == len(notes)
    done = call(*words(tiny, tiny.folder / "one"))
    assert [line for line in done.out.splitlines() if line.startswith("note: ")] == [
        f"note: one: {note}" for note in notes
    ]


def test_figures_are_of_validation_unless_test_is_asked_for(tiny: Tiny, call: Call) -> None:
    given = words(tiny, tiny.folder / "one")
    without = [word for word in given if word not in ("--on", ON)]
    done = call(*without)
    assert done.code == 0
    assert "quick on validation items" in done.out
    figure = call(*without, "--json").json["folders"][0]["rows"][0]["figures"]["macro_f1"]
    of_splits = []
    for number in range(3):
        run = open_run(tiny.runs / f"one-{number}")
        (fusion,) = run.fusions.iterdir()
        scores = read_scores(fusion, "val")
        assert scores.ids == run.manifest.ids("val")
        _, y = truth(run.manifest, scores.ids)
        there = np.flatnonzero(y.any(axis=0))
        how: dict[str, Any] = {"labels": there, "average": "macro", "zero_division": 0}
        named = [scores.values[:, 0, k].argmax(axis=1) for k in range(2)]
        of_splits.append(np.mean([f1_score(one_genre(y), found, **how) for found in named]))
    assert figure["per_split"] == pytest.approx(of_splits)
    assert figure["per_split"] != tiny.figure("one", "T", "macro_f1")["per_split"]


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "rows"), [("netlabels", {"T"}), ("gtzan_vectors", {"A", "T", "A+T"})]
)
def test_real_sets_beside_their_peers(
    real_data: Path, tmp_path: Path, name: str, rows: set[str]
) -> None:
    """On validation items: test is opened by people, not by a test suite."""
    folder = real_data / "dev" / name
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    result = run_benchmark([folder], modalities=("audio", "text"), runs=tmp_path, seeds=1)
    assert result["failed"] == []
    (found,) = result["folders"]
    of_name = {row["name"]: row for row in found["rows"]}
    assert rows <= of_name.keys()
    for name in rows:
        row = of_name[name]
        main = next(iter(row["figures"].values()))
        assert row["peer"] is not None
        assert main["difference"] is not None
        assert all(value is not None for value in main["per_split"])
