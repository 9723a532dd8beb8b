"""Services over HTTP, against a server of this machine: answers, refusals, patience, the cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from annotation_server import Stub, serve

from mmgenre.disk.store import FeatureStore
from mmgenre.errors import InputError, MmgenreError
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.reading.extraction import extract_inputs
from mmgenre.text.entities.annotation import Annotation, Annotator
from mmgenre.text.entities.annotators import BUILT_IN_FOLDER, EntityConfig, annotator_of
from mmgenre.text.entities.knowledge import open_knowledge
from mmgenre.text.entities.services import KEY_VARIABLE, babelfy, code_point_span, spotlight
from mmgenre.text.settings import TextInput

QUICK: dict[str, Any] = {"timeout_s": 2, "tries": 3, "pause_s": 0.001, "longest_pause_s": 0.01}
KEY = "s3cr3t-key"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as made:
        yield made


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MMGENRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    return tmp_path / "cache" / "annotations"


def resource(surface: str, offset: int, uri: str = "Miles_Davis", types: str = "") -> Any:
    return {
        "@URI": f"http://dbpedia.org/resource/{uri}",
        "@surfaceForm": surface,
        "@offset": str(offset),
        "@similarityScore": "0.75",
        "@types": types,
    }


def refusal(annotator: Annotator, text: str) -> str:
    with pytest.raises(InputError) as caught:
        annotator.annotate(text)
    assert caught.value.code == "annotation"
    return str(caught.value)


def test_spotlight_is_asked_and_understood(stub: Stub) -> None:
    types = "Http://xmlns.com/foaf/0.1/Person,Wikidata:Q5,DBpedia:MusicalArtist,DBpedia:Person"
    stub.reply = lambda text: {"@text": text, "Resources": [resource("Miles", 2, types=types)]}
    found = spotlight(stub.url, 0.5, **QUICK).annotate("🎷Miles & more")
    uri = "http://dbpedia.org/resource/Miles_Davis"
    assert found == [Annotation("Miles", uri, ("MusicalArtist", "Person"), 0.75, (1, 6))]
    text = {"text": "🎷Miles & more", "confidence": "0.5"}
    assert stub.asked == [("POST", text, "application/json")]


def test_spotlight_takes_categories_from_a_base(stub: Stub) -> None:
    stub.reply = lambda text: {
        "Resources": [resource("Miles", 0, types="DBpedia:X"), resource("Nobody", 6, "No_One")]
    }
    base = open_knowledge(BUILT_IN_FOLDER)
    miles, nobody = spotlight(stub.url, 0.5, base, **QUICK).annotate("Miles Nobody")
    assert "American jazz trumpeters" in miles.categories
    assert nobody.categories == ()


def test_babelfy_is_asked_and_understood(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, f" {KEY} ")

    def one(start: int, end: int, synset: str, name: str, score: float) -> Any:
        url = f"http://dbpedia.org/resource/{name}" if name else ""
        span = {"start": start, "end": end}
        return {"charFragment": span, "babelSynsetID": synset, "DBpediaURL": url, "score": score}

    stub.reply = lambda text: [
        one(0, 10, "bn:00015267n", "Miles_Davis", 0.9),
        one(0, 4, "bn:1", "Mile", 0.1),
        one(12, 15, "bn:2", "", 1),
    ]
    base = open_knowledge(BUILT_IN_FOLDER)
    found = babelfy(stub.url, "EN", 0.3, base, **QUICK).annotate("Miles Davis plays")
    assert [(a.surface, a.entity, a.score, a.span) for a in found] == [
        ("Miles Davis", "bn:00015267n", 0.9, (0, 11)),
        ("play", "bn:2", 1.0, (12, 16)),
    ]
    assert "Cool jazz musicians" in found[0].categories
    [(method, parameters, _)] = stub.asked
    assert method == "GET"
    assert parameters == {"text": "Miles Davis plays", "lang": "EN", "key": KEY}


def test_babelfy_without_a_key_is_refused(stub: Stub) -> None:
    config = EntityConfig(annotator="babelfy", url=stub.url, knowledge_base="music")
    with pytest.raises(MmgenreError, match=f"needs a key: .* environment variable {KEY_VARIABLE}"):
        annotator_of(config)


def test_the_key_is_neither_kept_nor_shown(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    service = babelfy(stub.url, "EN", 0.3, open_knowledge(BUILT_IN_FOLDER), **QUICK)
    stub.reply = lambda text: []
    assert service.annotate("fine") == []
    stub.script = [(403, f"key {KEY} is used up".encode()), (200, f'{{"key": "{KEY}"}}'.encode())]
    for _ in range(2):
        message = refusal(service, "not fine")
        assert KEY not in message
        assert "***" in message
    kept = [p for p in cache.rglob("*") if p.is_file()]
    assert len(kept) == 1
    assert KEY not in kept[0].read_text() + str(kept[0])


def test_a_busy_service_is_asked_again(stub: Stub) -> None:
    stub.script = [(429, b"later"), (503, b"")]
    assert spotlight(stub.url, 0.5, **QUICK).annotate("jazz") == []
    assert len(stub.asked) == 3


def test_a_service_that_fails_for_ever_is_an_error(stub: Stub) -> None:
    stub.script = [(500, b"out of memory")] * 3
    service = spotlight(stub.url, 0.5, **QUICK)
    message = refusal(service, "jazz")
    assert message.startswith(f"{stub.url}: HTTP 500 ")
    assert "'out of memory'; asked 3 time(s); the answers so far are kept" in message
    stub.script = [(500, b"")] * 2
    assert "asked 1 time(s)" in refusal(service, "jazz")  # it is down: no more waiting
    assert "asked 1 time(s)" in refusal(service, "blues")
    assert service.annotate("jazz") == []  # it is back
    stub.script = [(500, b""), (500, b"")]
    assert service.annotate("blues") == []  # and waited for again


def test_a_question_that_is_refused_is_not_asked_again(stub: Stub) -> None:
    stub.script = [(400, b"text too long")]
    assert "HTTP 400 Bad Request: 'text too long'" in refusal(
        spotlight(stub.url, 0.5, **QUICK), "jazz"
    )
    assert len(stub.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"message": "limit"}',
        b'{"Resources": [{"@URI": "x"}]}',
        b'{"Resources": 7}',
        json.dumps({"Resources": [resource("Miles", 99)]}).encode(),  # beyond the text
        b"\xff",
    ],
)
def test_what_is_no_answer_is_an_error(stub: Stub, cache: Path, body: bytes) -> None:
    stub.script = [(200, body)]
    assert "not an answer of spotlight" in refusal(spotlight(stub.url, 0.5, **QUICK), "jazz")
    assert not cache.exists()


def test_nobody_there_is_an_error(stub: Stub) -> None:
    stub.stop()
    assert "no answer (" in refusal(spotlight(stub.url, 0.5, **QUICK), "jazz")


def test_answers_are_kept_and_do_when_the_server_is_gone(stub: Stub, cache: Path) -> None:
    stub.reply = lambda text: {"Resources": [resource("Miles", 0, types="DBpedia:Person")]}
    found = spotlight(stub.url, 0.5, **QUICK).annotate("Miles")
    again = spotlight(stub.url, 0.5, **QUICK)
    assert again.annotate("Miles") == found
    assert len(stub.asked) == 1
    spotlight(stub.url, 0.7, **QUICK).annotate("Miles")  # another question
    assert len(stub.asked) == 2
    [damaged] = [p for p in cache.rglob("*.json") if p.stat().st_size][:1]
    damaged.write_text("{")
    spotlight(stub.url, 0.5, **QUICK).annotate("Miles")
    spotlight(stub.url, 0.7, **QUICK).annotate("Miles")
    assert len(stub.asked) == 3
    stub.stop()
    assert again.annotate("Miles") == found
    refusal(again, "Coltrane")


def test_threads_may_ask_the_same(stub: Stub) -> None:
    service = spotlight(stub.url, 0.5, **QUICK)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(service.annotate, ["jazz", "blues"] * 20)) == [[]] * 40


def test_a_text_without_an_answer_is_refused_not_read_plainly(stub: Stub, tmp_path: Path) -> None:
    def reply(text: str) -> Any:
        if "Coltrane" in text:
            return "no answer at all"
        return {"Resources": [resource("Miles", 0, types="DBpedia:Person")]}

    stub.reply = reply
    manifest = Manifest(
        [
            Item("a", media={"text": ("Miles played.",)}),
            Item("b", media={"text": ("Coltrane played.",)}),
        ]
    )
    config = TextInput(entities=EntityConfig(annotator="spotlight", url=stub.url))
    target = extract_inputs(manifest, "text", config, tmp_path / "t.h5")
    with FeatureStore(target, "text") as store:
        assert store.ids == ("a",)
        assert store.read_text("a") == "Miles played.\ncategory_person"
        assert [(r.id, r.code) for r in store.refused] == [("b", "annotation")]


def test_offsets_of_java_become_code_points() -> None:
    text = "a🎷b\U00010400c"
    assert [code_point_span(text, *s) for s in ((0, 1), (3, 4), (4, 6), (6, 7))] == [
        (0, 1),
        (2, 3),
        (3, 4),
        (4, 5),
    ]
    for start, end in ((-1, 2), (2, 2), (3, 8)):
        with pytest.raises(ValueError, match="of a text of 7 characters"):
            code_point_span(text, start, end)


def test_a_service_is_not_followed_to_another_host(stub: Stub) -> None:
    with serve() as other:
        stub.script = [(307, b""), (302, b"")]
        for code, text in ((307, "Miles."), (302, "Davis.")):
            stub.headers = {"Location": other.url}
            said = refusal(spotlight(stub.url, 0.5, **QUICK), text)
            assert f"HTTP {code} " in said
            assert "leads to another address" in said
        assert other.asked == []
        assert len(stub.asked) == 2


@pytest.mark.parametrize(
    "url", ["http://x.org/annotate", "http://127.0.0.1.x.org/", "http://10.0.0.1/", "https:///x"]
)
def test_texts_are_not_sent_in_the_open(url: str) -> None:
    with pytest.raises(ValueError, match=r"url must begin with https://"):
        EntityConfig(annotator="spotlight", url=url)


@pytest.mark.parametrize("url", ["https://x.org/a", "http://localhost:2222/a", "http://[::1]/a"])
def test_addresses_that_may_be_asked(url: str) -> None:
    assert EntityConfig(annotator="spotlight", url=url).url == url
