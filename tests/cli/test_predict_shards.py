"""Predictions by shards: merged they are what one command gives, whatever was killed meanwhile."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from command_line import Call
from small import Small

from mmgenre.disk.locks import claimed
from mmgenre.fusion import by_parts
from mmgenre.fusion.by_parts import Work, predict_shard, predicted, work_of
from mmgenre.fusion.part_files import read_part
from mmgenre.fusion.ranking import Asked
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.export import export_model
from mmgenre.reading.extraction import Shard

# Predicts shard 1/1, and is killed when it writes its third part.
KILLED = """
import os, signal, sys
from mmgenre.cli import main
from mmgenre.fusion import by_parts

by_parts.PART_ITEMS = 2
write, n = by_parts.write_part, 0

def killed(*args):
    global n
    n += 1
    if n == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return write(*args)

by_parts.write_part = killed
sys.argv = ["mmgenre", "predict", *sys.argv[1:]]
main()
"""


@pytest.fixture(scope="module")
def model(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_model(small.run, tmp_path_factory.mktemp("exported") / "model")


@pytest.fixture(scope="module")
def tagger(model: Path) -> GenreTagger:
    return GenreTagger.from_pretrained(model)


@pytest.fixture
def items(small: Small, tmp_path: Path) -> Path:
    """Seven items with texts and covers, of which one has no cover where it should be."""
    with small.manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:7]
    for row in rows:
        row.pop("audio", None)
        for name in filter(None, f"{row['text_file']};{row['image']}".split(";")):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy2(small.manifest.parent / name, tmp_path / name)
    (tmp_path / rows[3]["image"]).unlink()
    path = tmp_path / "items.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


class Plan(Protocol):
    """`work_of`, whose block ends with the test."""

    def __call__(
        self, tagger: GenreTagger, manifest: Manifest, target: Path, *, asked: Asked | None = None
    ) -> Work: ...


@pytest.fixture
def plan() -> Iterator[Plan]:
    with ExitStack() as stack:

        def planned(tagger: GenreTagger, manifest: Manifest, target: Path, **how: Any) -> Work:
            return stack.enter_context(work_of(tagger, manifest, target, **how))

        yield planned


@pytest.fixture(autouse=True)
def tiny_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_parts, "PART_ITEMS", 2)


def n_made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The ids of each part that is predicted from now on."""
    made: list[tuple[str, ...]] = []
    predict = GenreTagger.predict_items

    def counted(self: GenreTagger, manifest: Manifest, *args: Any, **how: Any) -> Any:
        made.append(manifest.ids())
        return predict(self, manifest, *args, **how)

    monkeypatch.setattr(GenreTagger, "predict_items", counted)
    return made


