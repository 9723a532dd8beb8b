"""Settings, and the way of a text: cut, linked, enriched, stored, known by its provenance."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sklearn.feature_extraction.text import TfidfVectorizer

from mmgenre.disk.store import FeatureStore, fingerprint_of
from mmgenre.errors import FaultsError, MmgenreError
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.reading.extraction import extract_inputs
from mmgenre.text.decoding import load_text
from mmgenre.text.entities.annotation import Annotation, category_word, enrich
from mmgenre.text.entities.annotators import EntityConfig, annotator_of, entity_provenance
from mmgenre.text.settings import TextInput

LOCAL = TextInput(entities=EntityConfig(annotator="local"))


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMGENRE_CACHE", str(tmp_path / "cache"))


def annotation(entity: str, *categories: str) -> Annotation:
    return Annotation(entity, entity, categories)


def write_base(folder: Path, category: str = "Home-made genres") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "surfaces.tsv").write_text("surface\tentity\tprior\nzoo jazz\tZoo\t1\n")
    (folder / "entities.tsv").write_text(f"entity\ttitle\tcategories\nZoo\tZoo jazz\t{category}\n")
    return folder


def test_an_entity_counts_once_a_shared_category_twice() -> None:
    found = [annotation("A", "X", "Y"), annotation("B", "Y"), annotation("A", "X", "Y")]
    assert enrich("Text.", found) == "Text.\ncategory_x category_y category_y"
    assert enrich("Text.", []) == enrich("Text.", [annotation("A")]) == "Text."


def test_every_category_is_one_word_to_scikit_learn() -> None:
    names = [
        "Swing music",
        "R&B/soul — 1970s",
        "Raï",
        "Música latina",
        "J-pop",
        "日本の音楽",
        "AC/DC",
    ]
    names += ["Georgia (U.S. state)", "¿Qué?", "Björk\u2019s albums"]
    text = enrich("Some words.", [annotation(str(k), name) for k, name in enumerate(names)])
    words = re.findall(TfidfVectorizer().token_pattern, text.lower())
    assert words[2:] == [category_word(name) for name in names]
    assert category_word("Raï") == category_word("Rai\u0308") == "category_raï"
    fitted = TfidfVectorizer().fit([text])
    assert {category_word(name) for name in names} <= set(fitted.get_feature_names_out())


def test_without_an_annotator_texts_are_as_they_were() -> None:
    assert EntityConfig().annotator == "none"
    assert annotator_of(EntityConfig()) is None
    assert entity_provenance(EntityConfig()) == {}
    text = "Miles Davis plays cool jazz. " * 80
    assert load_text((text,)) == load_text((text,), TextInput()) == text[:1478].rstrip()


def test_a_text_is_cut_before_its_entities_are_looked_up() -> None:
    config = LOCAL.model_copy(update={"max_characters": 12})
    plain, _, categories = load_text(("Some techno. Some jazz.",), config).partition("\n")
    assert plain == "Some techno."
    assert "category_techno" in categories.split()
    assert "category_jazz" not in categories


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"annotator": "spotlight"}, "annotator 'spotlight' needs url"),
        ({"annotator": "babelfy", "url": "https://x"}, "'babelfy' needs knowledge_base"),
        ({"annotator": "jsonl"}, "annotator 'jsonl' needs annotations"),
        ({"url": "https://x"}, "url is for annotator spotlight or babelfy; this is 'none'"),
        ({"annotator": "local", "url": "https://x"}, "url is for annotator spotlight or babelfy"),
        ({"annotator": "local", "annotations": "x"}, "annotations is for annotator jsonl; this is"),
        ({"annotator": "jsonl", "annotations": "x", "nil_threshold": 0.5}, "nil_threshold is for"),
        ({"annotator": "spotlight", "url": "http://x", "case_weight": 0.5}, "for annotator local;"),
        ({"annotator": "spotlight", "url": "localhost"}, "url must begin with http:// or https://"),
        ({"annotator": "spotlight", "url": "file:///etc/passwd"}, "url must begin with http://"),
        ({"annotator": "local", "nil_threshold": 1.5}, "less than or equal to 1"),
        ({"annotator": "dbpedia"}, "Input should be 'none', 'local', 'spotlight', 'babelfy'"),
        ({"annotator": "local", "threshold": 0.5}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(values: Any, fault: str) -> None:
    with pytest.raises(ValidationError) as caught:
        EntityConfig.model_validate(values)
    assert fault in str(caught.value)


def test_settings_survive_a_bundle() -> None:
    config = TextInput(entities=EntityConfig(annotator="local", nil_threshold=0.4))
    assert TextInput.model_validate_json(config.model_dump_json()) == config


def test_faults_of_the_annotator_end_the_run(tmp_path: Path) -> None:
    """They are no faults of the items: nobody is refused for a misspelt path."""
    manifest = Manifest([Item("x", media={"text": ("Zoo jazz.",)})])
    for entities, fault in (
        (EntityConfig(annotator="local", knowledge_base=str(tmp_path)), "No such file"),
        (EntityConfig(annotator="jsonl", annotations=str(tmp_path / "a")), "cannot be read"),
        (EntityConfig(annotator="local", context_model=str(tmp_path / "m")), "no such folder"),
    ):
        target = tmp_path / "t.h5"
        with pytest.raises(MmgenreError, match=fault):
            extract_inputs(manifest, "text", TextInput(entities=entities), target)
        assert not target.exists()


def test_a_base_without_names_is_for_services_only(tmp_path: Path) -> None:
    (write_base(tmp_path / "base") / "surfaces.tsv").unlink()
    with pytest.raises(FaultsError, match=r"surfaces\.tsv: no such file; annotator local needs"):
        annotator_of(EntityConfig(annotator="local", knowledge_base=str(tmp_path / "base")))


def test_texts_are_enriched_on_their_way_into_the_store(tmp_path: Path) -> None:
    file = tmp_path / "review.txt"
    file.write_text("Jungle and dubstep from Bristol.", encoding="utf-8")
    items = [
        Item("a", media={"text": (file, "By Massive Attack.")}),
        Item("b", media={"text": ("Nothing known here.",)}),
        Item("c", media={"text": ("...",)}),
    ]
    target = extract_inputs(Manifest(items), "text", LOCAL, tmp_path / "t.h5", workers=4)
    with FeatureStore(target, "text") as store:
        assert store.ids == ("a", "b")
        first = store.read_text("a")
        assert first.startswith("Jungle and dubstep from Bristol.\nBy Massive Attack.\ncategory_")
        assert {"category_music_of_bristol", "category_trip_hop_groups"} <= set(first.split())
        assert store.read_text("b") == "Nothing known here."
        assert [(r.id, r.code) for r in store.refused] == [("c", "empty")]


def test_a_changed_base_is_read_anew(tmp_path: Path) -> None:
    folder, target = write_base(tmp_path / "base"), tmp_path / "t.h5"
    manifest = Manifest([Item("x", media={"text": ("Zoo jazz!",)})])
    entities = EntityConfig(annotator="local", knowledge_base=str(folder))

    def read() -> str:
        extract_inputs(manifest, "text", TextInput(entities=entities), target)
        with FeatureStore(target, "text") as store:
            return store.read_text("x")

    assert read() == "Zoo jazz!\ncategory_home_made_genres"
    first, state = fingerprint_of(target, "text"), target.stat()
    os.utime(folder / "entities.tsv", ns=(1, 1))  # the same bytes
    read()
    assert target.stat().st_mtime_ns == state.st_mtime_ns
    write_base(folder, "Other genres")
    assert read() == "Zoo jazz!\ncategory_other_genres"
    assert fingerprint_of(target, "text") != first


def test_provenance_follows_bytes(tmp_path: Path) -> None:
    line = json.dumps({"id": "x", "annotations": []})
    (tmp_path / "a.jsonl").write_text(line)
    ready = EntityConfig(annotator="jsonl", annotations=str(tmp_path / "a.jsonl"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    model = EntityConfig(annotator="local", context_model=str(tmp_path / "model"))
    before = [entity_provenance(ready), entity_provenance(model)]
    assert before[0].keys() == {"version", "a.jsonl"}
    assert before[1].keys() == {"version", "surfaces.tsv", "entities.tsv", "context_model"}
    (tmp_path / "a.jsonl").write_text(line + "\n")
    (tmp_path / "model" / "config.json").write_text("{ }")
    after = [entity_provenance(ready), entity_provenance(model)]
    assert after[0] != before[0]
    assert after[1]["context_model"] != before[1]["context_model"]
    assert after[1]["entities.tsv"] == before[1]["entities.tsv"]


def test_annotations_by_item_reach_their_items(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    one = {"entity": "E", "categories": ["From elsewhere"]}
    path.write_text(json.dumps({"id": "b", "annotations": [one]}))
    config = TextInput(entities=EntityConfig(annotator="jsonl", annotations=str(path)))
    items = [Item(item_id, media={"text": ("Same words.",)}) for item_id in "ab"]
    target = extract_inputs(Manifest(items), "text", config, tmp_path / "t.h5")
    with FeatureStore(target, "text") as store:
        assert store.read_text("b") == "Same words.\ncategory_from_elsewhere"
        assert [(r.id, r.code) for r in store.refused] == [("a", "annotation")]
    assert load_text(("Same words.",), config, "b").endswith("category_from_elsewhere")
