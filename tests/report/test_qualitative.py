"""The qualitative part of the page on a made-up description: what is shown, said, and escaped."""

from __future__ import annotations

import base64
import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from test_page import HOSTILE, Page, made_run, sections
from test_tables import GENRES, made_fusion

from mmgenre.disk.provenance import sha256_file
from mmgenre.explain.results import PointMap, Qualitative
from mmgenre.report import render, write_report
from mmgenre.report.maps import STYLES, genre_styles
from mmgenre.report.page import PARTS

SOUND = base64.b64encode(b"a sound").decode()
PICTURE = base64.b64encode(b"a picture").decode()


def made_map(name: str, genres: list[str]) -> PointMap:
    return {
        "name": name,
        "detail": "vectors of some items",
        "width": 50,
        "n_items": 2 * len(genres),
        "n_distinct": len(genres),
        "perplexity": 5.0,
        "wanted_perplexity": 30.0,
        "seed": 7,
        "points": [
            {"id": f"i{k}", "title": f"Band – {g}", "x": k / 10, "y": -k / 20, "genre": g}
            for k, g in enumerate(genres)
        ],
    }


def made_example(item_id: str, names: list[str], *, is_mistake: bool) -> dict[str, Any]:
    guess = {"genre": names[0], "score": 0.75, "right": not is_mistake}
    return {
        "id": item_id,
        "title": f"Band – {names[3]}",
        "is_mistake": is_mistake,
        "truth": [names[1] if is_mistake else names[0]],
        "guesses": [guess, {"genre": names[2], "score": 0.5, "right": False}],
        "base": 0.25,
        "shares": {"audio": 0.625, "text": -0.125},
        "alone": {"audio": guess, "text": {"genre": names[4], "score": 0.5, "right": False}},
        "words": [["loud", 0.125], [names[6], -0.0625], ["nil", 0.001]],
        "seconds": [[0.0, 2.0, -0.01], [2.0, 4.0, 0.25]],
        "places": [[0.0, 0.125], [-0.0625, 0.0]],
        "nearest": [
            {"id": "n", "title": f"Other – {names[3]}", "similarity": 0.5, "genres": [names[0]]}
        ],
        "cover": PICTURE,
        "excerpt": None if is_mistake else SOUND,
        "text": f"Loud, and {names[5]}.",
        "faults": ["excerpt: x.mp3: truncated"] if is_mistake else [],
    }


