"""Links of the pages resolve, the site names every page, and pages made from code are whole."""

from __future__ import annotations

import doctest
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pages as helper
import pytest
from pages import ROOT, broken_links, pages
from typer.main import get_command

import mmgenre
from mmgenre.cli import app
from mmgenre.errors import INPUT_CODES

MOST_LINES = 120  # of the README


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """The module that makes pages of the site from the code; docs/ is no package."""
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_resolves(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_broken_links_are_found() -> None:
    page = ROOT / "README.md"
    text = "# A b\n[1](#a-b) [2](#b) [3](docs/gone.md) [4](docs/faq.md#gone) `[5](no)`\n"
    text += "```\n[6](no)\n# No heading\n```\n[7](https://example.org) [8](#no-heading)\n"
    assert broken_links(page, text) == ["#b", "docs/gone.md", "docs/faq.md#gone", "#no-heading"]
    assert doctest.testmod(helper).failed == 0


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES


def test_the_site_names_every_page(hooks: ModuleType) -> None:
    named = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    docs = ROOT / "docs"
    written = [path.relative_to(docs).as_posix() for path in docs.rglob("*.md")]
    assert sorted(named) == sorted([*written, *hooks.PAGES])


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_pages_of_the_site_load_nothing_from_elsewhere(page: Path) -> None:
    assert loaded_from_elsewhere(page.read_text(encoding="utf-8")) == []


def loaded_from_elsewhere(text: str) -> list[str]:
    """Pictures and scripts of other sites; diagrams of Mermaid, for which the theme fetches it."""
    return re.findall(r"!\[[^\]]*\]\(https?:|<(?:script|iframe|img|link)\b|```mermaid", text)


def test_what_is_loaded_from_elsewhere_is_found() -> None:
    text = "![a](https://example.org/a.png) ![b](../b.png) [c](https://example.org)\n```mermaid\n"
    assert len(loaded_from_elsewhere(text)) == 2
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in settings
    assert "extra_javascript" not in settings


def test_public_names_are_in_the_reference(hooks: ModuleType) -> None:
    shown = re.findall(r"(?m)^::: mmgenre[\w.]*\.(\w+)$", hooks.python_page())
    assert sorted(shown) == [name for name in dir(mmgenre) if name != "__version__"]


def test_commands_are_in_the_reference(hooks: ModuleType) -> None:
    page = hooks.commands_page()
    above = ("manifest", "store")
    names = [name for name in get_command(app).commands if name not in above]  # type: ignore[attr-defined]
    assert set(names) <= set(re.findall(r"(?m)^## mmgenre ([\w-]+)$", page))
    assert {"check", "suspects"} < set(re.findall(r"(?m)^## mmgenre manifest ([\w-]+)$", page))
    assert "| `--media-root` |" in page
    assert "| `a,t,i` |" in page  # a default


def test_settings_are_in_the_reference(hooks: ModuleType) -> None:
    page = hooks.settings_page()
    for section in ("labels", "target", "audio.input", "image.training", "fusion"):
        assert f"## `[{section}]`" in page
    assert '| `select` | `"loss"`, `"metric"` | `"loss"` |' in page
    assert "METHOD" not in page  # no part of the repository
    assert "| `margin` | number, ≥ -1, ≤ 1 | `0.5` |" in page


def test_codes_are_in_the_reference(hooks: ModuleType) -> None:
    rows = dict(re.findall(r"(?m)^\| `(\w+)` \| (.*) \|$", hooks.codes_page()))
    assert [code for code in INPUT_CODES if not rows[code]] == []
    assert "ManifestError" in rows
    table = (ROOT / "docs" / "manifests.md").read_text(encoding="utf-8")
    assert [code for code in INPUT_CODES if f"`{code}`" not in table] == []
