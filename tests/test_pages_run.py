"""Every block of the pages has a mark: that it runs, which these tests do, or why it does not.

A page is read from top to bottom in a folder of its own, with what the pages speak of; runs/mine is
there already, small, except for the README and docs/start.md, which make it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from command_line import Call, make_call
from music import make_sound, tag
from pages import ROOT, Block, blocks, pages
from small import SIZES
from typer.main import get_command

from mmgenre.cli import app
from mmgenre.datasets.synthetic import make_catalogue
from mmgenre.items.labels import ancestors
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.experiment import load_experiment
from mmgenre.pipeline.recipe import load_recipe

START = ("README.md", "docs/start.md")  # they begin without a run
OTHERS = ("CHANGELOG.md",)
BY_PAGE = {
    page.relative_to(ROOT).as_posix(): blocks(page)
    for page in pages()
    if page.relative_to(ROOT).as_posix() not in OTHERS
}
BLOCKS = [block for own in BY_PAGE.values() for block in own]
READ = ("toml", "csv")  # languages of blocks that are read, and take no time
RUN = [page for page, own in BY_PAGE.items() if any(b.runs and b.language not in READ for b in own)]
N_ALBUMS = 48
WORDS = {
    "Rock": "loud riffs amplifiers electrified feedback volume raw fury heavy gritty furious",
    "Jazz": "warm ballads club fingers standards intimate hushed graceful charm morning duets",
}


def make_place(folder: Path) -> Path:
    """What the pages speak of: items.csv, music/, covers/, GENRES/, files to predict, vectors."""
    made = make_catalogue(folder, seed=0, n_albums=N_ALBUMS)
    rows = made.read_text(encoding="utf-8").splitlines()
    dated = [f"{row},{1990 + k % 20 if k else 'year'}" for k, row in enumerate(rows)]
    (folder / "items.csv").write_text("\n".join(dated) + "\n", encoding="utf-8")
    made.unlink()
    items = Manifest.read(folder / "items.csv")
    shown = [item for item in items if "image" in item.media]
    for item in shown:
        (cover,) = item.media["image"]
        for shelf in ("covers", "GENRES"):
            own = folder / shelf / ancestors(item.labels[0])[0]
            own.mkdir(parents=True, exist_ok=True)
            shutil.copy(cover, own / f"{item.id}{Path(cover).suffix}")
    shutil.copy(shown[0].media["image"][0], folder / "cover.jpg")
    for number, name in enumerate(("song", "01", "02")):
        make_sound(folder / f"{name}.mp3", 4.0, 220.0 + 60 * number)
    review = "Warm ballads, hushed standards and loud riffs, recorded in a small club."
    (folder / "review.txt").write_text(review, encoding="utf-8")
    make_music(folder / "music")
    table = [f"{i.media['image'][0]},{ancestors(i.labels[0])[0]}" for i in shown]
    (folder / "table.csv").write_text("\n".join(["filename,genre", *table]), encoding="utf-8")
    items.only(items.ids()[:6]).write(folder / "unlabelled.csv")
    shutil.copy(folder / "unlabelled.csv", folder / "new.csv")
    make_vectors(folder, items)
    return folder


def make_music(folder: Path) -> None:
    """Tagged tracks of 16 artists, of whom every fourth has one without a genre."""
    rng = np.random.default_rng(0)
    for number in range(16):
        genre = ("Rock", "Jazz")[number % 2]
        for track in (1, 2):
            path = make_sound(
                folder / f"Artist {number}" / f"{track}.flac", 3.0, 220.0 + 50 * number
            )
            own = [] if number % 4 == 0 and track == 2 else [genre]
            lyrics = " ".join(rng.choice(WORDS[genre].split(), 8, replace=False).tolist())
            tag(path, artist=f"Artist {number}", album="First", genre=own, lyrics=lyrics)


def make_vectors(folder: Path, items: Manifest) -> None:
    """Vectors as other programs write them: noise, shifted by the broadest genre."""
    rng = np.random.default_rng(0)
    genres = sorted({ancestors(item.labels[0])[0] for item in items})
    for name, width in (("clap", 16), ("mert", 12), ("a", 8), ("t", 8), ("i", 8)):
        shifts = rng.normal(size=(len(genres), width))
        own = [shifts[genres.index(ancestors(item.labels[0])[0])] for item in items]
        x = (np.stack(own) + rng.normal(size=(len(items), width))).astype(np.float32)
        for file, n in ((name, len(items)), (f"new-{name}", 6)):
            np.savez(folder / f"{file}.npz", ids=np.array(items.ids()[:n]), x=x[:n])
            np.save(folder / f"{file}.npy", x[:n])
            with h5py.File(folder / f"{file}.h5", "w") as store:
                store["ids"], store["x"] = np.array(items.ids()[:n]).astype("S"), x[:n]
            (folder / f"{file}.ids.txt").write_text("\n".join(items.ids()[:n]), encoding="utf-8")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A folder in which pages are read, and a copy of it as it was before any."""
    folder = tmp_path_factory.mktemp("pages")
    here, kept = make_place(folder / "here"), folder / "kept"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMGENRE_CACHE", str(folder / "cache"))
        patch.chdir(here)
        extract_features("items.csv", run="runs/mine", recipe="quick", settings=SIZES, workers=1)
        fuse(run="runs/mine")
        for name in ("a", "b"):  # to be compared
            shutil.copytree("runs/mine", f"runs/{name}")
        shutil.copytree(here, kept)
        yield here, kept