def made_description(names: list[str]) -> Qualitative:
    guess = {"genre": names[0], "score": 0.87, "right": True}
    wrong = {"genre": names[1], "score": 0.25, "right": False}
    found = {
        "fingerprint": "0" * 16,
        "metrics_sha256": "0" * 64,
        "words": {
            "n_texts": 1200,
            "n_words": 10000,
            "n_genres": 250,
            "n_shuffles": 20,
            "genres": [
                {
                    "genre": names[0],
                    "n_texts": 321,
                    "chance_bits": 0.05,
                    "words": [
                        {"word": "loud", "bits": 0.2, "speaks_for": True, "n_texts": 40},
                        {"word": names[2], "bits": 0.1, "speaks_for": False, "n_texts": 30},
                        {"word": "perhaps", "bits": 0.04, "speaks_for": True, "n_texts": 9},
                    ],
                }
            ],
        },
        "heat": {
            "method": "CAM",
            "network": "resnet-50",
            "score": "probability",
            "block": "layer4",
            "is_last": True,
            "grid": [7, 7],
            "crop_px": 224,
            "n_with_cover": 90,
            "items": [
                {"id": names[3], **guess, "truth": [names[0]], "cover": PICTURE,
                 "overlay": PICTURE, "attention": None, "blank": False},
                {"id": "b", **wrong, "truth": [names[2]], "cover": PICTURE,
                 "overlay": PICTURE, "attention": None, "blank": True},
            ],
        },
        "neighbours": {
            "k": 2,
            "width": 2048,
            "n_covers": 1300,
            "n_queries": 90,
            "share": 0.4166,
            "chance": 0.125,
            "same_artist": 0.034,
            "queries": [
                {"id": names[3], "genre": "Jazz", "genres": ["Jazz", "Jazz/Swing"],
                 "cover": PICTURE,
                 "nearest": [
                     {"id": names[4], "split": "train", "genres": ["Jazz", "Jazz/Bop"],
                      "cosine": 0.98765, "shares": True, "same_artist": True, "cover": PICTURE},
                     {"id": "z", "split": "val", "genres": [names[1]], "cosine": -0.5,
                      "shares": False, "same_artist": False, "cover": PICTURE},
                 ]},
            ],
        },
        "factors": made_map("Albums by their genres", names),
        "covers": made_map("Albums by their covers", list(reversed(names))),
        "guesses": [
            {
                "logistic": "multi-logistic-a+t+i",
                "cosine": "multi-cosine-a+t+i",
                "row": "A+T+I",
                "seed": 0,
                "n_complete": 80,
                "items": [
                    {"id": names[3], "truth": ["Jazz", "Jazz/Swing"],
                     "logistic": [guess, wrong, wrong], "cosine": [wrong, guess, guess]}
                ],
            }
        ],
        "human": [
            {"fusion": "single", "row": "A", "items": "all test items", "n_items": 240,
             "genres": names[:4], "human": [0.1, 0.2, 0.3, 0.4], "model": [0.4, 0.3, 0.2, 0.1],
             "left_out": [names[4]], "pearson": -1.0, "undefined": ""},
            {"fusion": "single", "row": "I", "items": "all test items", "n_items": 240,
             "genres": names[:2], "human": [0.5, 0.6], "model": [0.7, 0.8],
             "left_out": [], "pearson": None, "undefined": "n = 2: too few"},
        ],
        "examples": {
            "fusion": "multi-logistic-a+t+i",
            "score": "probability",
            "n_items": 90,
            "n_test": 120,
            "excerpt_s": 8.0,
            "with_media": True,
            "unsaid": ["image: no encoder"],
            "items": [
                made_example("i0", names, is_mistake=False),
                made_example("i1", names, is_mistake=True),
            ],
        },
        "reliability": {
            "fusion": "f", "exclusive": False, "n_items": 90, "error": 0.0423,
            "said": [0.1, 0.8], "true": [0.12, 0.7], "n": [45, 45],
        },
        "lacking": {
            "fusion": "f", "metric": "macro_roc_auc", "n_items": 90, "draws": 3,
            "subsets": {"A": 0.71, "T": None, "A+T": 0.83},
            "shares": [0.0, 0.5], "curve": [0.83, 0.7],
        },
        "audit": {
            "checked": ["artists", "albums"],
            "n_leaks": 21,
            "leaks": [{"kind": "artist", "value": names[3], "splits": ["train", "test"],
                       "ids": ["a", "b"]}],
        },
        "missing": {},
    }  # fmt: skip
    result: Qualitative = json.loads(json.dumps(found))
    return result


@pytest.fixture(scope="module")
def page() -> str:
    return render(made_run([], GENRES), made_description(GENRES))


