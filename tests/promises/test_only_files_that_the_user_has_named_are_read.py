"""A manifest, run or model from elsewhere opens no file and imports no code that the user has not
named; what he named once, he need not name again on this machine.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import Call
from PIL import Image

from mmgenre.datasets.audit import audit, dedupe
from mmgenre.disk.records import write_record
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import BundleError, ManifestError, MmgenreError, RecipeError
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.items.media import Roots
from mmgenre.pipeline.commands import Extraction, extract_features, fuse
from mmgenre.pipeline.export import export_model
from mmgenre.pipeline.grid import prepare_experiment
from mmgenre.pipeline.prepare import prepare_run
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.shards import read_shard
from mmgenre.reading.extraction import Shard, extract_inputs
from mmgenre.text.settings import TextInput

N = 24
WORDS = {"Rock": "loud guitars riffs drums", "Jazz": "sax swing trumpet bebop"}
SMALL = (
    *("text.training.max_epochs=1", "text.training.min_steps=4"),
    *("text.hidden_dim=8", "text.embedding_dim=8"),
)
FAST = [*SMALL, "text.encoders=['linear']"]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMGENRE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[list[str]]:
    """What is opened of the user's secrets."""
    found: list[str] = []
    watched = [f"{tmp_path / 'secret'}{os.sep}"]

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and watched and str(args[0]).startswith(watched[0]):
            found.append(str(args[0]))

    sys.addaudithook(hook)  # which cannot be taken back
    yield found
    watched.clear()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the secret of the user, and beside it what came from a stranger."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key.txt").write_text("swordfish swordfish swordfish")
    (tmp_path / "stranger/texts").mkdir(parents=True)
    return tmp_path


