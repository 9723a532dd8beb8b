"""The page in headless Chromium: it sorts, names, plays, fits a phone, and asks for nothing."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Page, chromium
from PIL import Image
from test_classification import NAMES, made_table
from test_page import made_run, with_statistics
from test_qualitative import made_description
from test_tables import GENRES, made_fusion

from mmgenre.explain.excerpt import RATE_HZ, mp3_base64
from mmgenre.report import render
from mmgenre.report.experiment import render_experiment

WIDTHS = (1280, 390)
AXE = "axe-core@4.11"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with every section, whose pictures and sounds can be shown and played."""
    described = made_description(GENRES)
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "teal").save(buffer, format="JPEG")
    picture = base64.b64encode(buffer.getvalue()).decode()
    tone = np.sin(2 * np.pi * 440 * np.arange(3 * RATE_HZ) / RATE_HZ) * 0.1
    assert described["examples"]
    assert described["heat"]
    assert described["neighbours"]
    for item in described["examples"]["items"]:
        item["cover"], item["excerpt"] = picture, mp3_base64(tone.astype(np.float32))
    for heat in described["heat"]["items"]:
        heat["cover"] = heat["overlay"] = picture
    for query in described["neighbours"]["queries"]:
        for shown in (query, *query["nearest"]):
            shown["cover"] = picture
    fusion = with_statistics(made_fusion("genre", GENRES, exclusive=True))
    page = tmp_path_factory.mktemp("page") / "report.html"
    page.write_text(render(made_run([fusion], GENRES), described), encoding="utf-8")
    return page.as_uri()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


def opened(tab: Page, address: str, width: int = 1280, *, dark: bool = False) -> None:
    tab.size(width, 900)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    tab.do("Emulation.setEmulatedMedia", features=[scheme])
    tab.faults.clear()
    tab.requested.clear()
    tab.do("Page.navigate", url=address)
    tab.until(f"location.href == {address!r} && document.readyState == 'complete'")


def check_quiet(tab: Page, address: str) -> None:
    """No error of a script, no violation of the policy, and no request but for the page."""
    tab.js("1")  # takes in what has happened meanwhile
    assert tab.faults == []
    # data: are pictures and sounds of the page, and symbols of the browser's own player.
    assert {url for url in tab.requested if not url.startswith("data:")} == {address}