def test_every_part_is_shown_with_its_sizes(page: str) -> None:
    text = " ".join(Page(page).text.split())
    order = [
        "Look and listen Test items, and what multi-logistic-a+t+i says of them",
        "Excerpts are 8 seconds",
        "Band – Rap ✓ right Has Rock Rock ✓ right 0.75 Electronic ✗ wrong 0.50",
        "Why Rock: 0.25 with nothing known, and audio +0.62 alone: Rock text −0.12 alone: Country",
        "Words: loud +0.12, Jazz −0.06 Seconds 2 to 4 change most: +0.25 "
        "Of the cover, the upper right changes most: +0.12 “Loud, and Metal.”",
        "Other – Rap Rock, 0.50",
        "The surest mistakes Of 90 test items, a random sample of all 120",
        "✗ wrong Has Pop",
        "1 media of these items cannot be shown i1: excerpt: x.mp3: truncated",
        "What tells genres apart Words Information gain",
        "1,200 training texts and 10,000 words",
        "Synthetic catalogue: it shows what its maker put in.",
        "the 1 most frequent of 250 genres",
        "Rock (321) loud 0.200 Electronic 0.100 0.050",
        "by CAM: exact",
        "✓ right Rock, probability 0.87",
        "✗ wrong Pop, probability 0.25; no place speaks for it",
        "The first 2 by id of 90 test items that have a cover; 1 of these 2 named correctly",
        "resnet-50, 224 px: the map is taken at layer4, the last block, which has 7 × 7 positions",
        "42% of the neighbours have the broadest genre of their query (n = 180: 2 neighbours of "
        "each of 90 test covers); 12% would have it by chance",
        "3% of the neighbours are by the query's own artist",
        "Jazz, test",
        "✓ has the query's genre 0.988, train, same artist",
        "✗ another genre −0.500, val",
        "the first 1 by id, each followed by its neighbours",
        "Points with a ring play an excerpt when clicked, or by Enter.",
        "Albums by their genres",
        "Band – Rock · Rock",
        "3 other genres 3",
        "Vectors of some items. 30 items, of which a random sample of 15 is shown, 15 different",
        "perplexity 5 (30 needs more points), seed 7",
        "off by 0.042 (expected calibration error of f, 90 test items, every pair of an item and a "
        "genre)",
        "0.800 0.700 45",
        "on 90 test items as if they had no other modalities",
        "A 0.710 A+T 0.830",
        "Looked for: artists, albums. Found in two splits or more: 21",
        "artist Rap train, test a, b",
        "The first 1; all: mmgenre manifest check",
        "LOGISTIC: 1 of 1 first guesses right, a right one among three for 1, 2 different genres",
        "COSINE: 0 of 1 first guesses right",
        "Row A+T+I, seed 0: the first 1 by id of 80 test items that have every modality",
        "Rap Jazz/Swing ✓ right Rock 0.87",
        "F1 by genre of the annotator and of the model, all test items (n = 240), first seed",
        "Rap 0.40 0.10 – –",
        "Rock 0.10 0.40 0.50 0.70",
        "A: Pearson's r = −1.00 over n = 4 genres; not measured, since no test item has them",
        "I: no correlation (n = 2: too few).",
    ]
    place = 0
    for part in order:
        place = text.find(part, place)
        assert place >= 0, f"{part!r} is not where it belongs"
    assert "perhaps" not in text  # no better than chance


def test_the_page_stays_well_formed_and_every_picture_is_told(page: str) -> None:
    parsed = Page(page)
    assert parsed.tags["img"] == 9
    alts = [value for tag, name, value in parsed.attributes if (tag, name) == ("img", "alt")]
    assert len(alts) == 9
    assert all(alts)
    images = [v for t, n, v in parsed.attributes if (t, n) == ("img", "src")]
    assert images == [f"data:image/jpeg;base64,{PICTURE}"] * 9
    sounds = [v for t, n, v in parsed.attributes if (t, n) == ("audio", "src")]
    assert sounds == [f"data:audio/mpeg;base64,{SOUND}"]
    plays = parsed.values("data-plays")
    assert plays == ["example-1"] * 2  # on both maps
    assert "example-1" in parsed.values("id")
    ids = parsed.values("id")
    assert len(ids) == len(set(ids))
    assert {"apart", "guesses", "human"} <= set(ids)
    assert set(re.findall(r"url\(#([^)]*)\)", page)) <= set(ids)
    assert len(parsed.values("scope")) == parsed.tags["th"]


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("Grad-CAM", "by Grad-CAM: a first-order account"),
        ("HiResCAM", "by HiResCAM: a first-order account"),
        ("gradient rollout", "attention rollout, does not depend on the genre"),
    ],
)
def test_each_method_says_what_it_is_worth(method: str, said: str) -> None:
    described = made_description(GENRES)
    assert described["heat"]
    described["heat"]["method"] = method
    if method == "gradient rollout":
        for item in described["heat"]["items"]:
            item["attention"] = PICTURE
    page = render(made_run([], GENRES), described)
    assert said in " ".join(Page(page).text.split())
    assert Page(page).tags["img"] == (11 if method == "gradient rollout" else 9)
    assert ("all layers of attention together" in page) is (method == "gradient rollout")


