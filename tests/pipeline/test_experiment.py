"""Experiments: every one resolves, states all rows of its table, and lets nothing misspelt pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmgenre.audio.encoder import AudioEncoder
from mmgenre.errors import RecipeError
from mmgenre.learning.encoder import GenreNetwork
from mmgenre.pipeline.experiment import load_experiment, small_overlay
from mmgenre.pipeline.recipe import is_experiment, load_recipe, recipe_folder, recipe_names

NAMES = [name for name in recipe_names() if is_experiment(name)]

HEAD = """
base = "quick"
[table]
title = "Mine"
metrics = ["macro_f1", "adiv_1"]
"""


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("in_small", [False, True])
def test_every_experiment_resolves_in_full_and_in_small(name: str, in_small: bool) -> None:
    experiment = load_experiment(name, overlay=small_overlay(name) if in_small else None)
    names = [cell.name for cell in experiment.cells]
    assert len(set(names)) == len(names)
    recipes = [experiment.recipe(cell, 1) for cell in experiment.cells]
    assert {recipe.seed for recipe in recipes} == {1}
    if in_small:
        assert {recipe.of("image").weights for recipe in recipes} == {"none"}


def test_all_parts_of_the_paper_and_all_ablations_are_there() -> None:
    wanted = "modalities target audio-network joint-space joint-margin label-factors semantics"
    wanted += " vocabulary missing"
    covers = "greenfield2024 li2020 morrison2020 morrison2020-pop shazzzam2021"
    tables = {"oramas2018/table2", "oramas2018/table6", "frozen/encoders"}
    tables |= {f"covers/{name}" for name in covers.split()}
    tables |= {f"benchmarks/{name}" for name in ("fma", "gtzan", "jamendo", "music4all-aa")}
    assert set(NAMES) == tables | {f"ablations/{name}" for name in wanted.split()}


def test_table_2_is_whole() -> None:
    """Oramas 2018, table 2, nine rows: macro F1 as printed."""
    cells = load_experiment("oramas2018/table2").cells
    assert [cell.published["macro_f1"] for cell in cells] == [
        *(0.336, 0.334, 0.346, 0.255, 0.239, 0.245, 0.425, 0.400, 0.427),
    ]
    assert {cell.scores for cell in cells} == {"head"}
    assert cells[-1].inputs == ("audio", "joint.audio", "image", "joint.image")


def test_table_6_is_whole() -> None:
    """Oramas 2018, table 6: seven and six audio rows, four of text, one of images, eight fused."""
    experiment = load_experiment("oramas2018/table6")
    cells = experiment.cells
    assert [cell.published["macro_roc_auc"] for cell in cells] == [
        *(0.792, 0.859, 0.840, 0.851, 0.862, 0.871, 0.849),
        *(0.864, 0.881, 0.860, 0.884, 0.868, 0.888),
        *(0.905, 0.916, 0.901, 0.917, 0.743),
        *(0.923, 0.900, 0.921, 0.936, 0.930, 0.896, 0.919, 0.931),
    ]
    for cell in cells:
        recipe = experiment.recipe(cell, 0)
        assert (recipe.target.name == "cosine") == ("COSINE" in cell.name)
        if len(cell.inputs) > 1:
            assert recipe.fusion.head == recipe.target.name
            assert cell.scores == "head"
        sem = recipe.of("text").input.entities.annotator == "local"
        assert sem == ("SEM" in cell.name or (len(cell.inputs) > 1 and "T" in cell.name[:3]))


def test_axes_multiply_rows_and_a_cell_states_its_difference(tmp_path: Path) -> None:
    rows = 'rows = [{ name = "A", inputs = ["audio"] }, { name = "T", inputs = ["text"] }]\n'
    axes = """
