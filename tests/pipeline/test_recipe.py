"""Recipes: every one loads, a difference is laid over its base, and nothing misspelt passes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mmgenre import Item, Manifest
from mmgenre.errors import RecipeError
from mmgenre.pipeline.recipe import (
    decided,
    is_experiment,
    load_recipe,
    merge,
    parse_setting,
    recipe_folder,
    recipe_names,
    recipe_type,
    validate,
)
from mmgenre.pipeline.rows import fusion_recipe

FOLDER = Path(__file__).parents[2] / "recipes"
GENRES = ("Jazz", "Rock")


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_names_are_all_files_of_the_folder() -> None:
    assert recipe_folder() == FOLDER
    found = sorted(str(p.relative_to(FOLDER)).removesuffix(".toml") for p in FOLDER.rglob("*.toml"))
    assert recipe_names() == found
    assert {"default", "quick"} <= set(found)


EXPERIMENTS = [name for name in recipe_names() if is_experiment(name)]


@pytest.mark.parametrize("name", sorted(set(recipe_names()) - set(EXPERIMENTS)))
def test_every_recipe_loads_and_survives_json(name: str) -> None:
    recipe = load_recipe(name)
    assert validate(recipe.model_dump(mode="json"), where=name) == recipe


def test_an_experiment_is_no_recipe_of_a_run() -> None:
    assert EXPERIMENTS
    with pytest.raises(RecipeError, match="is a table of experiments; run it with mmgenre run"):
        load_recipe(EXPERIMENTS[0])


def test_default_is_the_library_s_own_but_for_what_it_states() -> None:
    stated = tomllib.loads((FOLDER / "default.toml").read_text(encoding="utf-8"))
    stated.pop("by_size", None)
    expected = decided(merge(recipe_type()().model_dump(exclude={"image"}), stated))
    assert load_recipe("default") == validate(expected, where="test")
    assert "base" not in stated


def test_quick_changes_what_it_says_and_keeps_the_rest_of_default() -> None:
    stated = tomllib.loads((FOLDER / "quick.toml").read_text(encoding="utf-8"))
    assert stated.pop("base") == "default"
    stated.pop("by_size", None)
    expected = decided(merge(load_recipe("default").model_dump(), stated))
    assert load_recipe("quick") == validate(expected, where="test")
    assert load_recipe("quick").of("image").weights == "none"  # nothing to download


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("audio.netwrok='low-4x70'", "unknown key 'audio.netwrok'; did you mean network"),
        ("audoi.patches=2", "unknown key 'audoi'; did you mean audio"),
        ("target.class_weights=adjusted", "first_bias prior: adjusted labels have the same prior"),
        ("text.training.max_epoch=2", "'text.training.max_epoch'; did you mean max_epochs"),
        (
            "joint.zzz=2",
            "unknown key 'joint.zzz'; known: modalities, dim, margin, loss, temperature, dropout, "
            "training",
        ),
        ("text.max_words='many'", "text.max_words: .*valid integer, got 'many'"),
        ("text.max_words=1.5", "text.max_words: .*valid integer.*, got 1.5"),
        ("audio.spec_augment=1", "audio.spec_augment: .*valid boolean, got 1"),
        ("audio.network=low-5x70", "audio.network: .*'high-4x70', got 'low-5x70'"),
        ("fusion.modality_dropout=1", "fusion.modality_dropout: .*less than 1, got 1"),
        ("labels.task=both", "labels.task: .*'single' or 'multi', got 'both'"),
        ("split.ratios=[0.5, 0.5]", "split.ratios.2: Field required"),
        ("audio=3", "audio: .*, got 3"),
        ("seed=-1", "seed: .*greater than or equal to 0, got -1"),
        ("image.crop_px=999", r"crop_px 999: the stored squares have input\.size_px"),
    ],
)
def test_what_is_not_allowed_is_named(setting: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("quick", [setting])


def test_all_faults_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", "seed = -1\nsede = 1\n[audio]\npatches = 'two'\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    text = str(caught.value)
    assert path in text
    assert "unknown key 'sede'; did you mean seed" in text
    assert "seed: " in text
    assert "audio.patches: " in text


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("a.b=1", {"a": {"b": 1}}),
        ("a = 2.5e-3", {"a": 2.5e-3}),
        ("a.b.c=true", {"a": {"b": {"c": True}}}),
        ("a='none'", {"a": "none"}),
        ("a=none", {"a": "none"}),
        ("a=low-4x70", {"a": "low-4x70"}),
        ("a=/weights/x=y.pt", {"a": "/weights/x=y.pt"}),
        ("a=[0.6, 0.2, 0.2]", {"a": [0.6, 0.2, 0.2]}),
        ("a={ size_px = 72 }", {"a": {"size_px": 72}}),
    ],
)
def test_settings_are_toml_or_bare_words(setting: str, expected: dict[str, object]) -> None:
    assert parse_setting(setting) == expected


@pytest.mark.parametrize("setting", ["audio.patches", "=2", "audio.=2", ".patches=2", ""])
def test_a_setting_without_key_or_value(setting: str) -> None:
    with pytest.raises(RecipeError, match=r"write section\.key=value"):
        parse_setting(setting)


def test_the_last_setting_wins_and_neighbours_stay() -> None:
    recipe = load_recipe("quick", ["audio.patches=4", "audio.patches=5", "text.dropout=0.25"])
    quick = load_recipe("quick")
    assert (recipe.of("audio").patches, recipe.of("text").dropout) == (5, 0.25)
    assert recipe.of("text").max_words == quick.of("text").max_words


def test_merge_changes_neither_side() -> None:
    below, above = {"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}
    assert merge(below, above) == {"a": {"b": 3, "c": 2}}
    assert (below, above) == ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})


def test_a_file_over_a_base_beside_it_over_one_of_ours(tmp_path: Path) -> None:
    write(tmp_path / "house.toml", 'base = "quick"\nseed = 7\n[audio]\npatches = 9\n')
    for base in ("house", "house.toml"):
        path = write(tmp_path / "mine.toml", f'base = "{base}"\n[audio]\ndropout = 0.4\n')
        recipe = load_recipe(path)
        assert (recipe.seed, recipe.of("audio").patches, recipe.of("audio").dropout) == (7, 9, 0.4)
        assert recipe.of("audio").network == load_recipe("quick").of("audio").network


def test_one_s_own_file_may_have_the_name_of_its_base(tmp_path: Path) -> None:
    path = write(tmp_path / "quick.toml", 'base = "quick"\nseed = 3\n')
    assert load_recipe(path) == load_recipe("quick", ["seed=3"])


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
def test_bases_in_a_circle(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name, base in zip(names, (*names[1:], names[0]), strict=True):
        write(tmp_path / f"{name}.toml", f'base = "{base}"\n')
    with pytest.raises(RecipeError, match=r"circle: .*a\.toml -> .*a\.toml"):
        load_recipe(str(tmp_path / "a.toml"))


def test_bases_in_a_circle_over_two_folders(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    path = write(tmp_path / "a.toml", 'base = "x/b"\n')
    write(tmp_path / "x" / "b.toml", 'base = "../a"\n')
    with pytest.raises(RecipeError, match=r"circle: .*a\.toml -> .*b\.toml -> .*a\.toml"):
        load_recipe(path)


def test_paths_in_settings_hold_from_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("quick", ["image.weights=w.pth", "text.input.entities.annotator=local"])
    assert recipe.of("image").weights == str(tmp_path / "w.pth")
    assert recipe.of("text").input.entities.knowledge_base is None
    linked = load_recipe(
        "quick",
        ["text.input.entities={ annotator = 'local', knowledge_base = 'base' }"],
    )
    assert linked.of("text").input.entities.knowledge_base == str(tmp_path / "base")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = = 1", r"mine\.toml: not TOML: .*line 1"),
        ("base = 3", r"mine\.toml: base: must be a recipe's name, got 3"),
        ("base = 'nowhere'", "no recipe 'nowhere'"),
    ],
)
def test_files_that_cannot_be_followed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path / "mine.toml", text))


def test_latin_1_is_no_toml(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes("# für mich\n".encode("latin-1"))
    with pytest.raises(RecipeError, match="not TOML"):
        load_recipe(str(path))


def test_a_misspelt_name_is_given_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'quikc'; did you mean quick\? known: "):
        load_recipe("quikc")
    with pytest.raises(RecipeError, match=r"no recipe 'gone\.toml'; known: ablations"):
        load_recipe("gone.toml")


def test_fusion_takes_settings_of_its_sections_only() -> None:
    recipe = load_recipe("quick")
    changed = fusion_recipe(recipe, "cosine", True, "single", ["fusion.cross_fit=5"])
    assert (changed.fusion.head, changed.fusion.joint, changed.fusion.cross_fit) == (
        "cosine",
        "beside",
        5,
    )
    with pytest.raises(RecipeError, match=r"fusion\.dropout: is of heads that are trained"):
        fusion_recipe(recipe, None, None, None, ["fusion.dropout=0.3"])
    assert changed.exclusive
    assert changed.of("audio") == recipe.of("audio")
    for setting in ("audio.patches=2", "text.dropout=0.1", "split.leakage=report", "seed=3"):
        section = setting.split(".")[0].split("=")[0]
        with pytest.raises(RecipeError, match=f"{section}: no setting of fusion"):
            fusion_recipe(recipe, None, None, None, [setting])
    with pytest.raises(RecipeError, match=r"fusion\.head: .*'cosine', got 'sine'"):
        fusion_recipe(recipe, "sine", None, None, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 100_000, "nested more than 20 deep"),
        ("a = " + "{a=" * 2000, "nested more than 20 deep"),
        ("a" + ".a" * 50_000 + " = 1", "nested more than 20 deep"),
        ("x = " + "[" * 100 + "]" * 100, r"x\[0\].*nested more than 20 deep"),
        ("seed = " + "9" * 5000, "4300 digits"),
        ("seed = " + "9" * 4000, "seed: an integer of more than 64 bits"),
        ("[audio]\nx = [1, 0x" + "f" * 9999 + "]", r"audio\.x\[1\]: an integer of more than 64"),
        ("k" * 1_000_000 + " = 1", "a key of 1,000,000 characters"),
        ('a = "\0"', "line 1, column 6"),
    ],
)
def test_absurd_toml_is_a_fault_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "absurd.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=rf"absurd\.toml: .*{message}") as caught:
        load_recipe(str(path))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "setting",
    [
        "a=" + "[" * 100_000,
        "seed=" + "9" * 5000,
        "seed=" + "9" * 4000,
        "a" + ".a" * 5000 + "=1",
        "k" * 100_000 + "=1",
        "k" * 100_000,
    ],
)
def test_absurd_settings(setting: str) -> None:
    with pytest.raises(RecipeError, match=r"^setting ") as caught:
        parse_setting(setting)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("n_items", [30, 31])
def test_settings_by_size_lie_below_what_a_recipe_on_top_states(
    tmp_path: Path, n_items: int
) -> None:
    text = 'base = "default"\n[audio]\npatches = 2\n[[by_size]]\nup_to = 30\n[by_size.text]\n'
    mine = write(tmp_path / "mine.toml", text + "max_words = 7\n")
    items = Manifest(
        [Item(f"a{i}", artist=f"x{i}", labels=(GENRES[i % 2],)) for i in range(n_items)]
    )
    said: list[str] = []
    recipe = load_recipe(mine, manifest=items, notes=said)
    assert (recipe.of("audio").patches, recipe.of("audio").patch_s) == (2, 6.0)
    assert (recipe.of("text").max_words == 7) == (n_items == 30)
    own = "recipe mine: its settings for at most 30 items; here are 30"
    below = (
        "recipe mine: where it states nothing else, those of default for at most 5,000 items; "
        f"here are {n_items}"
    )
    assert [n for n in said if n.startswith("recipe ")] == [own] * (n_items == 30) + [below]


def test_quick_names_itself_and_trains_nothing_again_for_heads() -> None:
    items = Manifest([Item(f"a{i}", artist=f"x{i}", labels=("Jazz",)) for i in range(30)])
    said: list[str] = []
    quick = load_recipe("quick", manifest=items, notes=said)
    assert (quick.of("audio").patch_s, quick.fusion.cross_fit) == (6.0, 0)
    assert said[0].startswith("recipe quick: where it states nothing else, those of default")
    said.clear()
    assert load_recipe("default", manifest=items, notes=said).fusion.cross_fit == 3
    assert said[0] == "recipe default: its settings for at most 5,000 items; here are 30"
