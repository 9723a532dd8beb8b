"""docs/reference/files.md against a run: every file, group, dataset and member, in both ways."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch
from pages import ROOT
from safetensors import safe_open
from small import Small

from mmgenre.disk.records import SEAL
from mmgenre.disk.store.layout import FORMAT as STORE_FORMAT
from mmgenre.fusion.exported import FORMAT as EXPORT_FORMAT
from mmgenre.learning.optimisation import make_optimizer, save_checkpoint
from mmgenre.learning.settings import TrainingConfig
from mmgenre.pipeline.commands import fuse
from mmgenre.pipeline.export import export_model
from mmgenre.pipeline.run import FORMAT as RUN_FORMAT

TEXT = (ROOT / "docs" / "reference" / "files.md").read_text(encoding="utf-8")
NAMES = {
    "MODALITY": "(audio|text|image)",
    "VIEW": r"(audio|text|image)(\.\w+)?",
    "FUSION": "[^/]+",
    "SPACE": "[a+ti]+",
}
ONLY_SOMETIMES = {"frozen"}  # of frozen models


def rows(head: str) -> list[list[str]]:
    """The cells of the table below a header row, which begins so."""
    _, found, below = TEXT.partition(f"\n| {head} |")
    assert found, head
    lines = below.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named(head: str, column: int = 0) -> list[str]:
    """What stands in code in a column of the table, in order."""
    return [name for row in rows(head) for name in re.findall(r"`([^`]+)`", row[column])]


def below(heading: str) -> str:
    """The text of a section."""
    return re.split(r"(?m)^#+ ", TEXT.split(f"# {heading}\n", 1)[1], maxsplit=1)[0]


def members(heading: str) -> set[str]:
    """The members that the first table of a section names."""
    table = below(heading).split("|---|", 1)[1].partition("\n\n")[0]
    first = (line.split("|")[1] for line in table.splitlines()[1:])
    return {name for cell in first for name in re.findall(r"`([^`]+)`", cell)}


def pattern(name: str) -> re.Pattern[str]:
    """A name of the page as an expression; `/...` stands for the files of a model folder."""
    text = re.escape(name) + (".*" if name.endswith("/") else "")
    for word, own in NAMES.items():
        text = text.replace(word, own)
    return re.compile(text.replace(r"/\.\.\.", r"/[^/]+"))


@pytest.fixture(scope="module")
def run(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shared run, with a second fusion: solved, with a joint space."""
    folder = small.copy(tmp_path_factory.mktemp("files") / "run")
    fuse(run=folder, joint=True, settings=("fusion.solver=lbfgs", "fusion.combine=auto"))
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def stores(folder: Path) -> Iterator[tuple[Path, str, dict[str, Any], set[str]]]:
    """Each group of each store: path, name, meta, datasets."""
    for path in sorted(folder.rglob("*.h5")):
        with h5py.File(path) as file:
            for name, group in file.items():
                assert dict(group.attrs) == {"format": STORE_FORMAT.encode()}
                yield path, name, json.loads(group["meta"][:].tobytes()), set(group)


def test_every_file_of_a_run_is_on_the_page(run: Path) -> None:
    always, sometimes, _ = (
        [
            pattern(n)
            for line in table.splitlines()
            for n in re.findall("`(.+?)`", line.split("|")[1])
        ]
        for table in re.findall(r"(?m)(?<=^\|---\|---\|\n)(?:\|.*\n)+", below("A run"))
    )
    found = [p.relative_to(run).as_posix() for p in sorted(run.rglob("*")) if p.is_file()]
    beside = re.compile(r"(.*/)?\.[\w.+]+\.h5\.checked")  # the page says it of any store
    known = [*always, *sometimes, beside]
    assert [name for name in found if not any(p.fullmatch(name) for p in known)] == []
    assert [p.pattern for p in always if not any(p.fullmatch(name) for name in found)] == []


