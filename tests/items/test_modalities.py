from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmgenre.errors import ManifestError
from mmgenre.items.columns import column_names
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import (
    MODALITIES,
    TEXT,
    Modality,
    full_name,
    parse_modalities,
    short_name,
)
from mmgenre.items.splits import make_splits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,t,i", ("audio", "text", "image")),
        ("image, A", ("audio", "image")),
        ("text", ("text",)),
        ("t,", ("text",)),
    ],
)
def test_modalities_by_letter_and_by_name(text: str, expected: tuple[Modality, ...]) -> None:
    assert parse_modalities(text) == expected


@pytest.mark.parametrize("text", ["", ",", "a,a", "a,audio", "v", "at", "audio;text"])
def test_modalities_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"give each of a \(audio\), t \(text\), i \(image\)"):
        parse_modalities(text)


def test_names_and_letters_belong_to_one_modality_each() -> None:
    assert all(info.name == name for name, info in MODALITIES.items())
    for values in zip(*((i.short, i.colour, i.marker) for i in MODALITIES.values()), strict=True):
        assert len(set(values)) == len(MODALITIES)
    assert len(set(column_names())) == len(column_names())


def test_one_line_adds_a_modality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Manifest([Item("a", media={"text": ("x",)})]).sha256
    monkeypatch.setitem(MODALITIES, "lyrics", replace(TEXT, name="lyrics", short="l"))
    assert Manifest([Item("a", media={"text": ("x",)})]).sha256 == before
    assert parse_modalities("l,audio") == ("audio", "lyrics")
    assert (short_name("lyrics"), full_name("l")) == ("l", "lyrics")
    with pytest.raises(ValueError, match=r"i \(image\), l \(lyrics\) .* for instance a,t,i,l"):
        parse_modalities("v")

    path = tmp_path / "m.csv"
    path.write_text("id,text,lyrics,lyrics_file\na,review,La la,\nb,,,1.txt;2.txt\nc,,,\n")
    manifest = Manifest.read(path)
    files = (tmp_path / "1.txt", tmp_path / "2.txt")
    assert manifest["a"].media == {"text": ("review",), "lyrics": ("La la",)}
    assert manifest["b"].extra == {}
    assert list(manifest.rows("lyrics")) == [("a", ("La la",)), ("b", files)]
    assert manifest.ids(having=["lyrics"]) == ("a", "b")
    assert manifest.info()["modalities"] == {"audio": 0, "text": 1, "image": 0, "lyrics": 2}
    assert make_splits(manifest, (0.4, 0.3, 0.3), 0).keys() == {"a", "b", "c"}
    copy = manifest.write(tmp_path / "copy.csv")
    assert copy.read_text().splitlines()[0].endswith("text_file,text,lyrics_file,lyrics")
    assert Manifest.read(copy).items == manifest.items
    path.write_text("id,lyrics_file\na,1.txt;;2.txt\n")
    with pytest.raises(ManifestError, match="line 2: lyrics_file: empty entry in "):
        Manifest.read(path)
