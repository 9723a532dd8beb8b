"""Every block of the README and of docs/start.md that is marked as runnable, in order."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Call, make_call
from music import make_sound, tag
from pages import ROOT, Block, blocks
from typer.main import get_command

from mmgenre.cli import app
from mmgenre.datasets.synthetic import make_catalogue
from mmgenre.items.labels import ancestors
from mmgenre.items.manifest import Manifest

PAGES = (ROOT / "README.md", ROOT / "docs" / "start.md")
N_ALBUMS = 48
MARKED = [block for page in PAGES for block in blocks(page)]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the pages speak of: items.csv, music/, covers/, cover.jpg."""
    folder = tmp_path_factory.mktemp("pages") / "here"
    manifest = make_catalogue(folder, seed=0, n_albums=N_ALBUMS)
    manifest.rename(folder / "items.csv")
    items = [item for item in Manifest.read(folder / "items.csv") if "image" in item.media]
    for item in items:
        (cover,) = item.media["image"]
        shelf = folder / "covers" / ancestors(item.labels[0])[0]
        shelf.mkdir(parents=True, exist_ok=True)
        shutil.copy(cover, shelf / f"{item.id}{Path(cover).suffix}")
    shutil.copy(items[0].media["image"][0], folder / "cover.jpg")
    for number in range(16):  # every fourth artist has a track without a genre
        genre = ("Rock", "Jazz")[number % 2]
        words = ("loud guitars and drums", "quiet horns and strings")[number % 2]
        for track in (1, 2):
            path = folder / "music" / f"Artist {number}" / f"{track}.flac"
            path = make_sound(path, 3.0, 220.0 + 50 * number)
            own = [] if number % 4 == 0 and track == 2 else [genre]
            lyrics = f"{words} of song {number} {track}"
            tag(path, artist=f"Artist {number}", album="First", genre=own, lyrics=lyrics)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize("block", MARKED, ids=lambda block: f"{block.page}:{block.line}")
def test_blocks_run(block: Block, here: Path, call: Call) -> None:
    if block.python:
        exec(compile(block.text, f"{block.page}:{block.line}", "exec"), {})
        return
    for words in block.commands():
        done = call(*words)
        assert done.code == 0, f"mmgenre {' '.join(words)}\n{done.out}\n{done.err}"


@pytest.mark.slow
def test_blocks_leave_what_the_pages_say(here: Path) -> None:
    for run in ("mine", "music", "covers"):
        assert (here / "runs" / run / "report.html").is_file()
    assert list((here / "runs" / "music" / "fusion").glob("*/predictions.csv"))
    assert (here / "runs" / "mine" / "tables" / "metrics.csv").is_file()


@pytest.mark.parametrize("block", MARKED, ids=lambda block: f"{block.page}:{block.line}")
def test_commands_and_options_of_blocks_exist(block: Block) -> None:
    """What the slow test would find after minutes, at once."""
    for words in block.commands() if not block.python else ():
        command: Any = get_command(app)
        context = command.context_class(command, info_name="mmgenre")
        while hasattr(command, "list_commands"):
            command, words = command.get_command(context, words[0]), words[1:]
            assert command is not None, words
        known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        assert {word for word in words if word.startswith("-")} <= known


def test_each_page_has_blocks_of_both_kinds() -> None:
    for page in PAGES:
        kinds = {block.python for block in MARKED if block.page == page.name}
        assert kinds == {True, False}


def test_a_block_that_fails_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- runs -->\n```\nmmgenre manifest info \\\n  gone.csv  # none\n```\n")
    [block] = blocks(page)
    assert (block.line, block.python) == (3, False)
    assert block.commands() == [["manifest", "info", "gone.csv"]]
    monkeypatch.chdir(tmp_path)
    assert make_call(monkeypatch, capsys)(*block.commands()[0]).code != 0
