"""What a person should know of a run, in sentences: for the end of a command and the page."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path

from mmgenre.disk.bundle import CONFIG, bundle_file
from mmgenre.frozen.licences import name_of, of_models, terms
from mmgenre.fusion.notes import curve_notes, expert_notes
from mmgenre.items.labels import ancestors, closure
from mmgenre.items.modalities import MODALITIES
from mmgenre.items.notes import manifest_notes
from mmgenre.measuring.results import Choice, FusionResult
from mmgenre.pipeline.earlier import earlier_ids, learned_digest
from mmgenre.pipeline.learn import models_of
from mmgenre.pipeline.music import library_notes
from mmgenre.pipeline.run import SYNTHETIC, Run
from mmgenre.pipeline.twins import twin_notes

OTHERS = 3  # ways of joining inputs that are named beside the best
MANY = 10_000  # items that tell of all
FEW = 20  # items of validation, below which thresholds and choices are luck


def run_notes(run: Run) -> list[str]:
    """What was decided for the run, odd names, twins, what splits lack, how trainings went."""
    names = [] if run.dataset == SYNTHETIC else manifest_notes(run.manifest)
    notes = [
        *run.decided,
        *_of_source(run),
        *library_notes(run.folder, run.dataset),
        *names,
        *twin_notes(run),
        *split_notes(run),
        *_of_encoders(run),
        *_of_licences(run),
    ]
    return list(dict.fromkeys(notes))  # some were made when the manifest was built, too


def of_all_or_some(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Notes on several of a kind, each said once, with the names of those it is about unless all.

    >>> of_all_or_some({"split 0": ["few items", "twins"], "split 1": ["few items"]})
    ['few items', 'split 0: twins']
    """
    found: dict[str, list[str]] = {}
    for name, own in notes.items():
        for note in dict.fromkeys(own):
            found.setdefault(note, []).append(name)
    return [
        note if len(names) == len(notes) else f"{', '.join(names)}: {note}"
        for note, names in found.items()
    ]


def _of_source(run: Run) -> Iterator[str]:
    named = {SYNTHETIC, *run.names}
    if run.dataset not in named and Path(run.dataset).exists():
        yield (
            f"{run.dataset}, which the run names and you did not, was not looked at: if it is "
            "yours and has changed, add --manifest"
        )


def split_notes(run: Run) -> Iterator[str]:
    """What the splits of a run lack."""
    n = run.manifest.count("val")
    if n < FEW:
        yield f"validation has {n} items: thresholds and choices made on so few are luck"
    columns = run.manifest.columns
    of_train = (a for a, s in zip(columns.artists, columns.splits, strict=True) if s == "train")
    artists = set(islice(of_train, MANY))
    if len(artists) == 1 and "" not in artists:
        yield (
            f"all training items are by one artist, {artists.pop()}: choices that cross-validation "
            "makes on them may not hold for others"
        )
    yield from _of_genres_outside(run)
    space, of_val = run.labels(), set(run.manifest.labels("val"))  # few distinct rows of a million
    y = space.encode(sorted(of_val), outside=run.outside(exclusive=space.exclusive))
    lacking = [name for k, name in enumerate(space.names) if not y[:, k].any()]
    if lacking:
        yield (
            f"val has no item of {len(lacking)} genre(s), which take no part in what is chosen "
            f"there: {_shown(lacking)}"
        )


def _of_genres_outside(run: Run) -> Iterator[str]:
    exclusive = run.recipe.exclusive
    outside = run.outside(exclusive=exclusive)
    if not outside:
        return
    rows = Counter(chain(run.manifest.labels("val"), run.manifest.labels("test")))
    own = {row: {ancestors(row[0])[0]} if exclusive else closure(row) for row in rows}
    having = sum(n for row, n in rows.items() if own[row] & outside)
    alone = sum(n for row, n in rows.items() if own[row] <= outside)
    counted = ", and count as wrong in accuracy" if exclusive else ""
    yield (
        f"train has no item of {len(outside)} genre(s) of validation or test, which are neither "
        f"learned nor part of any average: {_shown(sorted(outside))}; {having} item(s) have one of "
        f"them, {alone} no other genre{counted}"
    )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _of_encoders(run: Run) -> Iterator[str]:
    for modality in MODALITIES:
        for view in run.views(modality):
            folder = run.encoder(view.name)
            digest = learned_digest(folder)
            is_of_all = digest in (None, run.manifest.task_digest)
            ids = None if digest is None or is_of_all else earlier_ids(run.folder, digest)
            if ids is not None:
                yield (
                    f"{view.name}: learned on {len(ids):,} of {len(run.manifest):,} items; to "
                    f"learn anew on all: mmgenre extract-features --run {run.folder} --retrain"
                )
                yield from _of_new_genres(run, view.name, folder)
            for sentence in curve_notes(folder, run.recipe.of(modality).training):
                yield f"{view.name} ({view.encoder}): {sentence}"


def _of_new_genres(run: Run, view: str, folder: Path) -> Iterator[str]:
    learned = bundle_file(folder, CONFIG)["config"].get("learned")
    if learned is None:  # made without genres
        return
    if new := sorted(set(run.labels().names) - set(learned["labels"])):
        yield (
            f"{view}: was trained before there was any item of {len(new)} genre(s), which heads "
            f"know from the vectors that it gives, and it does not, until --retrain: {_shown(new)}"
        )


def _of_licences(run: Run) -> Iterator[str]:
    views = [view for modality in MODALITIES for view in run.views(modality)]
    found = of_models(models_of(run.encoder(view.name) for view in views))
    for about in found.get("models", ()):
        revision = f", revision {about['revision'][:12]}" if about["revision"] else ""
        own = about["licence"]
        yield f"{about['model']}: licence {name_of(own)} ({terms(own)}){revision}"
    if len(found.get("models", ())) > 1:
        whole = found["licence"]
        yield f"whatever is made with all of these is under the strictest: {whole} ({terms(whole)})"


def fusion_notes(result: FusionResult, target: str, run: Path) -> list[str]:
    """Whether test items are too few, how the last row is joined, which inputs are at chance.

    `target`: what the encoders of the run, a folder, were trained for.
    """
    notes = []
    if result["too_small"] and "folds" not in result:
        notes.append(
            f"{result['too_small']}; to test every item once, by models that have not seen its "
            f"artist: mmgenre fuse --run {shlex.quote(str(run))} --cv 5"
        )
    if result["head"] != target:
        notes.append(
            f"heads are {result['head']}, on the vectors of encoders that were trained for "
            f"{target}; to train them for {result['head']}, too: mmgenre extract-features "
            f"--run {shlex.quote(str(run))} --set target.name={result['head']}"
        )
    choice = result["rows"][-1].get("choice") if result["rows"] else None
    if choice is not None:
        choices = [row["choice"] for row in result["rows"] if "choice" in row]
        notes += [*expert_notes(choices), _joined(result["rows"][-1]["name"], choice)]
    return notes


def _joined(name: str, choice: Choice) -> str:
    weights = ", ".join(f"{key} {weight:.2f}" for key, weight in choice["weights"].items())
    others = {way: q for way, q in choice["compared"].items() if way != choice["way"]}
    best = sorted(others, key=lambda way: -others[way])[:OTHERS]
    beside = "".join(f"; {way}: {others[way]:.3f}" for way in best)
    return (
        f"{name}: joined by {choice['way']} of {weights} ({choice['quality']:.3f} on items that "
        f"these had not seen{beside})"
    )