def rows(name: str, n: int = N) -> str:
    lines = ["id,artist,split,labels,text,text_file"]
    for k in range(n):
        split, genre = ("train", "val", "test")[k % 3], list(WORDS)[k // 3 % 2]
        lines.append(
            f"i{k:02d},A{k},{split},{genre},{WORDS[genre]} word{k},{name if k < 3 else ''}"
        )
    return "\n".join(lines) + "\n"


def extract(
    manifest: Path | None, run: Path, *roots: Path, settings: Sequence[str] = FAST
) -> Extraction:
    how: dict[str, Any] = {"recipe": "quick", "settings": settings} if manifest else {}
    return extract_features(
        manifest, run=run, media_roots=roots, modalities=("text",), workers=1, **how
    )


def linked_file(home: Path) -> str:
    (home / "stranger/texts/own.txt").symlink_to(home / "secret/key.txt")
    return "texts/own.txt"


def linked_folder(home: Path) -> str:
    (home / "stranger/here").symlink_to(home / "secret")
    return "here/key.txt"


def link_and_back(home: Path) -> str:
    """By its letters it is within; behind the link it is not."""
    (home / "secret/below").mkdir()
    (home / "stranger/here").symlink_to(home / "secret/below")
    return "here/../key.txt"


def linked_nfd(home: Path) -> str:
    (home / "stranger/texts/e\u0301.txt").symlink_to(home / "secret/key.txt")
    return "texts/\u00e9.txt"


OUTSIDE = {
    "above": lambda _: "../secret/key.txt",
    "far above": lambda home: "../" * 40 + str(home / "secret/key.txt")[1:],
    "absolute": lambda home: str(home / "secret/key.txt"),
    "down and up": lambda _: "texts/../../secret/key.txt",
    "through what is not there": lambda _: "none/../../secret/key.txt",
    "in a list": lambda _: "texts/a.txt; ../secret/key.txt",
    "a link": linked_file,
    "a folder that is a link": linked_folder,
    "behind a link": link_and_back,
    "a link in another form of Unicode": linked_nfd,
}


@pytest.mark.parametrize("how", OUTSIDE)
def test_media_are_read_only_where_the_user_says(home: Path, how: str) -> None:
    (home / "stranger/texts/a.txt").write_text("a text that may be read")
    manifest = home / "stranger/m.csv"
    manifest.write_text(rows(OUTSIDE[how](home)))
    with pytest.raises(ManifestError, match=r"3 of \d+ media lie neither") as caught:
        extract(manifest, home / "run")
    needed = f"add: --media-root {home / 'secret'}"
    assert needed in str(caught.value)
    assert "/../" not in str(caught.value)
    assert not [p for p in home.glob("run/inputs/*.h5") if ".media." not in p.name]
    with pytest.raises(ManifestError, match="media lie neither"):
        audit(Manifest.read(manifest))
    assert extract(manifest, home / "run", home / "secret").counts == {"text": N}
    extract(None, home / "run")  # remembered
    with FeatureStore(home / "run/inputs/text.h5", "text") as store:
        assert "swordfish" in store.read_text("i00")


def test_a_way_over_the_top_of_the_file_system_is_followed(home: Path) -> None:
    up = "/".join([".."] * len(home.parts))
    roots = Roots([home / "secret"])
    assert roots.hold_folder(f"{home}/stranger/{up}{home}/secret")
    assert roots.hold_file(Path(f"{home}/stranger/{up}{home}/secret/key.txt"))
    assert not roots.hold_folder(f"{home}/stranger/{up}{home}/texts")


@pytest.mark.parametrize("how", ["above", "a link"])
def test_every_command_that_reads_media_asks(home: Path, how: str, call: Call) -> None:
    name, manifest = OUTSIDE[how](home), home / "stranger/m.csv"
    manifest.write_text(rows(name))
    Image.new("RGB", (9, 9)).save(home / "secret/c.png")
    picture = "../secret/c.png"
    if how == "a link":
        (home / "stranger/c.png").symlink_to(home / "secret/c.png")
        picture = "c.png"
    covers = home / "stranger/covers.csv"
    covers.write_text(f"id,labels,image\na,Rock,{picture}\nb,Jazz,\n")
    run = ["--run", home / "run", "-m", "t"]
    root = ["--media-root", home / "secret"]
    (home / "table.toml").write_text(
        'base = "quick"\n[table]\ntitle = "T"\nmetrics = ["macro_roc_auc"]\n'
        '[[table.rows]]\nname = "T"\ninputs = ["text"]\n'
    )
    own = home / "own.csv"
    own.write_text(rows(""))
    sets = [word for setting in FAST for word in ("--set", setting)]
    assert call("extract-features", "--manifest", own, *run, "--recipe", "quick", *sets).code == 0
    assert call("fuse", "--run", home / "run", "-m", "t").code == 0
    experiment = [home / "table.toml", "--dataset", manifest, "--runs", home / "runs", *sets]
    other = ["--run", home / "other", "-m", "t", "--recipe", "quick", *sets]
    commands: list[list[object]] = [
        ["extract-features", "--manifest", manifest, *other],
        ["extract-features", "--manifest", manifest, *other, "--shard", "1/2"],
        ["fuse", "--manifest", manifest, "--run", home / "third", "-m", "t"],
        ["predict", home / "run", "--manifest", manifest],
        ["manifest", "check", manifest],
        ["manifest", "dedupe", covers, "--out", home / "out.csv"],
        ["run", *experiment],
    ]
    for words in commands:
        done = call(*words)
        assert done.code == 1, words
        assert "--media-root" in done.out + done.err, words
    for words in (commands[1], commands[3], commands[5]):
        assert call(*words, *root).code == 0, words
    assert call("predict", home / "run", "--manifest", manifest, "--media-root", own).code == 2


def test_the_error_counts_shows_three_and_names_folders_for_all(home: Path) -> None:
    (home / "b c").mkdir()
    for k in range(4):
        (home / f"b c/{k}.txt").write_text(f"a text {k}")
    names = ["../b c/0.txt", "../b c/1.txt", "../secret/key.txt", "texts/../../b c/2.txt"]
    manifest = home / "stranger/m.csv"
    lines = [f"i{k},Rock,{name}" for k, name in enumerate([*names, "texts/a.txt"])]
    manifest.write_text("id,labels,text_file\n" + "\n".join(lines) + "\n")
    with pytest.raises(ManifestError, match=r"4 of 5 media") as caught:
        extract_inputs(Manifest.read(manifest), "text", TextInput(), home / "t.h5", workers=1)
    said = str(caught.value)
    assert said.count(".txt") == 3
    assert "0.txt" in said
    options = shlex.split(said.partition("add: ")[2])
    named = [Path(folder) for folder in options[1::2]]
    assert set(options[::2]) == {"--media-root"}
    again = Manifest.read(manifest, media_roots=named)
    extract_inputs(again, "text", TextInput(), home / "t.h5", workers=1)


def test_a_folder_whose_name_begins_alike_is_another(tmp_path: Path) -> None:
    for name in ("covers", "covers2", "covers/below"):
        (tmp_path / name).mkdir()
    (tmp_path / "inside").symlink_to(tmp_path / "covers/below")
    roots = Roots([tmp_path / "covers"])
    held = ["covers", "covers/below", "covers/..//covers", "covers2/../covers", "inside"]
    others = ["covers2", "", "covers/..", "covers/below/../../covers2", "cover"]
    assert all(roots.hold_folder(f"{tmp_path}/{name}") for name in held)
    assert not any(roots.hold_folder(f"{tmp_path}/{name}") for name in others)
    assert Roots([Path("/")]).hold_folder(str(tmp_path))


def test_items_that_are_made_in_python_may_have_media_anywhere(home: Path) -> None:
    manifest = Manifest([Item("a", media={"text": (home / "secret/key.txt",)})])
    extract_inputs(manifest, "text", TextInput(), home / "t.h5", workers=1)
    # So may the file that they are written to, as long as it is that file.
    written = manifest.write(home / "stranger/m.csv")
    assert audit(Manifest.read(written)).missing == ()
    written.write_text(written.read_text().replace("key.txt", "other.txt"))
    with pytest.raises(ManifestError, match="media lie neither"):
        audit(Manifest.read(written))


def test_a_manifest_that_was_built_here_is_remembered_as_it_was(home: Path, call: Call) -> None:
    for genre in ("Rock", "Jazz"):
        for k in range(3):
            file = home / f"genres/{genre}/{k}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((40 + k, 40), 90).convert("RGB").save(file)
    (home / "out").mkdir()
    built, split, clean = (home / f"out/{name}.csv" for name in ("built", "split", "clean"))
    assert call("manifest", "build", "folders", home / "genres", "--out", built).code == 0
    assert call("manifest", "split", built, "--out", split).code == 0
    assert call("manifest", "dedupe", built, "--out", clean).code == 0
    for file in (built, split, clean):
        assert audit(Manifest.read(file)).missing == (), file
    built.write_text(built.read_text().replace("Rock", "Pop"))
    with pytest.raises(ManifestError, match=f"--media-root {home / 'genres'}"):
        dedupe(Manifest.read(built))
    shutil.copy(split, home / "elsewhere.csv")
    (home / "elsewhere.csv").rename(home / "out/copy.csv")
    with pytest.raises(ManifestError, match=f"--media-root {home / 'genres'}"):
        audit(Manifest.read(home / "out/copy.csv"))


def finished(home: Path, *, settings: Sequence[str] = FAST) -> Path:
    """A run of the user's own, of texts in files."""
    manifest = home / "data/m.csv"
    (home / "data/texts").mkdir(parents=True)
    manifest.write_text(rows("texts/a.txt"))
    (home / "data/texts/a.txt").write_text("a text in a file")
    extract(manifest, home / "run", settings=settings)
    fuse(("text",), run=home / "run")
    return home / "run"


def test_a_run_from_elsewhere_reads_neither_its_manifest_nor_its_media(home: Path) -> None:
    run = finished(home)
    other = home / "other"
    shutil.copytree(run, other)  # as if it had come from somebody
    state = json.loads((other / "run.json").read_text())
    (home / "secret/m.csv").write_text(rows(""))
    state["dataset"] = str(home / "secret/m.csv")
    write_record(other / "run.json", state)
    assert open_run(other).manifest.ids() == open_run(run).manifest.ids()
    assert fuse(("text",), run=other)["rows"]  # from its own copy
    notes = extract_notes(home, other)
    assert any(f"{home / 'secret/m.csv'}, which the run names and you did not" in n for n in notes)
    with pytest.raises(MmgenreError, match=f"add: --manifest {home / 'secret/m.csv'}"):
        prepare_run(other, settings=["seed=7"])  # its splits would be drawn anew


def extract_notes(home: Path, run: Path) -> tuple[str, ...]:
    with pytest.raises(ManifestError, match=f"--media-root {home / 'data/texts'}"):
        extract(None, run)
    return extract(None, run, home / "data/texts").notes


def test_a_run_that_was_moved_goes_on_from_its_own_copy(home: Path) -> None:
    run = finished(home)
    (home / "deep/er").mkdir(parents=True)
    moved = run.rename(home / "deep/er/run")
    shutil.rmtree(home / "data")
    before = (moved / "embeddings.h5").stat()
    result = fuse(("text",), run=moved)
    after = (moved / "embeddings.h5").stat()
    assert result["rows"]
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    (item,) = [i for i in open_run(moved).manifest if i.id == "i00"]
    assert (moved / item.media["text"][0]).resolve() == home / "data/texts/a.txt"


def with_recipe(run: Path, **entities: object) -> Path:
    """The run with other settings of entities in its run.json."""
    state = json.loads((run / "run.json").read_text())
    state["recipe"]["text"]["input"]["entities"] |= entities
    write_record(run / "run.json", state)
    return run


@pytest.mark.parametrize(
    ("annotator", "setting"),
    [
        ("local", "knowledge_base"),
        ("local", "context_model"),
        ("jsonl", "annotations"),
    ],
)
def test_files_that_a_run_names_are_not_opened(
    home: Path, annotator: str, setting: str, opened: list[str]
) -> None:
    run, secret = finished(home), str(home / "secret/key.txt")
    with_recipe(run, annotator=annotator, **{setting: secret})
    expected = rf"run.json: would open {secret}, which the run names.*--set text.input.entities"
    for command in (
        lambda: extract(None, run),
        lambda: fuse(("text",), run=run),
        lambda: read_shard(Shard(1, 1), run=run, modalities=("text",)),
    ):
        with pytest.raises(RecipeError, match=expected):
            command()
    open_run(run)
    assert opened == []
    # Named, it is opened, whatever it holds.
    with pytest.raises(MmgenreError) as caught:
        extract_features(
            run=run, modalities=("text",), settings=[f"text.input.entities.{setting}={secret}"]
        )
    assert "which the run names" not in str(caught.value)


CODE = """
import pathlib
pathlib.Path({mark!r}).touch()
from mmgenre.text.kind import KIND
ENCODER = KIND.encoders["linear"]
"""


@pytest.fixture
def module(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Code that leaves a mark when it is imported."""
    name = f"strange_{home.name.replace('-', '_')}"
    (home / f"{name}.py").write_text(CODE.format(mark=str(home / "mark")))
    monkeypatch.syspath_prepend(str(home))
    return f"{name}:ENCODER"


def test_code_that_a_run_or_model_names_is_not_imported(home: Path, module: str) -> None:
    run = finished(home)
    state = json.loads((run / "run.json").read_text())
    state["recipe"]["text"]["encoders"] = [module]
    write_record(run / "run.json", state)
    expected = rf"would import {module}, which the run names.*--set 'text.encoders="
    for command in (
        lambda: open_run(run),
        lambda: extract(None, run),
        lambda: fuse(("text",), run=run),
    ):
        with pytest.raises(RecipeError, match=expected) as caught:
            command()
    assert not (home / "mark").exists()
    words = shlex.split(str(caught.value).partition("--set ")[2])
    extract_features(run=run, modalities=("text",), settings=[words[0]], workers=1)
    assert (home / "mark").exists()
    fuse(("text",), run=run)
    assert GenreTagger.from_pretrained(run).modalities == ("text",)  # named in its own folder
    other = home / "other"
    shutil.copytree(run, other)
    (home / "mark").unlink()
    sys.modules.pop(module.partition(":")[0])
    with pytest.raises(BundleError, match=f"would import {module}.*--allow {module}"):
        GenreTagger.from_pretrained(other)
    assert not (home / "mark").exists()
    tagger = GenreTagger.from_pretrained(other, allow=[module])
    assert tagger.predict(text="loud guitars").genres
    assert (home / "mark").exists()


def test_files_that_a_model_names_are_not_opened(home: Path, opened: list[str], call: Call) -> None:
    lines = {"annotations": [{"entity": "E", "categories": ["loud"]}]}
    texts = [f"{words} word{k}" for k in range(N) for words in WORDS.values()]
    file = home / "secret/annotations.jsonl"
    file.write_text(
        "".join(json.dumps({"id": f"i{k:02d}"} | lines) + "\n" for k in range(len(texts)))
    )
    settings = [
        *FAST,
        "text.input.entities.annotator=jsonl",
        f"text.input.entities.annotations={file}",
    ]
    run = finished(home, settings=settings)
    GenreTagger.from_pretrained(run)
    other = home / "other"
    shutil.copytree(run, other)
    opened.clear()
    with pytest.raises(BundleError, match=f"would open {file}, which the model names"):
        GenreTagger.from_pretrained(other)
    words = home / "words.txt"
    words.write_text("loud guitars")
    done = call("predict", other, "--text", words)
    assert done.code == 1
    assert f"--allow {file}" in done.err
    assert opened == []
    GenreTagger.from_pretrained(other, allow=[str(file)])
    assert opened
    manifest = home / "data/m.csv"
    assert call("predict", other, "--manifest", manifest, "--allow", file).code in (0, 3)


def test_nor_of_a_model_that_predicts_by_onnx(home: Path, opened: list[str]) -> None:
    """Encoders of such a model are loaded late, what they name is refused as early as of others."""
    file = home / "secret/annotations.jsonl"
    ids = [*(f"i{k:02d}" for k in range(N)), "made-up", "item"]  # of the export, of one prediction
    lines = [{"id": item_id, "annotations": []} for item_id in ids]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    entities = {"annotator": "jsonl", "annotations": file}
    named = [f"text.input.entities.{setting}={value}" for setting, value in entities.items()]
    solved = ["fusion.solver=lbfgs", "fusion.combine=auto"]
    run = finished(home, settings=[*FAST, *named, *solved])
    model = export_model(run, home / "model", onnx=True)
    opened.clear()
    with pytest.raises(BundleError, match=f"would open {file}, which the model names"):
        GenreTagger.from_pretrained(model).predict(text="loud guitars")
    assert opened == []
    tagger = GenreTagger.from_pretrained(model, allow=[str(file)])
    tagger.predict_manifest(Manifest.read(home / "data/m.csv"), workers=1)
    assert opened


def test_an_experiment_names_what_its_recipe_names(home: Path, module: str) -> None:
    manifest = home / "own.csv"
    manifest.write_text(rows(""))
    (home / "table.toml").write_text(
        f'base = "quick"\ntext.encoders = ["{module}"]\n[table]\ntitle = "T"\n'
        'metrics = ["macro_roc_auc"]\n[[table.rows]]\nname = "T"\ninputs = ["text"]\n'
    )
    plan = prepare_experiment(str(home / "table.toml"), dataset=str(manifest), runs=home / "runs")
    assert plan.cells
    assert (home / "mark").exists()
