"""How frozen models are named in recipes."""

from __future__ import annotations

import pytest

from mmgenre.errors import RecipeError
from mmgenre.frozen.settings import ModelName, names_a_model
from mmgenre.kinds import KINDS
from mmgenre.pipeline.recipe import validate


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("hf:m-a-p/MERT-v1-95M", "mert-v1-95m"),
        ("hf:m-a-p/MERT-v1-95M@a1b2c3", "mert-v1-95m"),
        ("hf:intfloat/multilingual-e5-small@refs/pr/1", "multilingual-e5-small"),
        ("timm:resnet50.a1_in1k", "resnet50-a1_in1k"),
        ("dir:/models/My Model (2)", "my-model-2"),
        ("dir:models/x@2", "x-2"),
    ],
)
def test_a_name_is_read_and_labels_a_view(text: str, label: str) -> None:
    assert names_a_model(text)
    assert str(ModelName.parse(text)) == text
    assert ModelName.parse(text).label == label


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hf:MERT", "write hf:OWNER/NAME"),
        ("hf:a/b/c", "write hf:OWNER/NAME"),
        ("hf:../../etc/passwd", "write hf:OWNER/NAME"),
        ("hf:a/b@", "@REVISION"),
        ("hf:a/b@x;y", "@REVISION"),
        ("timm:a/b", "write timm:NAME"),
        ("dir:", "write dir:PATH"),
        ("hub:a/b", "hf:OWNER/NAME, timm:NAME or dir:PATH"),
    ],
)
def test_another_form_says_what_to_write(text: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        ModelName.parse(text)


def test_a_bare_name_is_refused_with_the_prefix_to_use() -> None:
    with pytest.raises(RecipeError, match="hf:m-a-p/MERT-v1-95M, or dir:m-a-p/MERT-v1-95M"):
        KINDS["audio"].encoder("m-a-p/MERT-v1-95M")


def test_names_of_encoders_are_none_of_models() -> None:
    assert not names_a_model("cnn")
    assert not names_a_model("package.module:NAME")


def test_options_lie_over_the_section() -> None:
    recipe = validate(
        {
            "audio": {
                "encoders": ["cnn", "hf:a/one", "hf:a/two"],
                "frozen": {"layer": 3},
                "options": {"hf:a/two": {"layer": "mean", "top": "network"}},
            }
        },
        where="here",
    )
    cnn, one, two = recipe.views("audio")
    assert (cnn.reads.frozen, one.reads.frozen.layer, two.reads.frozen.layer) == (None, 3, "mean")  # type: ignore[attr-defined]
    assert (cnn.fixed, one.fixed, two.fixed) == (False, True, False)
    assert (one.name, two.name) == ("audio.one", "audio.two")
    assert len({view.input_name for view in (cnn, one, two)}) == 3


def test_unknown_options_and_weights_of_layers_without_a_network_are_refused() -> None:
    name = "hf:a/one"
    with pytest.raises(RecipeError, match="unknown key 'layers'; did you mean layer"):
        validate({"audio": {"encoders": [name], "options": {name: {"layers": 3}}}}, where="here")
    with pytest.raises(RecipeError, match='give top = "network"'):
        validate({"audio": {"encoders": [name], "frozen": {"layer": "weighted"}}}, where="here")
