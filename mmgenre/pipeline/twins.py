"""Near twins among what a run has read: the same cover or recording in two splits, though edited.

They are looked for once the inputs of a run are there, and noted; splits stay as they are. What was
found is kept in the run's folder, and holds as long as the inputs are the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmgenre.disk.files import read_json, write_json
from mmgenre.disk.store import FeatureStore, fingerprint_of
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.kinds import kind_of
from mmgenre.learning.kind import resolve
from mmgenre.pipeline.run import SYNTHETIC, Run
from mmgenre.progress import Progress, silent

FILE = "twins.json"
VERSION = 1  # increased whenever the same inputs would give other twins
NOUNS = {"audio": "recording", "image": "cover"}  # by medium
SHOWN = 3  # pairs in a note


@dataclass(frozen=True)
class _Search:
    """What of a run is compared: a store, and by which module."""

    store: Path
    module: str
    made_from: list[object]


def look_for_twins(run: Run, progress: Progress = silent) -> None:
    """Compares the covers and tracks that a run has read, unless that was done already.

    Not those of the built-in catalogue. What was found is kept in the run's folder; where that
    cannot be written, in `run` alone, and the next command looks again.
    """
    if run.dataset == SYNTHETIC:
        return
    searches, kept = _searches(run), _kept(run)
    if all(kept.get(m, {}).get("made_from") == s.made_from for m, s in searches.items()):
        return
    found = {}
    for modality, search in searches.items():
        if kept.get(modality, {}).get("made_from") == search.made_from:
            found[modality] = kept[modality]
            continue
        with FeatureStore(search.store, modality) as store:
            twins = resolve(f"{search.module}:twins_in")(store, progress)
        # Rows of audio are tracks: "ID#0".
        pairs = [tuple(row.partition("#")[0] for row in pair) for pair in twins.pairs]
        found[modality] = {
            "made_from": search.made_from,
            "pairs": sorted({pair for pair in pairs if pair[0] != pair[1]}),
            "note": twins.note,
        }
    run.twins.update(found)
    if os.access(run.folder, os.W_OK):
        write_json(run.folder / FILE, found)


def pairs_across(run: Run) -> dict[str, list[tuple[str, str]]]:
    """Noun -> pairs of items in two splits that seem to have the same one, where it was looked."""
    kept, found = _kept(run), {}
    for modality, search in _searches(run).items():
        own = kept.get(modality, {})
        if own.get("made_from") == search.made_from:
            pairs = [(a, b) for a, b in own["pairs"] if _is_across(run.manifest, (a, b))]
            found[NOUNS[MODALITIES[modality].medium]] = pairs
    return found


def twin_notes(run: Run) -> Iterator[str]:
    """Sentences about twins that are in two splits, as far as they were looked for."""
    kept, searches = _kept(run), _searches(run)
    for modality, search in searches.items():
        found = kept.get(modality, {})
        if found.get("made_from") == search.made_from:
            noun = NOUNS[MODALITIES[modality].medium]
            across = [pair for pair in found["pairs"] if _is_across(run.manifest, pair)]
            if across:
                shown = "; ".join(
                    " and ".join(f"{i} ({run.manifest[i].split})" for i in pair)
                    for pair in across[:SHOWN]
                )
                more = "; ..." if len(across) > SHOWN else ""
                yield (
                    f"{len(across)} pair(s) of items in two splits seem to have the same {noun}, "
                    f"edited or not, so that figures may flatter: {shown}{more}; mmgenre manifest "
                    f"check {run.folder / 'manifest.csv'} lists all"
                )
            if found["note"]:
                yield f"{found['note']}; so {noun}s may be in two splits without word of it"


def _is_across(manifest: Manifest, pair: tuple[str, str]) -> bool:
    known = {manifest[item_id].split for item_id in pair if item_id in manifest}
    return len(known - {None}) > 1  # without a genre an item is in no split


def _searches(run: Run) -> dict[Modality, _Search]:
    """By modality, of its first view whose inputs are there and can be compared."""
    found: dict[Modality, _Search] = {}
    for modality in MODALITIES:
        for view in run.views(modality):
            path, module = run.inputs(view.input_name), kind_of(modality).twins(view.reads)
            if modality not in found and module is not None:
                fingerprint = fingerprint_of(path, modality)
                if fingerprint is not None:
                    found[modality] = _Search(path, module, [VERSION, fingerprint])
    return found


def _kept(run: Run) -> dict[Modality, Any]:
    """What was found before; nothing if that is not there or damaged."""
    if run.twins:
        return run.twins
    try:
        kept = read_json(run.folder / FILE)
        for found in kept.values():
            pairs, note = found["pairs"], found["note"]
            if not all(isinstance(i, str) for a, b in pairs for i in (a, b)):
                raise ValueError("ids")
            if not (note is None or isinstance(note, str)):
                raise ValueError("note")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
    return dict(kept)