def parts_in(out: Path) -> list[Path]:
    return sorted(out.with_name(out.name + ".parts").glob("*.jsonl"))


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_shards_merged_are_what_one_command_gives(
    call: Call, model: Path, items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    how = (model, items, "--format", form, "--workers", 1, "--out")
    one, many = tmp_path / "one", tmp_path / "many"
    whole = call("predict", *how, one)
    assert (whole.code, whole.out) == (3, "")
    for number in (1, 3):  # the second of three is missing
        done = call("predict", *how, many, "--shard", f"{number}/3")
        assert f"{2 if number == 1 else 3} of 4 parts are predicted" in done.out
        assert done.code == (3 if "refused" in done.err else 0)
    assert not many.exists()
    made = n_made(monkeypatch)
    merged = call("predict", *how, many)
    ids = Manifest.read(items).ids()
    assert made == [ids[2:4]]
    assert many.read_bytes() == one.read_bytes()
    told = [line for line in whole.err.splitlines() if line.startswith("refused")]
    assert [line for line in merged.err.splitlines() if line.startswith("refused")] == told
    assert (merged.code, len(told)) == (3, 1)
    assert not many.with_name("many.parts").exists()
    if form == "json":  # which is written piece by piece
        content = json.loads(one.read_text(encoding="utf-8"))
        assert one.read_text("utf-8") == json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        assert [p["id"] for p in content["predictions"]] == list(ids)


@pytest.mark.slow
def test_a_shard_that_is_killed_costs_one_part(
    call: Call, model: Path, items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.json"
    words = [model, items, "--json", "--workers", "1", "--out", out]
    line = [sys.executable, "-c", KILLED, *map(str, words), "--shard", "1/1"]
    killed = subprocess.run(line, check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = {path: path.read_bytes() for path in parts_in(out)}
    assert len(before) == 2
    made = n_made(monkeypatch)
    assert call("predict", *words, "--shard", "1/1").json["parts"] == {"done": 4, "of": 4}
    ids = Manifest.read(items).ids()
    assert made == [ids[4:6], ids[6:]]
    assert {path: path.read_bytes() for path in parts_in(out)[:2]} == before
    assert not [path for path in out.with_name("out.json.parts").iterdir() if path.suffix == ".tmp"]


def test_parts_of_anything_else_are_not_used(
    plan: Plan, tagger: GenreTagger, model: Path, items: Path, tmp_path: Path
) -> None:
    manifest, out = Manifest.read(items), tmp_path / "out"
    work = plan(tagger, manifest, out)
    assert predict_shard(work, Shard(1, 1), workers=1).is_all_there
    assert plan(tagger, manifest, out).n_done == 4
    assert plan(tagger, manifest, out, asked=Asked(coverage=0.8)).n_done == 0
    other = tmp_path / "other"  # a model whose encoder has other files
    shutil.copytree(model, other)
    sums = next((other / "encoders").glob("*/sha256.json"))
    sums.write_text(sums.read_text() + " ")
    assert plan(replace(tagger, folder=other), manifest, out).n_done == 0
    texts = [source for item in manifest for source in item.media.get("text", ())]
    assert isinstance(texts[0], Path)
    texts[0].write_text("A quiet ballad with strings and a long saxophone solo.")
    again = plan(tagger, Manifest.read(items), out)
    changed = [n for n in range(4) if not again.part(n).path.is_file()]
    assert changed == [manifest.ids().index(next(i.id for i in manifest if "text" in i.media)) // 2]


def test_a_damaged_part_is_predicted_again(
    plan: Plan, tagger: GenreTagger, items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, out = Manifest.read(items), tmp_path / "out"
    expected, refused = tagger.predict_manifest(manifest, workers=1)
    work = plan(tagger, manifest, out, asked=Asked(explain=True))
    predict_shard(work, Shard(1, 1), workers=1)
    part = work.part(1)
    text = part.path.read_text()
    part.path.write_text(text.replace('"named"', '"Named"', 1))
    with pytest.raises(ValueError, match=r"damaged since it was written"):
        read_part(part.path)
    made = n_made(monkeypatch)
    with predicted(work, workers=1) as (stream, own):
        found = list(stream)
        assert own == refused
    assert made == [part.ids]
    assert [p.id for p in found] == [p.id for p in expected]
    whole, _ = tagger.predict_manifest(manifest, workers=1, explain=True)
    assert [type(p.reasons) for p in found] == [type(p.reasons) for p in whole]
    assert [(p.id, p.named, p.used, p.likely, p.notes, p.refused) for p in found] == [
        (p.id, p.named, p.used, p.likely, p.notes, p.refused) for p in whole
    ]
    first, same = found[0].reasons, whole[0].reasons
    assert first is not None
    assert same is not None
    assert first.genre == same.genre
    # Of two items at once or of all, sums are rounded otherwise.
    shares = [{word.name: word.share for word in r.words} for r in (first, same)]
    assert shares[0] == pytest.approx(shares[1], abs=1e-6)
    assert np.allclose(first.cover, same.cover, atol=1e-6)


def test_shards_and_a_merge_keep_apart(
    plan: Plan, tagger: GenreTagger, items: Path, tmp_path: Path
) -> None:
    """A shard leaves to another one what that is at; nobody merges beside shards."""
    work = plan(tagger, Manifest.read(items), tmp_path / "out")
    with claimed(work.part(2).path):
        from threading import Thread

        told: list[int] = []
        thread = Thread(
            target=lambda: told.append(predict_shard(work, Shard(1, 1), workers=1).done)
        )
        thread.start()
        thread.join()
    assert told == [3]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--shard", "1/2"], "with --out FILE"),
        (["--shard", "3/2", "--out", "o"], "give I/N with I from 1 to N"),
        (["--shard", "1/2", "--out", "o", "--write-tags"], "without --zero-shot and --write-tags"),
    ],
)
def test_what_cannot_be_a_shard_is_refused(
    call: Call, tmp_path: Path, words: list[str], why: str
) -> None:
    done = call("predict", tmp_path, "items.csv", *words)
    assert done.code == 2
    assert why in " ".join(done.err.replace("│", " ").split())
