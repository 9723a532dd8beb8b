"""What a prompt shows of results: what they are of and how many, in a line."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from small import Small

from mmgenre.errors import Refusal
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.measuring.frames import TIDY, metric_rows
from mmgenre.pipeline.commands import Extraction
from mmgenre.pipeline.fused import Fused, fused
from mmgenre.pipeline.measure import current_fusions, measured
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.search import Search
from mmgenre.report.tables import headline


def test_a_fusion_says_its_verdict_and_not_its_figures(small: Small) -> None:
    run = open_run(small.run)
    result = measured(run, current_fusions(run)[0])
    shown = fused(result)
    n_rows, n_genres = len(result["rows"]), len(result["labels"])
    assert repr(shown) == (
        f"Fused({result['name']!r}, {n_rows} rows, {n_genres} genres; {headline(result)})"
    )
    assert len(repr(shown)) < 500 < len(json.dumps(shown))


def test_a_fusion_gives_a_frame_of_its_figures(small: Small) -> None:
    run = open_run(small.run)
    result = measured(run, current_fusions(run)[0])
    frame = Fused(result).to_frame()
    assert len(frame) == len(metric_rows(result))
    columns = frame[0] if isinstance(frame, list) else frame.columns
    assert tuple(columns) == TIDY
    assert isinstance(frame, list) == (not any(map(find_spec, ("pandas", "polars"))))


def test_a_run_says_where_it_is_and_of_what(small: Small) -> None:
    run = open_run(small.run)
    assert repr(run) == f"Run({str(small.run)!r}, {len(run.manifest)} items of {run.dataset})"


def test_an_extraction_counts(tmp_path: Path) -> None:
    refused = (Refusal("a", "audio", "missing", "x"),)
    shown = Extraction(tmp_path, tmp_path, {"audio": 1200, "text": 3}, refused)
    counts = "audio of 1,200 items, text of 3 items; 1 inputs refused"
    assert repr(shown) == f"Extraction({str(tmp_path)!r}, {counts})"


@pytest.mark.parametrize("n_items", [1, 1200])
def test_a_search_says_what_it_finds(n_items: int) -> None:
    search = Search.__new__(Search)  # to open one takes a joint space, of which this needs the name

    class Named:
        name, modalities = "multi-logistic-a+t", ("audio", "text")

    search.tagger = search.space = Named()  # type: ignore[assignment]
    search.manifest = Manifest([Item(f"i{k}", labels=("Jazz",)) for k in range(n_items)])
    assert repr(search) == f"Search('multi-logistic-a+t', {n_items:,} items by audio, text)"