[table.axes]
"joint.margin" = [0.1, 0.9]
[table.axes.head]
L = { fusion.head = "logistic" }
C = { fusion.head = "cosine" }
"""
    experiment = load_experiment(write(tmp_path / "x.toml", HEAD + rows + axes))
    assert [cell.name for cell in experiment.cells][:4] == [
        "A, joint.margin=0.1, L",
        "A, joint.margin=0.1, C",
        "A, joint.margin=0.9, L",
        "A, joint.margin=0.9, C",
    ]
    recipe = experiment.recipe(experiment.cells[3], 5)
    assert (recipe.joint.margin, recipe.fusion.head, recipe.seed) == (0.9, "cosine", 5)
    base = load_recipe("quick")
    assert recipe.of("audio") == base.of("audio")
    assert recipe.fusion.training == base.fusion.training


def test_what_stands_above_what(tmp_path: Path) -> None:
    """Base < overlay < row < single settings."""
    own = 'rows = [{ name = "A", inputs = ["audio"], set = { audio.patches = 7 } }]\n'
    path = write(tmp_path / "x.toml", HEAD + own + "[text]\nmax_words = 5\n")
    text = "[audio]\npatches = 3\npatch_s = 9.0\n[text]\nmax_words = 6\n"
    overlay = write(tmp_path / "over.toml", text)
    experiment = load_experiment(path, overlay=overlay, settings=["audio.patch_s=8.0"])
    recipe = experiment.recipe(experiment.cells[0], 0)
    assert (
        recipe.of("audio").patches,
        recipe.of("audio").patch_s,
        recipe.of("text").max_words,
    ) == (7, 8.0, 6)


ROW = '{ name = "A", inputs = ["audio"] }'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows = []", "table.rows: .*at least 1"),
        (f"rows = [{ROW}, {ROW}]", "two of the same name"),
        ('rows = [{ name = "A", input = ["audio"] }]', "did you mean inputs"),
        (f"rows = [{ROW}]\nmetrcs = 1", "unknown key 'table.metrcs'; did you mean metrics"),
        ('rows = [{ name = "A", inputs = ["tuba"] }]', "each at most once of audio, text, image"),
        ('rows = [{ name = "A", inputs = ["audio", "audio"] }]', "each at most once"),
        (
            'rows = [{ name = "A", inputs = ["audio"], set = { audio.netwrok = "x" } }]',
            "row 'A': unknown key 'audio.netwrok'; did you mean network",
        ),
        (
            'rows = [{ name = "A", inputs = ["joint.audio"], scores = "encoder" }]',
            "an encoder scores one of audio, text, image alone",
        ),
        (
            'rows = [{ name = "A", inputs = ["audio"], published = [0.5] }]',
            "row 'A': 1 published figures for 2 metrics",
        ),
        (
            'items = "all"\nrows = [{ name = "A", inputs = ["audio"], scores = "encoder" }]',
            "an encoder scores no item that lacks its modality",
        ),
        (f"rows = [{ROW}]\n[table.axes]\n'joint.margin' = []", "axes joint.margin: without a val"),
        (
            'rows = [{ name = "A", inputs = ["audio"], published = [0.5, 0.1] }]\n'
            "[table.axes]\n'joint.margin' = [0.1]",
            "published figures do not go with axes",
        ),
        (f"rows = [{ROW}]\n[table.axes]\n'joint.margn' = [0.1]", "did you mean margin"),
        (f"rows = [{ROW}]\n[table.axes]\nseed = [1, 2]", "the seed is the table's"),
        (
            'rows = [{ name = "A", inputs = ["audio"], scores = "encoder", '
            "set = { fusion.dropout = 0.1 } }]",
            "is scored by its encoder, which no setting of fusion changes",
        ),
        (
            f"rows = [{ROW}]\n[table.axes]\n'fusion.missing_share' = [0.5]",
            "hides inputs, so measure on items = 'all'",
        ),
    ],
)
def test_what_is_not_allowed_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_experiment(write(tmp_path / "mine.toml", HEAD + text))


def test_figures_that_the_paper_does_not_give(tmp_path: Path) -> None:
    rows = 'rows = [{ name = "A", inputs = ["audio"], published = [0.5, nan] }]'
    cells = load_experiment(write(tmp_path / "x.toml", HEAD + rows)).cells
    assert cells[0].published == {"macro_f1": 0.5}


def test_the_small_size_of_an_experiment() -> None:
    assert small_overlay("oramas2018/table2") == "synthetic"
    by_path = recipe_folder() / "oramas2018" / "table2.toml"
    assert small_overlay(str(by_path)) == "synthetic"
    beside = recipe_folder() / "covers" / "synthetic.toml"
    assert small_overlay("covers/li2020") == str(beside)


def test_one_s_own_experiment_runs_as_it_is_written(tmp_path: Path) -> None:
    path = write(tmp_path / "x.toml", HEAD)
    write(tmp_path / "synthetic.toml", "seed = 1\n")
    assert small_overlay(path) is None


def test_table_6_has_the_published_numbers_of_parameters() -> None:
    """METHOD section 2, in millions; of LOW-3x3 no reading of table 5 gives the published .5."""
    published = {
        "LOGISTIC LOW-4x96": 0.2,
        "LOGISTIC HIGH-4x96": 5.0,
        "LOGISTIC LOW-4x70": 0.35,
        "LOGISTIC HIGH-4x70": 7.5,
        "LOGISTIC HIGH-3x3": 16.5,
        "COSINE HIGH-4x70": 6.5,
    }
    experiment = load_experiment("oramas2018/table6")
    cells = {cell.name.removeprefix("A "): cell for cell in experiment.cells}
    for name, millions in published.items():
        recipe = experiment.recipe(cells[name], 0)
        with torch.device("meta"):
            encoder = AudioEncoder(recipe.of("audio"), recipe.target.name)
            network = GenreNetwork(encoder, 50 if recipe.target.name == "cosine" else 250)
        count = sum(p.numel() for p in network.parameters()) / 1e6
        assert count == pytest.approx(millions, rel=0.05), name


def test_settings_do_not_change_what_a_row_is_named_for() -> None:
    for setting in ("audio.network=low-4x96", "target.name=cosine"):
        with pytest.raises(RecipeError, match=r"states .* itself, so that it cannot be set for"):
            load_experiment("oramas2018/table6", settings=[setting])
    with pytest.raises(RecipeError, match=r"states joint\.margin itself"):
        load_experiment("ablations/joint-margin", settings=["joint.margin=0.3"])
    load_experiment("oramas2018/table6", settings=["text.max_words=99"])
    with pytest.raises(RecipeError, match=r"the seed is the table's: \[table\] seeds"):
        load_experiment("oramas2018/table2", settings=["seed=7"])


def test_accuracy_is_for_one_genre_an_item(tmp_path: Path) -> None:
    text = HEAD.replace('"adiv_1"', '"accuracy"') + f"rows = [{ROW}]"
    with pytest.raises(RecipeError, match="accuracy is for one genre an item"):
        load_experiment(write(tmp_path / "x.toml", text))


def test_a_recipe_without_a_table_is_no_experiment() -> None:
    with pytest.raises(RecipeError, match=r"recipe quick: has no section \[table\]"):
        load_experiment("quick")