@pytest.fixture
def here(prepared: tuple[Path, Path], request: pytest.FixtureRequest) -> Path:
    """The folder as it was before any page; for those that begin, without the run."""
    folder, kept = prepared
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    if request.node.callspec.params["page"] in START:
        shutil.rmtree(folder / "runs")
    (folder / "docs").symlink_to(ROOT / "docs")
    return folder


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command `mmgenre` on the path, for blocks in the language of the shell."""
    command = tmp_path / "bin" / "mmgenre"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mmgenre "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def write_block(block: Block, folder: Path) -> None:
    """Writes a block to the file that its mark names."""
    assert block.file is not None
    (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
    (folder / block.file).write_text(block.text, encoding="utf-8")


def run_block(block: Block, call: Call) -> list[str]:
    """Runs a block in this folder, and tells what failed."""
    if block.file is not None:
        write_block(block, Path())
    elif block.language == "python":
        try:
            exec(compile(block.text, block.where, "exec"), {})
        except Exception as error:
            return [f"{block.where}: {type(error).__name__}: {error}"]
    elif block.language == "sh":
        done = subprocess.run(
            ["bash", "-e", "-c", block.text], capture_output=True, text=True, timeout=600
        )
        # `wait` after jobs in the background succeeds, whatever became of them.
        if done.returncode or "error:" in done.stderr:
            return [f"{block.where}: {done.returncode}\n{done.stdout}\n{done.stderr}"]
    elif block.language not in READ:
        for words in block.commands():
            done_here = call(*words)
            if done_here.code != 0:
                told = f"{block.where}: mmgenre {' '.join(words)}: {done_here.code}"
                return [f"{told}\n{done_here.out}\n{done_here.err}"]
    return []


@pytest.mark.slow
# Of scikit-learn's, where training items of so few albums all lack a genre.
@pytest.mark.filterwarnings("ignore:Label not .* is present in all training examples:UserWarning")
@pytest.mark.parametrize("page", RUN)
def test_blocks_run(
    page: str, here: Path, shell: None, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(here))
    failed = [fault for block in BY_PAGE[page] if block.runs for fault in run_block(block, call)]
    assert not failed, "\n".join(failed)
    if page == "docs/start.md":
        for run in ("music", "covers"):
            assert (here / "runs" / run / "report.html").is_file()
        assert list((here / "runs" / "music" / "fusion").glob("*/predictions.csv"))
        assert (here / "runs" / "mine" / "tables" / "metrics.csv").is_file()


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.where)
def test_commands_and_options_of_blocks_exist(block: Block) -> None:
    """What the slow test would find after minutes, at once; also of blocks that cannot run."""
    for words in block.commands() if block.language == "" else ():
        command: Any = get_command(app)
        context = command.context_class(command, info_name="mmgenre")
        while hasattr(command, "list_commands") and words[:1] != ["-h"]:
            command, words = command.get_command(context, words[0]), words[1:]
            assert command is not None, words
        known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        assert {word for word in words if word.startswith("-")} <= known | {"-"}


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language in READ], ids=lambda block: block.where
)
def test_recipes_and_manifests_are_read(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in BY_PAGE[block.page]:
        if other.file is not None:
            write_block(other, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # a recipe may name an encoder of its page
    path = tmp_path / f"shown.{block.language}"
    path.write_text(block.text, encoding="utf-8")
    if block.language == "csv":
        assert block.runs
        assert len(Manifest.read(path)) > 0
        return
    values = tomllib.loads(block.text)
    if block.runs and "table" in values:
        assert load_experiment(str(path)).cells
    elif block.runs:
        load_recipe(str(path))


def test_most_blocks_run() -> None:
    """A reason is easily written; what people copy is to be tried."""
    kinds = {block.language for block in BLOCKS if block.runs}
    assert {"", "python", "sh", "toml", "csv"} <= kinds
    ours = [b for b in BLOCKS if b.language in ("", "python")]
    assert sum(block.runs for block in ours) > 0.6 * len(ours)


def test_a_block_without_a_mark_or_a_reason_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for above in ("", "<!-- run -->\n", "<!-- not run: -->\n", "<!-- not run: x -->\n"):
        page.write_text(f"Words.\n\n{above}```\nmmgenre doctor\n```\n", encoding="utf-8")
        with pytest.raises(AssertionError, match=r"page\.md:\d+: no mark above the block"):
            blocks(page)
    page.write_text("<!-- runs -->\n- in a list:\n\n  ```\n  mmgenre doctor\n  ```\n")
    with pytest.raises(AssertionError, match="2 fences, and 0 blocks"):
        blocks(page)


def test_a_block_that_fails_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    text = "<!-- runs -->\n```\nmmgenre manifest info \\\n  gone.csv  # none\n```\n"
    text += "<!-- runs as own/gone.py -->\n```python\nraise OSError\n```\n"
    text += "<!-- runs -->\n```python\nimport own.gone\n```\n"
    text += "<!-- runs -->\n```sh\nfalse; true\n```\n"
    page.write_text(text, encoding="utf-8")
    first, *others = blocks(page)
    assert (first.line, first.language) == (3, "")
    assert first.commands() == [["manifest", "info", "gone.csv"]]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    call = make_call(monkeypatch, capsys)
    assert "gone.csv" in run_block(first, call)[0]
    assert run_block(others[0], call) == []
    assert "OSError" in run_block(others[1], call)[0]
    assert run_block(others[2], call) != []