def test_every_dataset_of_a_store_is_on_the_page(run: Path) -> None:
    found = list(stores(run))
    assert set().union(*(own for *_, own in found)) == set(named("dataset"))
    assert set().union(*(meta for _, _, meta, _ in found)) == set(named("member of `meta`"))
    assert {name for _, _, meta, _ in found for name in meta["provenance"]} == members("Provenance")
    groups = {
        f"{pattern_} {group}"
        for cell, _ in rows("store, group")
        for pattern_, _, group in [cell.partition(", ")]
    }
    for path, name, *_ in found:
        where = path.relative_to(run).as_posix()
        assert any(_is_group(where, name, known) for known in groups), (where, name)


def _is_group(where: str, name: str, known: str) -> bool:
    file, _, group = known.partition(" ")
    groups = re.findall(r"`([^`]+)`|\b([A-Z]{2,})\b", group)
    is_file = pattern(file.strip("`")).fullmatch(where) or where.endswith(f"/{file.strip('`')}")
    return bool(is_file) and any(pattern(code or word).fullmatch(name) for code, word in groups)


def test_every_member_of_the_json_files_is_on_the_page(run: Path) -> None:
    fusions = sorted((run / "fusion").iterdir())
    assert members("run.json") == set(read(run / "run.json"))
    _same(members("fusion.json"), [read(folder / "fusion.json") for folder in fusions])
    assert members("metrics.json") == set(read(run / "metrics.json"))
    results = [read(folder / "metrics.json")["result"] for folder in fusions]
    _same(named("member of a result"), results)
    sealed = {p.name for p in (*run.glob("*.json"), *run.glob("*/*/*.json")) if SEAL in read(p)}
    assert sealed == {"run.json", "fusion.json", "metrics.json"}
    assert SEAL not in read(run / "twins.json")
    assert read(run / "run.json")["format"] == RUN_FORMAT
    assert f"| `format` | {RUN_FORMAT};" in TEXT
    assert f"| `run.json` | `format` {RUN_FORMAT} |" in TEXT
    for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines():
        assert all(f"`{name}`" in below("A run") for name in json.loads(line))


def _same(shown: Iterable[str], found: Iterable[dict[str, Any]]) -> None:
    """All that is found is shown, and all that is shown is found somewhere."""
    together = set().union(*found)
    assert together <= set(shown)
    assert set(shown) - together <= ONLY_SOMETIMES


def test_every_member_of_a_model_folder_is_on_the_page(run: Path) -> None:
    shown = {kind.strip("`"): set(re.findall(r"`([^`]+)`", own)) for kind, own in rows("`kind`")}
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(run.rglob("config.json")):
        described = read(path)
        assert set(described) == {"kind", "config", "provenance"}
        kind = re.sub("^(audio|text|image)(?= encoder)", "MODALITY", described["kind"])
        found.setdefault(kind, []).append(described["config"])
        files = {own.name for own in path.parent.iterdir() if own.is_file()}
        assert files - {"sha256.json"} == set(read(path.parent / "sha256.json"))
    assert set(found) == set(shown)
    rule = {name for own in found["trust"] for name in own["rules"][0] if name != "having"}
    assert rule < shown["trust"]
    for kind, configs in found.items():
        within = rule if kind == "trust" else {"like"}
        _same(shown[kind] - within - {"like"}, configs)


def test_an_exported_model_is_as_the_page_says(run: Path, tmp_path: Path) -> None:
    about = read(export_model(run, tmp_path / "model", fusion=min_fusion(run)) / "export.json")
    assert set(about) == set(named("member of `export.json`"))
    assert about["format"] == EXPORT_FORMAT
    assert f"| `export.json` | `format` {EXPORT_FORMAT} |" in TEXT


def min_fusion(run: Path) -> str:
    """The name of the fusion without a joint space."""
    return min((path.name for path in (run / "fusion").iterdir()), key=len)


def test_a_checkpoint_is_as_the_page_says(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 1)
    optimizer = make_optimizer(module, TrainingConfig())
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    save_checkpoint(tmp_path / "x", module, module.state_dict(), optimizer, {"epochs": []})
    with safe_open(tmp_path / "x", framework="pt") as file:
        prefixes = {name.split(".")[0] for name in file.keys()}  # noqa: SIM118
        metadata = set(file.metadata())
    shown = re.findall(r"`(\w+)\.(?:NAME|NUMBER)", below("Checkpoints"))
    assert prefixes == set(shown)
    assert metadata == {"log"}
    assert "`log`" in below("Checkpoints")
