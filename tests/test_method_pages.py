"""The pages on the method name places in the code that are there, and figures as published."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
from pages import ROOT

PAGES = sorted((ROOT / "docs" / "method").glob("*.md"))
PLACE = re.compile(r"`([\w/]+\.py):([\w.]+)`")
TABLES = (ROOT / "docs" / "method" / "tables.md").read_text(encoding="utf-8")
PUBLISHED = (
    "oramas2018/table2",
    "oramas2018/table6",
    "covers/greenfield2024",
    "covers/li2020",
    "covers/morrison2020",
    "covers/morrison2020-pop",
    "covers/shazzzam2021",
)


@cache
def names_in(file: Path) -> frozenset[str]:
    """What a module defines: `name`, and `Class.name` of what its classes define."""
    found: set[str] = set()

    def add(body: list[ast.stmt], above: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(f"{above}{node.name}")
                if isinstance(node, ast.ClassDef):
                    add(node.body, f"{above}{node.name}.")
            elif isinstance(node, ast.Assign):
                found.update(above + n.id for n in node.targets if isinstance(n, ast.Name))
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(above + node.target.id)

    add(ast.parse(file.read_text(encoding="utf-8")).body, "")
    return frozenset(found)


def lost_places(text: str) -> list[str]:
    """Places that a page names and that are not in the code."""
    lost = []
    for file, name in PLACE.findall(text):
        path = ROOT / "mmgenre" / file
        if not path.is_file() or name not in names_in(path):
            lost.append(f"{file}:{name}")
    return lost


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_places_in_the_code_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert lost_places(text) == []
    files = re.findall(r"`([\w/]+\.py)[:`]", text)
    assert [file for file in files if not (ROOT / "mmgenre" / file).is_file()] == []


def test_lost_places_are_found() -> None:
    text = "`learning/targets.py:ppmi` `learning/targets.py:gone` `learning/gone.py:ppmi`"
    text += " `audio/encoder.py:AudioEncoder.fit` `audio/encoder.py:AudioEncoder.gone`"
    lost = ["learning/targets.py:gone", "learning/gone.py:ppmi"]
    assert lost_places(text) == [*lost, "audio/encoder.py:AudioEncoder.gone"]


def figures_of(name: str) -> dict[str, list[float]]:
    """The figures of the table of an experiment on the page, by row; NaN where there is a dash."""
    _, table = TABLES.split(f"| `{name}`", 1)
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    table_rows = rows[: next(k for k, row in enumerate(rows) if row == [""])]
    return {
        row: [float("nan") if c == "–" else float(c) for c in cells if re.fullmatch(r"[.\d]+|–", c)]
        for row, *cells in table_rows
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures_are_those_of_the_recipes(name: str) -> None:
    table = tomllib.loads((ROOT / "recipes" / f"{name}.toml").read_text(encoding="utf-8"))["table"]
    shown = figures_of(name)
    assert list(shown) == [row["name"] for row in table["rows"]]
    for row in table["rows"]:
        known = len(shown[row["name"]])  # a column that is empty in all rows is left out
        assert shown[row["name"]] == pytest.approx(row["published"][:known], nan_ok=True)
        assert all(value != value for value in row["published"][known:])