def middle(tab: Page, selector: str) -> tuple[float, float]:
    """Where an element is in the window."""
    tab.js(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
    box = f"document.querySelector({selector!r}).getBoundingClientRect()"
    return tab.js(f"{box}.x + {box}.width / 2"), tab.js(f"{box}.y + {box}.height / 2")


def mouse(tab: Page, kind: str, at: tuple[float, float]) -> None:
    pressed = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
    tab.do("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], **pressed)


def test_points_are_named_and_played_by_mouse_and_keyboard(tab: Page, address: str) -> None:
    opened(tab, address)
    point = "#maps .map path[data-plays]"
    at = middle(tab, point)
    mouse(tab, "mouseMoved", at)
    assert tab.text("#maps .tip.on").startswith("Band – Rock · Rock")
    playing = "document.querySelector('#example-1 audio')"
    assert tab.js(f"{playing}.paused")
    for kind in ("mousePressed", "mouseReleased"):
        mouse(tab, kind, at)
    tab.until(f"!{playing}.paused && {playing}.currentTime > 0")
    tab.js("document.querySelector('#example-2 audio').play()")
    tab.until(f"{playing}.paused")  # one at a time
    mouse(tab, "mouseMoved", (5, 5))
    assert tab.js("document.querySelector('#maps .tip.on')") is None
    tab.js("document.querySelector('#maps .map').focus()")
    names = set()
    for _ in range(3):
        tab.press("ArrowRight")
        names.add(tab.text("#maps .tip.on"))
    assert len(names) == 3
    assert tab.js("document.querySelector('#maps .tip').getAttribute('aria-live')") == "polite"
    check_quiet(tab, address)


def test_tables_are_sorted_and_links_unfold(tab: Page, address: str) -> None:
    opened(tab, address)
    table = "#genres table.sortable"
    column = f"[...document.querySelectorAll('{table} tbody tr')].map((r) => r.cells[2].innerText)"
    tab.js("document.querySelectorAll('details').forEach((d) => d.open = true)")
    tab.js(f"document.querySelectorAll('{table} th button')[2].click()")
    found = [int(n) for n in tab.js(column)]
    assert found == sorted(found, reverse=True)
    tab.js(f"document.querySelectorAll('{table} th button')[2].click()")
    again = [int(n) for n in tab.js(column)]
    assert again == sorted(found)
    assert len(set(found)) > 3
    assert tab.js(f"document.querySelector('{table} th[aria-sort]').ariaSort") == "ascending"
    check_quiet(tab, address)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_lost_at_the_side(tab: Page, address: str, width: int) -> None:
    """The page fits the window, and what is cut within it can be scrolled."""
    opened(tab, address, width)
    tab.js("document.querySelectorAll('details').forEach((d) => d.open = true)")
    assert tab.js("document.documentElement.scrollWidth") <= width
    cut = tab.js(
        "[...document.querySelectorAll('main td, main th, main .value, main .what')].filter((e) => "
        "e.getClientRects().length && e.getBoundingClientRect().right > innerWidth && "
        "!e.closest('.scroll')).map((e) => e.outerHTML.slice(0, 200))"
    )
    assert cut == []
    check_quiet(tab, address)


def test_without_scripts_points_have_their_names(tab: Page, address: str) -> None:
    tab.do("Emulation.setScriptExecutionDisabled", value=True)
    try:
        opened(tab, address)
        assert tab.js("document.querySelector('#maps path title').textContent") == (
            "Band – RnB · RnB"
        )
        assert tab.js("getComputedStyle(document.querySelector('.with-js')).display") == "none"
    finally:
        tab.do("Emulation.setScriptExecutionDisabled", value=False)


def axe(folder: Path) -> str:
    """The code of axe-core, from npm; a skip where npm or the network is absent."""
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine")
    done = subprocess.run(
        ["npm", "pack", "--silent", AXE], cwd=folder, capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        pytest.skip(f"npm cannot get {AXE}: {done.stderr[-200:]}")
    with tarfile.open(next(folder.glob("axe-core-*.tgz"))) as package:
        file = package.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode()


@pytest.fixture(scope="module")
def axe_code(tmp_path_factory: pytest.TempPathFactory) -> str:
    return axe(tmp_path_factory.mktemp("axe"))


def findings(tab: Page, code: str) -> list[dict[str, Any]]:
    """What axe-core finds serious or worse, also in what is folded."""
    tab.js("document.querySelectorAll('details').forEach((d) => d.open = true)")
    tab.js(f"{code}; 1")
    found = tab.js("axe.run().then((r) => r.violations.map((v) => ({id: v.id, impact: v.impact,"
                   " nodes: v.nodes.slice(0, 5).map((n) => n.html.slice(0, 200))})))")  # fmt: skip
    assert tab.js("axe.run().then((r) => r.passes.length)") > 10
    return [v for v in found if v["impact"] in ("serious", "critical")]


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_serious(
    tab: Page, address: str, axe_code: str, width: int, dark: bool
) -> None:
    opened(tab, address, width, dark=dark)
    assert findings(tab, axe_code) == []


@pytest.mark.slow
def test_axe_finds_nothing_serious_in_an_experiment(
    tab: Page, axe_code: str, tmp_path: Path
) -> None:
    page = tmp_path / "table.html"
    page.write_text(render_experiment(made_table(NAMES, exclusive=True, n_rows=3, n_seeds=3)))
    for dark in (False, True):
        opened(tab, page.as_uri(), dark=dark)
        assert findings(tab, axe_code) == []