def test_what_comes_from_the_data_is_escaped() -> None:
    names = [HOSTILE, "</svg>", "\x00\ud800 bell", '"><img src=x>', "{{ 7*7 }}", "a", "b"]
    described = made_description(names)
    assert described["heat"]
    assert described["neighbours"]
    described["neighbours"]["queries"][0]["nearest"][0]["genres"] = [HOSTILE]
    described["heat"]["network"] = described["heat"]["items"][0]["cover"] = '"><script>'
    described["missing"] = {"human": HOSTILE}
    page = render(made_run([], GENRES), described)
    page.encode("utf-8")
    parsed = Page(page)
    assert parsed.tags["script"] == 1
    assert parsed.tags["img"] == 9
    assert "<script>alert" not in page
    assert "{{ 7*7 }}" in parsed.text


def test_colours_are_the_same_in_all_maps_and_end_at_twelve() -> None:
    maps = [made_map("a", GENRES), made_map("b", GENRES[5:6] * 9)]
    styles = genre_styles(maps)
    assert len(styles) == len(set(styles.values())) == len(STYLES) == 12
    assert next(iter(styles)) == GENRES[5]
    assert genre_styles([]) == {}


def test_parts_that_are_missing_are_left_out_and_the_end_says_why() -> None:
    described = copy.deepcopy(made_description(GENRES))
    for part in PARTS:
        described[part] = None  # type: ignore[literal-required]
    described["missing"] = {
        part: f"Why no {part}."
        for part in ("words", "heat", "neighbours", "factors", "guesses", "human")
    }
    page = render(made_run([], GENRES), described)
    assert sections(page) == ["curves", "dataset", "refused", "origin"]
    text = " ".join(Page(page).text.split())
    for part in ("Words: Why no words.", "Places on covers: Why no heat.",
                 "A human beside the models: Why no human."):  # fmt: skip
        assert part in text


def test_of_ones_own_music_a_page_says_how_to_have_it_played() -> None:
    described = made_description(GENRES)
    assert described["examples"]
    described["examples"]["with_media"] = False
    for item in described["examples"]["items"]:
        item["excerpt"] = item["text"] = None
    page = render(made_run([], GENRES), described)
    assert "with them: mmgenre report RUN --media" in " ".join(Page(page).text.split())
    assert "<audio" not in page
    assert "Points with a ring" not in page


@pytest.mark.slow
def test_a_description_of_other_metrics_is_not_shown(tmp_path: Path) -> None:
    run = made_run(
        [made_fusion("genre", GENRES[:4], exclusive=True, n_seeds=1, sizes=(1,))], GENRES
    )
    metrics, described = tmp_path / "metrics.json", tmp_path / "qualitative.json"
    metrics.write_text(json.dumps(run))
    found = made_description(GENRES)

    def text() -> str:
        return " ".join(Page(write_report(tmp_path).read_text(encoding="utf-8")).text.split())

    described.write_text(json.dumps(found))
    assert "qualitative.json belongs to other metrics than this page" in text()
    described.write_text("[]")
    assert "qualitative.json is damaged" in text()
    described.write_text("{}")
    assert "qualitative.json lacks audit, covers, examples, factors" in text()
    described.write_text("{")
    assert "qualitative.json is damaged" in text()
    found["metrics_sha256"] = sha256_file(metrics)
    described.write_text(json.dumps(found))
    assert "loud 0.200" in text()
